"""The paper's own figures, typed from its tables I to III."""

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper."""

    title: str
    rows: dict[str, dict[str, float | None]]
    """By row, then by column: eyes, mouth, occlusion, overall; None where the paper has a dash."""
    note: str = ""


def paper_table(number: str) -> PaperTable:
    """Table ``I`` (mIoU), ``II`` or ``III`` (F-measure) of Mask-FPAN, as printed."""
    content = json.loads(resources.files(__package__).joinpath("paper_tables.json").read_text(encoding="utf-8"))
    table = content["tables"][number]
    return PaperTable(table["title"], table["rows"], table.get("note", ""))
