"""What the registry needs of the place where versions lie."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fpan.contract import Aliases, History, ModelCard, Reference, RepositoryError


class VersionExists(RepositoryError):
    """The version is there already; versions are immutable."""


class AliasMoved(RepositoryError):
    """An alias is not any more what the one who would move it has seen."""


class Writer(Protocol):
    """Writes to one model. Each call leaves the old state or the new one, wherever it is cut off."""

    def put(self, card: ModelCard, files: Mapping[str, Path]) -> ModelCard:
        """Adds the version that ``card`` names, with ``files`` (name -> where it lies now).

        Returns:
            The card with its ``files`` filled in.

        Raises:
            VersionExists: there is such a version.
        """
        ...

    def remove(self, version: int) -> None:
        """Takes a version away. Whoever looks meanwhile sees it whole or not at all."""
        ...

    def move(self, aliases: Aliases) -> None:
        """Puts ``aliases`` in place, which is when their ``change`` has happened, then adds that to the history."""
        ...

    def sweep(self) -> list[str]:
        """Takes away what calls that were cut off have left, and returns its names."""
        ...


class Store(Protocol):
    """Versions of models, their aliases and history. All raise :class:`RepositoryError` where something is wrong."""

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
        """Numbers that no new version may have: those of versions, and of what may become one."""
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
        """Names of what :meth:`Writer.sweep` would take away."""
        ...

    def writer(self, name: str) -> AbstractContextManager[Writer]:
        """A block in which a model may be written to; what the crash of an earlier one left undone is done first."""
        ...
