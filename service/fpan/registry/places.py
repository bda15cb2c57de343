"""Opens a model repository by its address: a local folder or an object store."""

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
        create: creates the folder if it is missing; a bucket must exist.

    Raises:
        RepositoryError: there is no repository, or an extra that it needs is not installed.
    """
    return ObjectStore(str(address)) if is_remote(address) else FolderStore(address, create=create)


def fetch(store: Store, folder: Path) -> None:
    """Copies the versions to serve from a store into a folder, which then is a model repository. Keeps what is there.

    For every model it copies the aliases and their history, the versions that the aliases name, the former champion,
    and the highest version if there is no champion. It does not verify the files: that happens when a version is
    loaded. Each version or file is put in place by one rename: concurrent readers see the old or the new state.

    Raises:
        RepositoryError: a version or file is missing.
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
        shutil.rmtree(beside)  # left by an interrupted call
    beside.mkdir(parents=True)
    for file in (*card.files, CARD_FILE):
        (beside / file).write_bytes(store.read(card, file))
    beside.rename(target)
