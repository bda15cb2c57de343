"""A version is written whole or not at all, and never changed afterwards."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fpan.contract import CARD_FILE, ModelCard, ModelRepository, sha256_of


class VersionExists(Exception):
    """The version is there already; versions are immutable."""


def write_version(repository: Path, card: ModelCard, files: Mapping[str, Path]) -> Path:
    """Writes the version that ``card`` names, with ``files`` (name -> where it lies now).

    The card's ``files`` are filled in here. The folder appears by one rename.

    Raises:
        VersionExists: there is such a version.
    """
    target = repository / card.name / str(card.version)
    if target.exists():
        raise VersionExists(f"{target} exists: versions are immutable, write version {card.version + 1}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        for name, source in files.items():
            shutil.copyfile(source, temporary / name)
        listed = card.model_copy(update={"files": {name: sha256_of(temporary / name) for name in sorted(files)}})
        (temporary / CARD_FILE).write_text(listed.model_dump_json(indent=2) + "\n")
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def next_version(repository: Path, name: str) -> int:
    """The number after the highest version of a model, 1 for the first."""
    versions = ModelRepository(repository).versions(name)
    return versions[-1] + 1 if versions else 1
