"""Crash-safe writes: to a temporary file in the same folder, flushed to the disk, then renamed to the final name."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Flushes a file, or a folder's list of names, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_whole(path: Path, data: bytes) -> None:
    """Replaces the content of a file. After a crash the file has either the old content or ``data``.

    Only one writer at a time is allowed, because the temporary file always has the same name.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Adds a line. A crash may leave an incomplete line, which the next call removes."""
    fresh = not path.exists()
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.truncate(_whole_lines(file.read(), size))
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if fresh:
        sync(path.parent)


def _whole_lines(data: bytes, size: int) -> int:
    """Number of bytes up to the end of the last complete line."""
    return size if data.endswith(b"\n") else data.rfind(b"\n") + 1
