"""Progress bars: a live bar in a terminal, silence elsewhere (the log has the figures)."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yields the items while a bar shows how far they are."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        count = total if total is not None else getattr(items, "__len__", lambda: None)()
        yield from bar.track(items, total=count, description=title)
