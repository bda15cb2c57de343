"""A shard as Parquet: one row a picture, failed ones too."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fpan import __version__
from fpan.bulk.labeller import Labelled
from fpan.bulk.spec import LabelSpec
from fpan.client import Face, Result

SUFFIX = ".parquet"

_BOX = pa.struct([(name, pa.float32()) for name in ("x0", "y0", "x1", "y1")])
_PART = pa.struct(
    [
        ("id", pa.uint8()),
        ("name", pa.string()),
        ("area", pa.int64()),
        ("box", pa.struct([(name, pa.int32()) for name in ("x0", "y0", "x1", "y1")])),
        ("confidence", pa.float32()),
    ]
)
_FACE = pa.struct(
    [
        ("id", pa.int32()),
        ("box", _BOX),
        ("score", pa.float32()),
        ("landmarks", pa.list_(pa.struct([("x", pa.float32()), ("y", pa.float32())]))),
        ("yaw", pa.float32()),
        ("pitch", pa.float32()),
        ("roll", pa.float32()),
        ("occluded", pa.float32()),
        ("cut_by_crop", pa.list_(pa.string())),
        ("cut_by_image", pa.bool_()),
        ("parts", pa.list_(_PART)),
    ]
)
COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("key", pa.string()),
    ("path", pa.string()),
    ("sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("model", pa.struct([("name", pa.string()), ("version", pa.int32()), ("sha256", pa.string())])),
    ("faces", pa.list_(_FACE)),
    ("reason", pa.string()),
    ("notes", pa.list_(pa.string())),
    ("labels", pa.binary()),
    ("confidence", pa.binary()),
    ("error", pa.struct([("problem", pa.string()), ("detail", pa.string())])),
)
"""Name and type of each column; docs/how-to/bulk.md says what they hold."""
_PLAIN = ("labels", "confidence", "sha256")
"""Columns in which nothing comes twice, so that a dictionary would only cost."""
_ROWS = 1024
"""Of a row group: a reader that wants few columns still skips whole PNG files, and holds few at once."""


def schema(order: LabelSpec) -> pa.Schema:
    """The schema of an order's shards; its metadata tell all that the order is."""
    metadata = {
        "fpan.schema": str(order.schema_version),
        "fpan.version": __version__,
        "fpan.taxonomy": order.taxonomy.model_dump_json(),
        "fpan.order": order.model_dump_json(exclude={"taxonomy"}),
    }
    return pa.schema(list(COLUMNS), metadata=metadata)


class ParquetShard:
    """Collects rows; see :class:`fpan.bulk.shard.Writer`."""

    def __init__(self, order: LabelSpec) -> None:
        self._schema = schema(order)
        self._rows: list[dict[str, Any]] = []

    def add(self, done: Labelled) -> None:
        """A row."""
        self._rows.append(row(done))

    def finish(self) -> bytes:
        """The file."""
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(self._rows, schema=self._schema)
        others = [path for path in _leaves(self._schema) if path not in _PLAIN]
        pq.write_table(table, sink, compression="zstd", use_dictionary=others, row_group_size=_ROWS)
        return bytes(sink.getvalue())


def row(done: Labelled) -> dict[str, Any]:
    """The row of a picture; columns that are not named are null."""
    found: dict[str, Any] = {"key": done.picture.name, "path": done.picture.path, "sha256": done.sha256}
    if done.problem is not None:
        return {**found, "error": {"problem": done.problem.slug, "detail": done.problem.detail}}
    result = done.result
    assert result is not None
    return {**found, **_answer(result)}


def _answer(result: Result) -> dict[str, Any]:
    return {
        "width": result.width,
        "height": result.height,
        "model": {"name": result.model.name, "version": result.model.version, "sha256": result.model.sha256},
        "faces": [_face(face) for face in result.faces],
        "reason": result.reason,
        "notes": list(result.notes),
        "labels": result.pictures["png"],
        "confidence": result.pictures.get("confidence"),
    }


def _face(face: Face) -> dict[str, Any]:
    pose, points = face.pose, face.landmarks
    return {
        "id": face.id,
        "box": _box(face.box, float),
        "score": face.score,
        "landmarks": None if points is None else [{"x": float(x), "y": float(y)} for x, y in points],
        "yaw": pose and pose.yaw,
        "pitch": pose and pose.pitch,
        "roll": pose and pose.roll,
        "occluded": face.occluded,
        "cut_by_crop": list(face.cut_by_crop),
        "cut_by_image": face.cut_by_image,
        "parts": [
            {"id": p.id, "name": p.name, "area": p.area, "box": _box(p.box, int), "confidence": p.confidence}
            for p in face.parts
        ],
    }


def _box(box: tuple[float, float, float, float], number: Callable[[float], float]) -> dict[str, float]:
    return {name: number(value) for name, value in zip(("x0", "y0", "x1", "y1"), box, strict=True)}


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the columns as Parquet knows them."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    found = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    return [found.column(number).path for number in range(len(found))]
