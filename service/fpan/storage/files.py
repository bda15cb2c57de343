"""Files that survive a crash whole: written beside their place, flushed to the disk, then put there by one rename."""

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
    """Puts ``data`` in the place of a file: after a crash that holds what was there before, or this.

    One writer at a time: the file beside it always has the same name.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Adds a line. A crash may leave its beginning, which the next call takes away."""
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
    """Bytes up to the end of the last line that is whole."""
    return size if data.endswith(b"\n") else data.rfind(b"\n") + 1
