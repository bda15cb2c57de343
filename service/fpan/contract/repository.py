"""The model repository: ``<name>/<version>/`` folders of immutable data, all that is between training and serving.

This is its reading side; :mod:`fpan.registry` writes.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from fpan.contract.aliases import ALIASES_FILE, CHAMPION, HISTORY_FILE, Aliases, History, Reference
from fpan.contract.card import CARD_FILE, CardError, ModelCard, read_card

_CHUNK_BYTES = 1 << 20


class RepositoryError(Exception):
    """A model repository, or a version in it, cannot be used. The message says which, why, and what to do."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class Versions(ABC):
    """Versions of models, wherever they lie, and how they are called."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where they are, for people."""

    @abstractmethod
    def names(self) -> list[str]:
        """Names of the models, sorted."""

    @abstractmethod
    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty if there is no such model."""

    @abstractmethod
    def aliases(self, name: str) -> Aliases:
        """The aliases of a model's versions; none where none was ever given.

        Raises:
            RepositoryError: the file is not what the registry writes.
        """

    def latest(self, name: str) -> int:
        """The highest version of a model.

        Raises:
            RepositoryError: there is no version of it.
        """
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "nothing"
            raise RepositoryError(f"there is no model {name!r} in {self.address}; it has {known}")
        return versions[-1]

    def current(self, name: str) -> int:
        """The version that answers for a model: its champion, or the highest where it has none.

        Raises:
            RepositoryError: there is no version of it, or its champion is gone.
        """
        return self.resolve(Reference(name))

    def resolve(self, reference: Reference) -> int:
        """The version that a reference names.

        Raises:
            RepositoryError: there is no such version.
        """
        name = reference.name
        latest = self.latest(name)  # which tells whether there is such a model
        version = reference.version
        if version is None:
            aliases = self.aliases(name).aliases
            alias = reference.alias or CHAMPION
            if alias not in aliases:
                if reference.alias is None:
                    return latest
                raise RepositoryError(f"no version of {name} is {alias}: {_promote(name, alias)} makes one so")
            version = aliases[alias]
            if version not in self.versions(name):
                raise RepositoryError(
                    f"{self.address}/{name}/{ALIASES_FILE} says that version {version} is {alias}, but it is gone: "
                    f"bring it back, or {_promote(name, alias)}"
                )
        if version not in self.versions(name):
            has = ", ".join(map(str, self.versions(name)))
            raise RepositoryError(f"{name} has no version {version} in {self.address}; it has {has}")
        return version


class ModelRepository(Versions):
    """A folder of model versions."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RepositoryError(f"there is no model repository at {root}: name one with MODEL_REPOSITORY")

    @property
    def address(self) -> str:
        """See :class:`Versions`."""
        return str(self.root)

    def names(self) -> list[str]:
        """See :class:`Versions`."""
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and self.versions(p.name))

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty if there is no such model. One without a card is among them."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if is_version(p.name) and p.is_dir())

    def folder(self, name: str, version: int) -> Path:
        """The folder of a version."""
        return self.root / name / str(version)

    def card(self, name: str, version: int) -> ModelCard:
        """The card of a version.

        Raises:
            RepositoryError: it is missing, was changed, or does not fit its schema or its place.
        """
        path = self.folder(name, version) / CARD_FILE
        data = path.read_bytes() if path.is_file() else None
        return card_of(name, version, data, str(path))

    def cards(self) -> Iterator[ModelCard]:
        """The cards of all versions of all models."""
        for name in self.names():
            for version in self.versions(name):
                yield self.card(name, version)

    def verify(self, card: ModelCard) -> None:
        """Compares every file of a version with the card's sha256.

        Raises:
            RepositoryError: a file is missing or was changed.
        """
        folder = self.folder(card.name, card.version)
        for name, expected in card.files.items():
            path = folder / name
            if not path.is_file():
                raise RepositoryError(f"{path} is missing, though the card lists it: fetch the version again")
            if sha256_of(path) != expected:
                raise RepositoryError(f"{path} was changed: its sha256 is not the card's; fetch the version again")

    def aliases(self, name: str) -> Aliases:
        """See :class:`Versions`."""
        path = self.root / name / ALIASES_FILE
        return aliases_of(path.read_bytes() if path.is_file() else None, str(path))

    def history(self, name: str) -> History:
        """The moves of a model's aliases."""
        path = self.root / name / HISTORY_FILE
        data = path.read_bytes() if path.is_file() else b""
        return History.read(data, self.aliases(name).change)


def card_of(name: str, version: int, data: bytes | None, path: str) -> ModelCard:
    """The card that ``path`` holds, ``data`` being None where there is no such file.

    Raises:
        RepositoryError: it is missing, was changed, or does not fit its schema or its place.
    """
    if data is None:
        raise RepositoryError(
            f"{path} is missing: the version was not written whole; fetch it again or remove its folder"
        )
    try:
        card = read_card(data)
    except CardError as error:
        raise RepositoryError(f"{path} {error}; fetch the version again") from error
    if (card.name, card.version) != (name, version):
        raise RepositoryError(f"{path} is the card of {card.name} version {card.version}")
    return card


def aliases_of(data: bytes | None, path: str) -> Aliases:
    """The aliases that ``path`` holds, ``data`` being None where there is no such file.

    Raises:
        RepositoryError: it is not what the registry writes.
    """
    if data is None:
        return Aliases()
    try:
        return Aliases.model_validate_json(data)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise RepositoryError(f"{path} was changed or damaged ({what}): bring it back, or remove it") from error


def is_version(name: str) -> bool:
    """Whether a folder of that name is a version's."""
    return name.isascii() and name.isdecimal() and not name.startswith("0")


def _promote(name: str, alias: str) -> str:
    return f"`fpan models promote {name} VERSION --to {alias}`"
