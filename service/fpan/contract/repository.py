"""The model repository: ``<name>/<version>/`` folders of immutable data, all that is between training and serving."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from fpan.contract.card import CARD_FILE, ModelCard

_CHUNK_BYTES = 1 << 20


class RepositoryError(Exception):
    """A model repository, or a version in it, cannot be used. The message says which and why."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class ModelRepository:
    """A folder of model versions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise RepositoryError(f"there is no model repository at {root}: name one with MODEL_REPOSITORY")

    def names(self) -> list[str]:
        """Names of the models, sorted."""
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and self.versions(p.name))

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending; empty if there is no such model."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / CARD_FILE).is_file())

    def latest(self, name: str) -> int:
        """The highest version of a model.

        Raises:
            RepositoryError: there is no version of it.
        """
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "nothing"
            raise RepositoryError(f"there is no model {name!r} in {self.root}; it has {known}")
        return versions[-1]

    def folder(self, name: str, version: int) -> Path:
        """The folder of a version."""
        return self.root / name / str(version)

    def card(self, name: str, version: int) -> ModelCard:
        """The card of a version.

        Raises:
            RepositoryError: it is missing or does not fit its schema or its place.
        """
        path = self.folder(name, version) / CARD_FILE
        try:
            card = ModelCard.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise RepositoryError(f"{path} is missing") from error
        except ValidationError as error:
            raise RepositoryError(f"{path} is not a model card: {error.errors()[0]['msg']}") from error
        if (card.name, card.version) != (name, version):
            raise RepositoryError(f"{path} is the card of {card.name} version {card.version}")
        return card

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
