"""A model repository by its address: a local folder, or an object store."""

import shutil
from pathlib import Path

from fpan.contract.aliases import ALIASES_FILE, CHAMPION, HISTORY_FILE, Reference
from fpan.contract.card import CARD_FILE
from fpan.registry.folder import FolderStore
from fpan.registry.objects import ObjectStore
from fpan.registry.store import Store
from fpan.storage.files import write_whole
from fpan.storage.objects import is_remote


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
    """Copies what would be served of a store into a folder, which is a model repository then; what is there stays.

    Of every model: its aliases, the versions that these name, the former champion, and the highest where none is
    champion. Nothing is verified here: whoever loads a version does that. Whoever reads the folder meanwhile sees what
    was there before or what is there now.

    Raises:
        RepositoryError: something is missing.
    """
    for name in store.names():
        aliases, history = store.aliases(name), store.history(name)
        references = [Reference(name), *(Reference(name, alias=alias) for alias in aliases.aliases)]
        wanted = {store.resolve(reference) for reference in references}
        former = next(iter(history.former(CHAMPION, aliases.aliases.get(CHAMPION))), None)
        if former is not None and former in store.versions(name):
            wanted.add(former)
        for version in sorted(wanted):
            _fetch_version(store, name, version, folder / name / str(version))
        lines = "".join(change.model_dump_json() + "\n" for change in history.changes)
        write_whole(folder / name / HISTORY_FILE, lines.encode())
        write_whole(folder / name / ALIASES_FILE, aliases.model_dump_json(indent=2).encode())


def _fetch_version(store: Store, name: str, version: int, target: Path) -> None:
    if target.is_dir():
        return
    card = store.card(name, version)
    beside = target.with_name(f".{target.name}.new")
    if beside.is_dir():
        shutil.rmtree(beside)  # of a call that was cut off
    beside.mkdir(parents=True)
    for file in (*card.files, CARD_FILE):
        (beside / file).write_bytes(store.read(card, file))
    beside.rename(target)
