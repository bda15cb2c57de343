"""Tables of medians with their spread."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, and in brackets the least and the most of the rounds."""
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


class Table:
    """Markdown, row by row."""

    def __init__(self, *head: str) -> None:
        self.lines = [_row(head), "|" + "---|" * len(head)]

    def row(self, *cells: str) -> None:
        """The next one."""
        self.lines.append(_row(cells))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
