"""`python -m tools.face_page` makes docs/reference/face.md from the contract's texts; a test compares the two."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from fpan.contract.face import FaceFacts, Part, Pose
from pydantic import TypeAdapter

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "face.md"
_HEAD = """# What an answer tells of a face

<!-- Made by `python -m tools.face_page` from service/fpan/contract/face.py: change the texts there. -->

This page lists the members of each face of an answer beside its masks, which [formats](formats.md) describes. They have
the same names in JSON, in gRPC (`faceparsing.v1.Face`), in the Python client (`Face`) and in Parquet
(`fpan batch`), where a pose is three columns.

"""
_TAIL = """
## How to use `sharpness`

Faces below 0.3 are blurred by 4 % of their width or more, or have fewer than 16 pixels across; of sharp portraits 95 %
have 0.45 or more ([figures](../results/sharpness.md)). It is 1 less the blur effect of Crete et al. (2007), measured
across the face's box at 96 pixels at most:

    sharp = [face for face in result.faces if face.sharpness is None or face.sharpness >= 0.3]
"""


def page() -> str:
    """The whole page."""
    tables = [_table(FaceFacts), f"\n## Pose\n\n{_table(Pose)}", f"\n## Part\n\n{_table(Part)}"]
    return _HEAD + "".join(tables) + _TAIL


def _table(described: type[Any]) -> str:
    told = TypeAdapter(described).json_schema()["properties"]
    rows = [
        f"| `{each.name}` | {' '.join(told[each.name].get('description', '').split())} |" for each in fields(described)
    ]
    return "\n".join(("| member | what it is |", "|---|---|", *rows, ""))


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
