"""A shard as Parquet: one row a picture, failed ones too."""

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from fpan import __version__
from fpan.bulk.labeller import Labelled
from fpan.bulk.spec import LabelSpec
from fpan.client import Face, Result
from fpan.contract.face import FaceFacts, Part

SUFFIX = ".parquet"

_DESCRIBED: dict[Any, type[Any]] = {Face: FaceFacts, Part: Part}
"""What is written of a dataclass: the members of which one."""
_CORNERS, _AXES = ("x0", "y0", "x1", "y1"), ("yaw", "pitch", "roll")


def _struct(kind: type[Any]) -> pa.StructType:
    """The struct that holds what a dataclass of the contract does: a column a member, a pose as its three angles."""
    columns: list[tuple[str, pa.DataType]] = []
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.name == "pose":
            columns += [(axis, pa.float32()) for axis in _AXES]
        else:
            columns.append((each.name, _TYPES.get((kind, each.name)) or _type(hints[each.name])))
    return pa.struct(columns)


def _type(hint: Any) -> pa.DataType:
    """Of a member, None aside: Parquet has null in every column."""
    [kind] = [one for one in get_args(hint) if one is not type(None)] if type(None) in get_args(hint) else [hint]
    if isinstance(kind, type):
        return _PLAIN_TYPES[kind]
    item = get_args(kind)[0]
    if len(get_args(kind)) == len(_CORNERS):
        return pa.struct([(name, {int: pa.int32(), float: pa.float32()}[item]) for name in _CORNERS])
    return pa.list_(_struct(item) if item in _DESCRIBED else _PLAIN_TYPES[item])


_PLAIN_TYPES: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int32(), float: pa.float32(), bool: pa.bool_()}
_TYPES: dict[tuple[Any, str], pa.DataType] = {
    (Part, "id"): pa.uint8(),
    (Part, "area"): pa.int64(),
    (FaceFacts, "landmarks"): pa.list_(pa.struct([("x", pa.float32()), ("y", pa.float32())])),
}
"""Of members that their Python types say too little of."""
COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("key", pa.string()),
    ("path", pa.string()),
    ("sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("model", pa.struct([("name", pa.string()), ("version", pa.int32()), ("sha256", pa.string())])),
    ("faces", pa.list_(_struct(FaceFacts))),
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
        "faces": [_columns(face) for face in result.faces],
        "reason": result.reason,
        "notes": list(result.notes),
        "labels": result.pictures["png"],
        "confidence": result.pictures.get("confidence"),
    }


def _columns(described: Any) -> dict[str, Any]:
    """A dataclass of the contract as the struct that :func:`_struct` made of it."""
    row: dict[str, Any] = {}
    for each in fields(_DESCRIBED[type(described)]):
        value = getattr(described, each.name)
        if each.name == "pose":
            row |= {axis: value and getattr(value, axis) for axis in _AXES}
        elif each.name == "landmarks":
            row[each.name] = None if value is None else [{"x": float(x), "y": float(y)} for x, y in value]
        elif each.name == "box":
            row[each.name] = dict(zip(_CORNERS, value, strict=True))
        else:
            row[each.name] = (
                [_columns(v) if is_dataclass(v) else v for v in value] if isinstance(value, tuple) else value
            )
    return row


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the columns as Parquet knows them."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    found = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    return [found.column(number).path for number in range(len(found))]
