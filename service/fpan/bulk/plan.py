"""The sorted list of pictures, cut into shards. It is written once: every later run works on the same list."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from fpan.bulk.errors import OtherOrder, PlaceError
from fpan.bulk.place import Found, Place
from fpan.bulk.spec import LabelRequest, LabelSpec
from fpan.pictures import SUFFIXES, unlike

BOOKS = "_fpan"
"""Folder of a destination with what is no data. Readers of folders of Parquet pass over names that begin with ``_``."""
PLAN_FILE = f"{BOOKS}/plan.arrow"
_ORDER = b"fpan.order"
_COLUMNS = pa.schema(
    [
        ("path", pa.string()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("modified", pa.int64()),
        ("shard", pa.int32()),
    ]
)
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Picture:
    """A picture of the plan."""

    path: str
    """Relative to the source."""
    name: str
    """The path without its ending, made unlike all others: the key of its labels."""
    size: int
    """In bytes, when the plan was made."""


@dataclass(frozen=True)
class Shard:
    """The unit of work."""

    number: int
    pictures: tuple[Picture, ...]

    @property
    def name(self) -> str:
        """Of its files, without their ending."""
        return shard_name(self.number)


@dataclass(frozen=True)
class Change:
    """How the source differs from the plan's list, in pictures."""

    new: int
    gone: int
    altered: int

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.altered)

    def __str__(self) -> str:
        return f"{self.new} new, {self.gone} gone, {self.altered} altered"


def shard_name(number: int) -> str:
    """Name of a shard's files, without their ending."""
    return f"shard-{number:06}"


def listing(source: Place, include: tuple[str, ...] = ()) -> list[Found]:
    """The pictures below a place by their path; hidden files and folders are left out.

    Args:
        source: where.
        include: globs, one of which a relative path must match; ``*`` matches slashes too. None: every picture.

    Raises:
        PlaceError: it cannot be listed.
    """
    return sorted((found for found in source.files() if _is_wanted(found.path, include)), key=lambda found: found.path)


def _is_wanted(path: str, include: tuple[str, ...]) -> bool:
    parts = PurePosixPath(path)
    return (
        parts.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in parts.parts)
        and (not include or any(fnmatchcase(path, glob) for glob in include))
    )


def cut(wish: LabelRequest, found: list[Found]) -> list[int]:
    """The number of the shard of each picture of a sorted listing."""
    numbers, number, count, held = [], -1, wish.shard_size, 0
    most = wish.shard_mb * _MEGABYTE if wish.with_pictures else None
    for each in found:
        if count >= wish.shard_size or (most is not None and held + each.size > most):
            number, count, held = number + 1, 0, 0
        numbers.append(number)
        count, held = count + 1, held + each.size
    return numbers


class Plan:
    """What is to be labelled, in which shards."""

    def __init__(self, order: LabelSpec, table: pa.Table) -> None:
        self.order = order
        self._table = table

    @classmethod
    def make(cls, order: LabelSpec, found: list[Found]) -> "Plan":
        """Cuts a sorted listing into shards."""
        chosen = found[: order.limit]
        names = unlike([PurePosixPath(each.path) for each in chosen])
        columns = [
            [each.path for each in chosen],
            [name.as_posix() for name in names],
            [each.size for each in chosen],
            [each.modified for each in chosen],
            cut(order, chosen),
        ]
        return cls(order, pa.table(columns, schema=_COLUMNS))

    @classmethod
    def read(cls, destination: Place) -> "Plan | None":
        """The plan of a destination; None where nothing is there yet.

        Raises:
            OtherOrder: something else is there.
            PlaceError: it cannot be read.
        """
        try:
            data = destination.read(PLAN_FILE)
        except FileNotFoundError:
            if destination.is_empty():
                return None
            raise OtherOrder(
                f"{destination.address} is not empty and holds no plan of `fpan batch`: name another"
            ) from None
        except OSError as error:
            raise PlaceError(f"{destination.address}/{PLAN_FILE}: {error}") from error
        where = f"{destination.address}/{PLAN_FILE}"
        try:
            table = pa.ipc.open_file(data).read_all()
            return cls(LabelSpec.model_validate_json(table.schema.metadata[_ORDER]), table)
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise OtherOrder(f"{where} is no plan that this version reads ({type(error).__name__})") from error

    def data(self) -> bytes:
        """As it is written: an Arrow file."""
        sink = pa.BufferOutputStream()
        table = self._table.replace_schema_metadata({_ORDER: self.order.model_dump_json().encode()})
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    @property
    def pictures(self) -> int:
        """How many."""
        return int(self._table.num_rows)

    @property
    def size(self) -> int:
        """Of all pictures, in bytes."""
        return int(pc.sum(self._table["size"]).as_py() or 0)

    @property
    def shards(self) -> int:
        """How many."""
        return int(self._table["shard"][-1].as_py()) + 1 if self.pictures else 0

    def each(self, wanted: set[int]) -> Iterator[Shard]:
        """The shards of some numbers, in order."""
        numbers = self._table["shard"].to_numpy()
        for number in sorted(wanted):
            first, last = numbers.searchsorted(number, "left"), numbers.searchsorted(number, "right")
            rows = self._table.slice(first, last - first).select(["path", "name", "size"]).to_pylist()
            yield Shard(number, tuple(Picture(**row) for row in rows))

    def changed(self, found: list[Found]) -> Change:
        """How a listing of today differs; what is new does not count where a limit cuts the list."""
        seen = {each.path: (each.size, each.modified) for each in found}
        columns = (self._table[name].to_pylist() for name in ("path", "size", "modified"))
        known = {path: (size, modified) for path, size, modified in zip(*columns, strict=True)}
        both = seen.keys() & known.keys()
        new = 0 if self.order.limit is not None else len(seen.keys() - known.keys())
        return Change(new, len(known.keys() - seen.keys()), sum(seen[path] != known[path] for path in both))
