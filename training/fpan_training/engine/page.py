"""Pages of results that commands write. Words of people stand in a file of their own, which a rerun leaves alone."""

from collections.abc import Sequence
from pathlib import Path

from fpan_training.files import write_whole

PROSE_ENDING = ".prose.md"
"""``NAME.md`` is written by a command and includes ``NAME.prose.md``, which people write."""


def included(page: Path) -> list[str]:
    """The lines that people wrote for a page, with an empty one behind; none where they wrote nothing."""
    prose = page.with_suffix(PROSE_ENDING)
    return [prose.read_text(encoding="utf-8").strip(), ""] if prose.is_file() else []


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def write_page(path: Path, title: str, lines: Sequence[str]) -> Path:
    """Writes a page: its title, what people wrote for it, and what was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join([f"# {title}", "", *included(path), *lines, ""]).encode())
    return path
