"""`fpan batch`: labels the pictures of a folder or an object store, in shards."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fpan.cli._server import ServerFailed, ending_politely, needs, own_server

if TYPE_CHECKING:
    from fpan.bulk.labeller import Counts, Effort, Served
    from fpan.bulk.place import Place
    from fpan.bulk.plan import Plan
    from fpan.bulk.run import Summary
    from fpan.bulk.spec import LabelRequest
    from fpan.bulk.workers import Gateways, Opening, WorkerPool

SOME_FAILED = 1
"""Exit status when a picture, or the run, failed."""
STOPPED = 130
"""Exit status after Ctrl-C, as shells give it."""
FOR_WORKERS = ("FPAN_API_KEY", "MODEL_REPOSITORY")
"""Variables that workers on other machines get from here."""
_MAX_JOBS = 256
_MAX_DEADLINE_MS = 600_000
"""The longest that gateways grant."""
_LINE_EVERY_S = 60.0
"""How often it is told how far the work is where there is no terminal."""
_MEGABYTE = 1_000_000
_DETAIL = 100
"""Characters of a reason in the table; the file has it whole."""

_err = Console(stderr=True)


def batch(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder of pictures, or s3://, gs://, abfs://, ...")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="Folder, or address, for the shards.")],
    form: Annotated[Literal["parquet", "webdataset"], typer.Option("--format", help="What shards are.")] = "parquet",
    url: Annotated[
        list[str] | None,
        typer.Option(
            envvar="FPAN_URL",
            metavar="URL",
            help="Running gateway; several times, or with commas, for several, which are asked in turn. Without it a "
            "server is started here for as long as the command runs, and with --ray one on each node.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=_MAX_JOBS, help="Pictures under way at once; with --ray, of each worker.")
    ] = 8,
    model: Annotated[
        str | None, typer.Option(help="NAME, NAME:VERSION or NAME@ALIAS; else the server's only one.")
    ] = None,
    faces: Annotated[
        Literal["auto", "full"], typer.Option(help="Find faces, or take each picture as one aligned face.")
    ] = "auto",
    max_faces: Annotated[int | None, typer.Option(min=1, help="Most faces of a picture, the largest first.")] = None,
    classes: Annotated[str, typer.Option(metavar="NAMES", help="Classes to keep, with commas: hair,skin.")] = "",
    groups: Annotated[str, typer.Option(metavar="NAMES", help="Groups to keep, with commas: eyes,lips.")] = "",
    abstain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least confidence of a labelled pixel; those below it become 255."),
    ] = None,
    orientation: Annotated[
        Literal["exif", "raw"], typer.Option(help="Turn pictures upright as EXIF says, or take pixels as they lie.")
    ] = "exif",
    confidence: Annotated[bool, typer.Option("--confidence", help="Write confidence maps too.")] = False,
    with_pictures: Annotated[
        bool, typer.Option("--with-pictures", help="Put the pictures' own files in WebDataset shards.")
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Pictures whose path below SRC matches, * matching / too; several times."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most pictures, the first by their path.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Most pictures of a shard.")] = 1000,
    shard_mb: Annotated[
        int, typer.Option(min=1, help="Most megabytes of pictures in a shard that holds them; it is made in memory.")
    ] = 256,
    patience_s: Annotated[
        float,
        typer.Option(
            "--patience",
            min=0,
            metavar="SECONDS",
            help="How long gateways that are away or full are waited for before the run stops.",
        ),
    ] = 300.0,
    deadline_ms: Annotated[
        int, typer.Option(min=1, max=_MAX_DEADLINE_MS, help="Time for each picture, in milliseconds.")
    ] = 120_000,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do shards with failed pictures again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|ADDRESS", help="Work on a Ray cluster; local starts one here, auto finds a running one."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers on the cluster; else one for each node that is there.")
    ] = None,
    worker_cpus: Annotated[float, typer.Option(min=0, help="CPUs that Ray sets aside for a worker.")] = 1.0,
    worker_gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of a worker; the server that it starts sees no others.")
    ] = 0.0,
) -> None:
    """Label the pictures of a folder or an object store, in shards of Parquet or WebDataset.

    A folder, with a server that is started for it:

        fpan batch photos/ labels/

    A bucket, by two running gateways:

        fpan batch s3://faces/2026 s3://labels/2026 --url http://g1:8000,http://g2:8000 --jobs 32

    Aligned faces to train on, pictures included (then: fpan-train finetune --data tars):

        fpan batch aligned/ tars --format webdataset --with-pictures --faces full

    On every node of a Ray cluster, each with a server of its own:

        fpan batch s3://faces s3://labels --ray auto --worker-gpus 1

    What would be done, without doing it:

        fpan batch photos/ labels/ --include '2026/*' --limit 5000 --dry-run

    A run that was stopped, by Ctrl-C or a power cut, goes on when the same command is given again: shards that are
    there stay as they are. A picture that fails stops no other: it is listed in DST/_failed.jsonl, its row has the
    reason, and the exit status is 1. What the shards hold: docs/how-to/bulk.md.
    """
    if with_pictures and form == "parquet":
        message = "pictures go into shards of WebDataset: --format webdataset"
        raise typer.BadParameter(message, param_hint="--with-pictures")
    if ray is None and (workers, worker_cpus, worker_gpus) != (None, 1.0, 0.0):
        raise typer.BadParameter("workers are those of a cluster: name it with --ray", param_hint="--workers")
    with needs("batch", "bulk labelling"):
        from fpan.bulk.labeller import Effort
        from fpan.bulk.place import Place
        from fpan.bulk.spec import LabelRequest
    came, went = Place(source), Place(destination)
    wish = LabelRequest(
        source=came.address,
        include=tuple(include or ()),
        limit=limit,
        shard_size=shard_size,
        shard_mb=shard_mb,
        form=form,
        with_pictures=with_pictures,
        confidence=confidence,
        faces=faces,
        max_faces=max_faces,
        classes=_names(classes),
        groups=_names(groups),
        abstain=abstain,
        orientation=orientation,
    )
    urls = tuple(each for word in url or () for each in _names(word))
    effort = Effort(jobs, patience_s, deadline_ms)
    batching = _Batch(came, went, wish, model, retry_failed=retry_failed)
    if dry_run:
        batching.tell()
        return
    with went.alone(), ending_politely(), _crew(urls, effort, ray, workers, worker_cpus, worker_gpus) as crew:
        batching.go(crew)


class _Batch:
    """One call of the command."""

    def __init__(
        self, source: "Place", destination: "Place", wish: "LabelRequest", model: str | None, *, retry_failed: bool
    ) -> None:
        """Lists the source and reads the destination's plan, before any server is started.

        Raises:
            ServerFailed: there are no pictures.
            BulkError: source or destination cannot be used.
        """
        from fpan.bulk.plan import Plan, listing

        self._source, self._destination, self._wish, self._model = source, destination, wish, model
        self._retry_failed = retry_failed
        self._plan = Plan.read(destination)
        if self._plan is not None:
            self._compare(wish, self._plan)
        self._found = listing(source, wish.include)
        if not self._found and self._plan is None:
            raise ServerFailed(f"there are no pictures{' that match' if wish.include else ''} in {source.address}")

    def tell(self) -> None:
        """What would be done."""
        from fpan.bulk.plan import cut
        from fpan.bulk.run import finished

        wish, plan = self._wish, self._plan
        if plan is None:
            chosen = self._found[: wish.limit]
            pictures, size, shards = len(chosen), sum(each.size for each in chosen), cut(wish, chosen)[-1] + 1
            done = 0
        else:
            self._tell_change(plan)
            pictures, size, shards = plan.pictures, plan.size, plan.shards
            done = len(finished(plan.order, self._destination, but_failed=self._retry_failed))
        typer.echo(f"{_number(pictures, 'picture')} ({size / _MEGABYTE:,.1f} MB) of {self._source.address}")
        typer.echo(f"{_number(shards, 'shard')} of {wish.form} at {self._destination.address}, {done:,} of them there")
        typer.echo(f"{_number(shards - done, 'shard')} would be written")

    def go(self, crew: "WorkerPool") -> None:
        """Labels what is missing and tells what there is.

        Raises:
            typer.Exit: with the status that the command ends with, if not 0.
            BulkError: the run cannot go on.
        """
        from fpan.bulk.errors import BulkError
        from fpan.bulk.plan import PLAN_FILE, Plan
        from fpan.bulk.run import finished, run
        from fpan.bulk.spec import LabelSpec

        served = crew.served(self._model)
        _check_names(self._wish, served)
        order = LabelSpec(**self._wish.model_dump(), model=served.model, taxonomy=served.taxonomy)
        if self._plan is None:
            self._plan = Plan.make(order, self._found)
            self._destination.write(PLAN_FILE, self._plan.data())
        else:
            self._compare(order, self._plan)
            self._tell_change(self._plan)
        plan, self._found = self._plan, []
        done = finished(order, self._destination, but_failed=self._retry_failed)
        there = sum(report.pictures for report in done.values())
        _say(
            f"{_number(plan.pictures, 'picture')} in {_number(plan.shards, 'shard')}, {len(done):,} of them there; "
            f"{order.model.pinned} labels"
        )
        began = time.monotonic()
        try:
            with _watched(plan.pictures, there) as watch:
                summary = run(crew, plan, self._source, self._destination, done, watch)
        except (KeyboardInterrupt, SystemExit, BulkError) as error:
            left = len(finished(order, self._destination))
            _say(f"stopped with {left:,} of {plan.shards:,} shards there; the same command goes on from there")
            if isinstance(error, KeyboardInterrupt):
                raise typer.Exit(STOPPED) from None
            raise
        _summarise(summary, summary.pictures - there, time.monotonic() - began, self._destination)
        if summary.failed:
            raise typer.Exit(SOME_FAILED)

    def _compare(self, wish: "LabelRequest", plan: "Plan") -> None:
        from fpan.bulk.errors import OtherOrder

        if differences := wish.unlike(plan.order):
            raise OtherOrder(
                f"{self._destination.address} belongs to other work: {'; '.join(differences)}. Name another DST, or "
                "give the options that it was begun with"
            )

    def _tell_change(self, plan: "Plan") -> None:
        if change := plan.changed(self._found):
            _say(
                f"{self._source.address} has changed since the plan was made ({change}): the plan's list counts, what "
                "is new needs another DST"
            )


@contextmanager
def _crew(
    urls: tuple[str, ...], effort: "Effort", ray: str | None, workers: int | None, cpus: float, gpus: float
) -> "Iterator[WorkerPool]":
    from fpan.bulk.workers import AT_ONCE, Worker, in_this_process

    opening: Opening = partial(_running, urls) if urls else _own
    if ray is None:
        with in_this_process(Worker(opening, effort)) as alone:
            yield alone
        return
    with needs("ray", "Ray"):
        from fpan.bulk.on_ray import Cluster, on_ray
    environment = {name: os.environ[name] for name in FOR_WORKERS if name in os.environ}
    with on_ray(Cluster(ray, workers, cpus, gpus), opening, effort, environment) as crew:
        _say(f"{_number(crew.slots // AT_ONCE, 'worker')} on Ray")
        yield crew


@contextmanager
def _running(urls: tuple[str, ...]) -> "Iterator[Gateways]":
    from fpan.bulk.workers import Gateways

    yield Gateways(urls)


@contextmanager
def _own() -> "Iterator[Gateways]":
    from fpan.bulk.workers import Gateways

    with own_server(_say) as client:
        yield Gateways((client.url,), direct=True)


def _check_names(wish: "LabelRequest", served: "Served") -> None:
    """So that a wrong name is told once, and not by every picture."""
    known = {c.name for c in served.taxonomy.classes}
    for option, names, there in (
        ("classes", wish.classes, known),
        ("groups", wish.groups, set(served.taxonomy.groups)),
    ):
        if unknown := [name for name in names if name not in there]:
            message = f"{unknown[0]!r} is none of the {option} of {served.model.pinned}: {', '.join(sorted(there))}"
            raise typer.BadParameter(message, param_hint=f"--{option}")


@contextmanager
def _watched(total: int, there: int) -> "Iterator[Callable[[Counts], None]]":
    """A bar on a terminal; elsewhere a line now and then."""
    began = last = time.monotonic()
    columns = (
        TextColumn("labelling"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.1f}/s  {task.fields[faces]:,} faces  {task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err, disable=not _err.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=there, speed=0.0, faces=0, failed=0)

        def watch(counts: "Counts") -> None:
            nonlocal last
            now = time.monotonic()
            speed = counts.pictures / max(now - began, 1e-9)
            bar.update(task, completed=there + counts.pictures, speed=speed, faces=counts.faces, failed=counts.failed)
            if not _err.is_terminal and now - last >= _LINE_EVERY_S:
                last = now
                _say(
                    f"{there + counts.pictures:,} of {total:,} pictures, {speed:.1f} a second, {counts.failed:,} failed"
                )

        yield watch


def _summarise(summary: "Summary", now: int, seconds: float, destination: "Place") -> None:
    from fpan.bulk.run import FAILED_FILE

    failed = len(summary.failed)
    _say(
        f"{_number(summary.pictures - failed, 'picture')} labelled with {_number(summary.faces, 'face')}, "
        f"{failed:,} failed: {destination.address}"
    )
    if now:
        _say(f"{now:,} now, in {seconds:.1f} s: {now / seconds:.1f} a second")
    if not failed:
        return
    table = Table(title=f"failed, all in {destination.address}/{FAILED_FILE}", title_justify="left")
    for column in ("problem", "pictures", "such as"):
        table.add_column(column, justify="right" if column == "pictures" else "left")
    for problem, count, one in summary.reasons:
        table.add_row(escape(problem), f"{count:,}", escape(f"{one.path}: {one.detail[:_DETAIL]}"))
    _err.print(table)


def _names(words: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in words.split(",") if name.strip())


def _say(line: str) -> None:
    _err.print(line, highlight=False, soft_wrap=True, markup=False)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
