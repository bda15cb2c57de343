"""A model repository by its address: a local folder, or an object store."""

from pathlib import Path

from fpan.contract.aliases import ALIASES_FILE, Reference
from fpan.contract.card import CARD_FILE
from fpan.registry.folder import FolderStore
from fpan.registry.objects import SCHEME, ObjectStore
from fpan.registry.store import Store


def is_remote(address: Path | str) -> bool:
    """Whether an address is that of an object store."""
    return str(address).startswith(SCHEME)


def open_store(address: Path | str, *, create: bool = False) -> Store:
    """The store at an address.

    Args:
        address: a folder, or ``s3://BUCKET/PREFIX``.
        create: makes the folder where it is missing; a bucket must be there.

    Raises:
        RepositoryError: there is none, or what it needs is not installed.
    """
    return ObjectStore(str(address)) if is_remote(address) else FolderStore(address, create=create)


def fetch(store: Store, folder: Path) -> None:
    """Copies what would be served of a store into a folder, which is a model repository then.

    Of every model: its aliases, the versions that these name, and the highest where none is champion. Nothing is
    verified here: whoever loads a version does that.

    Raises:
        RepositoryError: something is missing.
    """
    for name in store.names():
        aliases = store.aliases(name)
        references = [Reference(name), *(Reference(name, alias=alias) for alias in aliases.aliases)]
        for version in sorted({store.resolve(reference) for reference in references}):
            card = store.card(name, version)
            target = folder / name / str(version)
            target.mkdir(parents=True)
            for file in (*card.files, CARD_FILE):
                (target / file).write_bytes(store.read(card, file))
        (folder / name / ALIASES_FILE).write_text(aliases.model_dump_json(indent=2))
