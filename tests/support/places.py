"""Wherever a process can leave something: its files, those without a name, memory that it shares, what it writes."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_GONE = (FileNotFoundError, ProcessLookupError)
"""What has ended, or was deleted, while it was looked at."""

Places = Iterator[tuple[str, bytes]]
"""Where something lies, and all that lies there."""


def files(*folders: Path) -> Places:
    """All files below folders; what a link leads to is elsewhere."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            with suppress(*_GONE):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield str(path), path.read_bytes()


def regions() -> set[Path]:
    """The named regions of shared memory that there are now."""
    return set(SHARED_MEMORY.iterdir())


def shared_memory(before: set[Path]) -> Places:
    """Regions that were not there ``before``."""
    for path in sorted(regions() - before):
        with suppress(*_GONE):
            if path.is_file():
                yield str(path), path.read_bytes()
            else:
                yield from files(path)


def open_files(pids: Iterable[int]) -> Places:
    """Files that processes hold open and that have no name any more, or that they may write to."""
    seen = set()
    for pid in pids:
        for entry in _entries(Path(f"/proc/{pid}/fd")):
            with suppress(*_GONE):
                about = entry.stat()
                if not stat.S_ISREG(about.st_mode) or (about.st_dev, about.st_ino) in seen:
                    continue
                if about.st_nlink and not _writable(pid, entry.name):
                    continue
                seen.add((about.st_dev, about.st_ino))
                yield f"{entry} -> {entry.readlink()}", entry.read_bytes()


def shared_mappings(pids: Iterable[int]) -> Places:
    """Memory that processes share with others, whether or not it has a name."""
    seen = set()
    for pid in pids:
        with suppress(*_GONE):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                span, kind, *where = line.split(maxsplit=5)  # where: offset, device, inode and name
                begin, end = (int(word, 16) for word in span.split("-"))
                same = (*where[:3], end - begin)
                if kind[0] == "r" and kind[3] == "s" and same not in seen:
                    seen.add(same)
                    yield f"{pid}: {' '.join(where[3:])} at {span}", _memory(pid, begin, end)


def written_bytes(pids: Iterable[int]) -> int:
    """What processes have handed to file systems that lie on a disk, deleted again or not."""
    total = 0
    for pid in pids:
        with suppress(*_GONE):
            fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
            total += int(fields["write_bytes"])
    return total


def _entries(folder: Path) -> list[Path]:
    with suppress(*_GONE):
        return list(folder.iterdir())
    return []


def _writable(pid: int, number: str) -> bool:
    fields = dict(line.split(":\t") for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines()[:3])
    return bool(int(fields["flags"], 8) & (os.O_WRONLY | os.O_RDWR))


def _memory(pid: int, begin: int, end: int) -> bytes:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(begin)
        pieces = []
        while begin < end:
            try:
                piece = memory.read(end - begin)
            except OSError:  # pages beyond the end of what is mapped
                break
            if not piece:
                break
            pieces.append(piece)
            begin += len(piece)
        return b"".join(pieces)
