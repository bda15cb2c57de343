"""The unit of work: a shard is labelled and written whole, or not at all."""

import time
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from fpan.bulk import parquet, tars
from fpan.bulk.errors import GatewayGone
from fpan.bulk.labeller import Labelled, Labeller
from fpan.bulk.place import Place
from fpan.bulk.plan import BOOKS, Shard, shard_name
from fpan.bulk.spec import LabelSpec

REPORTS = f"{BOOKS}/reports"
"""Folder of the reports. With its report a shard is there."""
FEW = 10
"""Failed pictures of a shard, at least, before it is suspected that the pictures are not what is wrong."""


class Failure(BaseModel):
    """A picture without labels."""

    model_config = ConfigDict(frozen=True)

    path: str
    problem: str
    detail: str


class Report(BaseModel):
    """What became of a shard."""

    model_config = ConfigDict(frozen=True)

    shard: int
    pictures: int
    faces: int
    failed: tuple[Failure, ...] = ()
    entries: tuple[tars.Entry, ...] = ()
    """What can be trained on."""
    seconds: float


class Writer(Protocol):
    """Collects pictures to a file."""

    def add(self, done: Labelled) -> None:
        """One more, in the order of the plan."""

    def finish(self) -> bytes:
        """The file; nothing can be added any more."""


def label_shard(shard: Shard, order: LabelSpec, source: Place, destination: Place, labeller: Labeller) -> Report:
    """Labels a shard's pictures and writes them; its report comes last, and with that the shard is there.

    Raises:
        GatewayGone: no gateway answers, or not as it must, or most pictures fail for what seems no fault of theirs.
        Interrupted: the labeller was stopped.
        PlaceError: it cannot be written.
    """
    began = time.monotonic()
    writer: Writer = parquet.ParquetShard(order) if order.form == "parquet" else tars.TarShard(order)
    faces, odd = 0, 0
    failed: list[Failure] = []
    last = ""
    for done in labeller.label(source, shard.pictures, order):
        writer.add(done)
        faces += len(done.result.faces) if done.result is not None else 0
        if done.problem is not None:
            failed.append(Failure(path=done.picture.path, problem=done.problem.slug, detail=done.problem.detail))
            if not done.problem.its_own:
                odd, last = odd + 1, f"{done.problem.slug}: {done.problem.detail}"
    if odd > max(FEW, len(shard.pictures) / 2):
        raise GatewayGone(
            f"{odd} of the {len(shard.pictures)} pictures of {shard.name} failed, and not by a fault of theirs "
            f"({last}); the shard was not written"
        )
    destination.write(shard_file(order, shard.number), writer.finish())
    report = Report(
        shard=shard.number,
        pictures=len(shard.pictures),
        faces=faces,
        failed=tuple(failed),
        entries=tuple(writer.entries) if isinstance(writer, tars.TarShard) else (),
        seconds=round(time.monotonic() - began, 3),
    )
    destination.write(report_file(shard.number), report.model_dump_json().encode())
    return report


def shard_file(order: LabelSpec, number: int) -> str:
    """Name of a shard's file."""
    return shard_name(number) + (parquet.SUFFIX if order.form == "parquet" else tars.SUFFIX)


def report_file(number: int) -> str:
    """Path of a shard's report."""
    return f"{REPORTS}/{shard_name(number)}.json"
