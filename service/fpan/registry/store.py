"""Interface between the registry and the storage of versions."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fpan.contract import Aliases, History, ModelCard, Reference, RepositoryError


class VersionExists(RepositoryError):
    """The version is there already; versions are immutable."""


class AliasMoved(RepositoryError):
    """The alias has changed since the caller read it."""


class Writer(Protocol):
    """Writes to one model. Each call is atomic: an interruption leaves the old or the new state."""

    def put(self, card: ModelCard, files: Mapping[str, Path]) -> ModelCard:
        """Adds the version that ``card`` names, with ``files`` (name -> path of the source file).

        Returns:
            The card with its ``files`` filled in.

        Raises:
            VersionExists: there is such a version.
        """
        ...

    def remove(self, version: int) -> None:
        """Removes a version. Concurrent readers see the whole version or none."""
        ...

    def move(self, aliases: Aliases) -> None:
        """Writes ``aliases``, which makes their ``change`` effective, then adds the change to the history."""
        ...

    def sweep(self) -> list[str]:
        """Removes the leftovers of interrupted calls, and returns their names."""
        ...


class Store(Protocol):
    """Versions of models, their aliases and history. All methods raise :class:`RepositoryError` on errors."""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        ...

    def names(self) -> list[str]:
        """Names of the models, sorted."""
        ...

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty if there is no such model."""
        ...

    def latest(self, name: str) -> int:
        """The highest version of a model; an error that says what models there are, where there is no such model."""
        ...

    def taken(self, name: str) -> list[int]:
        """Numbers that a new version cannot have: those of versions and of versions that are being written."""
        ...

    def resolve(self, reference: Reference) -> int:
        """The version that a reference names."""
        ...

    def card(self, name: str, version: int) -> ModelCard:
        """The card of a version."""
        ...

    def sizes(self, name: str, version: int) -> dict[str, int]:
        """Bytes of every file of a version that is there, the card included."""
        ...

    def read(self, card: ModelCard, file: str) -> bytes:
        """A file of a version."""
        ...

    def verify(self, card: ModelCard) -> None:
        """Compares every file of a version with the card's sha256."""
        ...

    def aliases(self, name: str) -> Aliases:
        """The aliases of a model's versions."""
        ...

    def history(self, name: str) -> History:
        """The moves of a model's aliases."""
        ...

    def leftovers(self, name: str) -> list[str]:
        """Names of the leftovers that :meth:`Writer.sweep` would remove."""
        ...

    def writer(self, name: str) -> AbstractContextManager[Writer]:
        """A context for writing to a model. On entry it completes what a crash of an earlier writer left undone."""
        ...
