"""Pictures that networks are measured on, and what is known of them beyond their labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import FaceFolder
from fpan_training.evaluate.grouped import Grouping


@dataclass(frozen=True)
class TestSet:
    """Pictures that runs are measured on."""

    __test__ = False  # pytest takes the name for one of its own

    name: str
    folder: FaceFolder
    classes: int
    """How many the truth tells apart."""
    grouping: Grouping | None = None
    hidden: Mapping[str, float] | None = None
    """Share of each face that is hidden, by picture."""


def hidden_shares(occluded: Path) -> dict[str, float] | None:
    """What the builder of the occluded set says of each picture; None where another made it."""
    file = occluded / "manifest.jsonl"
    if not file.is_file():
        return None
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {row["name"]: float(row["share"]) for row in rows}
