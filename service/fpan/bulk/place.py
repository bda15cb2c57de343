"""Where pictures come from and labels go to: a folder, or an address that Arrow opens.

Arrow has file systems of its own for S3, Google's and Azure's stores; their keys and addresses are those of the stores'
own tools (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ...). ``fsspec+PROTOCOL://`` reaches what fsspec knows beside.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from fpan.bulk.errors import PlaceError
from fpan.storage.files import write_whole

_LOCK_FILE = ".fpan-batch.lock"


@dataclass(frozen=True)
class Found:
    """A file below a place."""

    path: str
    """Relative to the place."""
    size: int
    """In bytes."""
    modified: int
    """Nanoseconds since 1970; 0 where the store does not tell."""


class Place:
    """A folder or a prefix. Paths are relative to it, with slashes."""

    def __init__(self, address: str) -> None:
        """Connects when first used.

        Raises:
            PlaceError: nothing here opens such an address.
        """
        self.given = address
        """The address as it was given, with whatever secrets it holds."""
        if "://" not in address:
            self._system, self._root = LocalFileSystem(), Path(address).expanduser().resolve().as_posix()
            self.address = self._root
            """The address to be written down and shown: an absolute path, or a URL without user, password and query."""
            return
        parts = urlsplit(address)
        shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        try:
            self._system, root = FileSystem.from_uri(address)
        except (ArrowException, ImportError, OSError, ValueError) as error:
            raise PlaceError(f"{shown} cannot be opened: {error}") from error
        self._root = root.rstrip("/")
        self.address = self._root if self.is_local else shown

    @property
    def is_local(self) -> bool:
        """Whether it is a folder that this machine has mounted."""
        return isinstance(self._system, LocalFileSystem)

    def files(self) -> Iterator[Found]:
        """All files below, in no order.

        Raises:
            PlaceError: there is no such folder or prefix, or it cannot be listed.
        """
        with self._told(""):
            infos = self._system.get_file_info(FileSelector(self._root, recursive=True))
        for info in infos:
            if info.type == FileType.File:
                yield Found(info.path[len(self._root) + 1 :], info.size, info.mtime_ns or 0)

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the place, in order; none where there is no such folder.

        Raises:
            PlaceError: it cannot be listed.
        """
        with self._told(folder):
            infos = self._system.get_file_info(FileSelector(self._at(folder), allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == FileType.File)

    def is_empty(self) -> bool:
        """Whether nothing is there, not even the folder, hidden files aside."""
        with self._told(""):
            infos = self._system.get_file_info(FileSelector(self._root, allow_not_found=True))
        return all(info.base_name.startswith(".") for info in infos)

    def is_folder(self) -> bool:
        """Whether the place itself is there."""
        with self._told(""):
            return bool(self._info("").type == FileType.Directory)

    def size(self, path: str) -> int | None:
        """Of a file, in bytes; None where there is none."""
        with self._told(path):
            info = self._info(path)
        return None if info.type != FileType.File else int(info.size)

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            OSError: FileNotFoundError, PermissionError and so on.
        """
        with self._system.open_input_stream(self._at(path), compression=None) as file:
            return bytes(file.read())

    def write(self, path: str, data: bytes) -> None:
        """Puts a file there: whole or not at all, whatever happens meanwhile. One writer of a path at a time.

        Raises:
            PlaceError: it cannot be written.
        """
        with self._told(path):
            if self.is_local:
                target = Path(self._at(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, data)
                return
            # No `with`: that would end, and so publish, what an error has cut off.
            file = self._system.open_output_stream(self._at(path), compression=None)
            file.write(data)
            file.close()
            if (size := self._info(path).size) != len(data):
                raise OSError(f"{size} bytes arrived of {len(data)}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps others who ask for the same out of a folder; object stores, and systems without locks, keep nobody out.

        Raises:
            PlaceError: another is there.
        """
        if not self.is_local or sys.platform == "win32":
            yield
            return
        import fcntl

        with self._told(""):
            Path(self._root).mkdir(parents=True, exist_ok=True)
            file = (Path(self._root) / _LOCK_FILE).open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PlaceError(f"another run is writing to {self.address}") from None
            yield

    def _info(self, path: str) -> FileInfo:
        return self._system.get_file_info(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except (ArrowException, OSError) as error:
            where = f"{self.address}/{path}" if path else self.address
            raise PlaceError(f"{where}: {getattr(error, 'strerror', None) or error}") from error
