"""A model repository in a local folder.

::

    <repository>/<model>/<version>/card.json, model.onnx, ...   immutable
                         aliases.json, history.jsonl            see fpan.contract.aliases
                         .lock                                  locked by the current writer; never removed
                         .writing-*, .removing-*                left by a crash; the next writer removes it
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fpan.contract import Aliases, History, ModelCard, ModelRepository, RepositoryError, sha256_of, write_card
from fpan.contract.aliases import ALIASES_FILE, HISTORY_FILE
from fpan.contract.card import CARD_FILE
from fpan.registry.store import VersionExists
from fpan.storage.files import append_line, sync, write_whole

LOCK_TIMEOUT_S = 60.0
"""Seconds to wait for another writer of the same model: long enough to copy a large version."""
_LOCK_POLL_S = 0.05
_LOCK_FILE = ".lock"
_WRITING, _REMOVING = ".writing-", ".removing-"
_FOLDER_MODE = 0o755


class FolderStore(ModelRepository):
    """A :class:`~fpan.registry.store.Store` in a folder: local, or on a network file system that supports ``flock``."""

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        """Opens the repository.

        Args:
            root: the repository's folder.
            create: creates the folder if it is missing.

        Raises:
            RepositoryError: the folder is missing or cannot be created.
        """
        if create:
            with _told(Path(root)):
                Path(root).mkdir(parents=True, exist_ok=True)
        super().__init__(root)

    def taken(self, name: str) -> list[int]:
        """See :class:`~fpan.registry.store.Store`."""
        return self.versions(name)

    def sizes(self, name: str, version: int) -> dict[str, int]:
        """See :class:`~fpan.registry.store.Store`."""
        folder = self.folder(name, version)
        return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}

    def read(self, card: ModelCard, file: str) -> bytes:
        """See :class:`~fpan.registry.store.Store`."""
        return (self.folder(card.name, card.version) / file).read_bytes()

    def leftovers(self, name: str) -> list[str]:
        """See :class:`~fpan.registry.store.Store`."""
        folder = self.root / name
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(p.name for p in found if p.name.startswith((_WRITING, _REMOVING)))

    @contextmanager
    def writer(self, name: str) -> Iterator["FolderWriter"]:
        """See :class:`~fpan.registry.store.Store`.

        Raises:
            RepositoryError: another process has been writing for :data:`LOCK_TIMEOUT_S`, or the folder is read-only.
        """
        folder = self.root / name
        with _told(folder):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync(self.root)
            with _locked(folder / _LOCK_FILE):
                writer = FolderWriter(self, name)
                writer.settle()
                yield writer


class FolderWriter:
    """A :class:`~fpan.registry.store.Writer` that holds the model's lock."""

    def __init__(self, store: FolderStore, name: str) -> None:
        self._store = store
        self._name = name
        self._folder = store.root / name

    def settle(self) -> None:
        """Adds the last move to the history if a crash prevented that after the move."""
        change = self._store.aliases(self._name).change
        if change is None:
            return
        path = self._folder / HISTORY_FILE
        data = path.read_bytes() if path.is_file() else b""
        whole = History.read(data[: data.rfind(b"\n") + 1])  # without a last line that a crash cut off
        if change.serial not in {written.serial for written in whole.changes}:
            append_line(path, change.model_dump_json().encode())

    def put(self, card: ModelCard, files: Mapping[str, Path]) -> ModelCard:
        """See :class:`~fpan.registry.store.Writer`. One rename puts the version's folder in place."""
        self.sweep()
        target = self._folder / str(card.version)
        if target.exists():
            raise VersionExists(f"{target} exists: versions are immutable, write version {card.version + 1}")
        beside = Path(tempfile.mkdtemp(prefix=f"{_WRITING}{card.version}-", dir=self._folder))
        try:
            for name, source in files.items():
                shutil.copyfile(source, beside / name)
            listed = {name: sha256_of(beside / name) for name in sorted(files)}
            card = ModelCard.model_validate({**card.model_dump(), "files": listed})
            (beside / CARD_FILE).write_bytes(write_card(card))
            for path in beside.iterdir():
                sync(path)
            beside.chmod(_FOLDER_MODE)
            sync(beside)
            beside.rename(target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        sync(self._folder)
        return card

    def remove(self, version: int) -> None:
        """See :class:`~fpan.registry.store.Writer`."""
        gone = self._folder / f"{_REMOVING}{version}"
        if gone.exists():
            shutil.rmtree(gone)
        (self._folder / str(version)).rename(gone)
        sync(self._folder)
        shutil.rmtree(gone)

    def move(self, aliases: Aliases) -> None:
        """See :class:`~fpan.registry.store.Writer`."""
        write_whole(self._folder / ALIASES_FILE, (aliases.model_dump_json(indent=2) + "\n").encode())
        self.settle()

    def sweep(self) -> list[str]:
        """See :class:`~fpan.registry.store.Writer`. This writer holds the lock, so all leftovers come from crashes."""
        found = self._store.leftovers(self._name)
        for name in found:
            shutil.rmtree(self._folder / name)
        return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks a file, which is never removed. The operating system releases the lock when the process ends in any way.

    Raises:
        RepositoryError: another process holds the lock for too long, or this system has no ``flock``.
    """
    if sys.platform == "win32":
        raise RepositoryError("a model repository is written to on Linux and macOS only: there is no flock here")
    import fcntl

    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    what = f"{path.parent} has been written to by another command for {LOCK_TIMEOUT_S:g} s"
                    raise RepositoryError(f"{what}: try again when it has ended") from None
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(number)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns an OSError into a RepositoryError that names the path."""
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"cannot write to the model repository: {error.filename or path}: {error.strerror or error}"
        ) from error
