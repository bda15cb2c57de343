"""What runs, read from /proc: `ps` is not on every machine."""

import os
from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """All living processes below ``pid``: their names by id."""
    table = dict(_table())
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        above = todo.pop()
        for child, (parent, name) in table.items():
            if parent == above and child not in found:
                found[child] = name
                todo.append(child)
    return found


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def alive(pid: int) -> bool:
    """Whether it runs; what has ended and only waits to be reaped does not."""
    return any(pid == running for running, _ in _table())


def _table() -> Iterator[tuple[int, tuple[int, str]]]:
    """Living processes: id, parent and name."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            before, _, after = (folder / "stat").read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        state, parent, *_ = after.split()
        if state != "Z":
            yield int(folder.name), (int(parent), before.partition("(")[2])
