"""A run: what is missing of a plan is handed out; at the end it is told what there is."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from fpan.bulk import tars
from fpan.bulk.errors import PlaceError
from fpan.bulk.labeller import Counts
from fpan.bulk.place import Place
from fpan.bulk.plan import PLAN_FILE, Plan
from fpan.bulk.shard import REPORTS, Failure, Report, report_file, shard_file
from fpan.bulk.spec import LabelSpec
from fpan.bulk.workers import Task, WorkerPool

FAILED_FILE = "_failed.jsonl"
"""One line for each picture without labels: path, problem, detail. Readers of Parquet pass over ``_``."""
_TICK_S = 0.5
"""How often it is asked how far the work is."""
_READERS = 16
"""Reports that are read at once."""


@dataclass(frozen=True)
class Summary:
    """What there is after a run, of this and earlier ones."""

    reports: tuple[Report, ...]

    @property
    def pictures(self) -> int:
        """In finished shards."""
        return sum(report.pictures for report in self.reports)

    @property
    def faces(self) -> int:
        """In finished shards."""
        return sum(report.faces for report in self.reports)

    @property
    def failed(self) -> list[Failure]:
        """Pictures without labels, in the order of the plan."""
        return [failure for report in self.reports for failure in report.failed]

    @property
    def reasons(self) -> list[tuple[str, int, Failure]]:
        """Problem, number of pictures, and one of them; the most frequent first."""
        counted = Counter(failure.problem for failure in self.failed)
        example = {failure.problem: failure for failure in reversed(self.failed)}
        return [(problem, count, example[problem]) for problem, count in counted.most_common()]


def finished(order: LabelSpec, destination: Place, *, but_failed: bool = False) -> dict[int, Report]:
    """The reports of the shards that are there, by number.

    Args:
        order: of the plan.
        destination: where.
        but_failed: those with failed pictures count as missing.

    Raises:
        PlaceError: they cannot be read.
    """
    numbers = [int(name.partition(".")[0].rpartition("-")[2]) for name in destination.names(REPORTS)]

    def read(number: int) -> Report:
        try:
            return Report.model_validate_json(destination.read(report_file(number)))
        except (OSError, ValueError) as error:
            raise PlaceError(f"{destination.address}/{report_file(number)} cannot be read: {error}") from error

    with ThreadPoolExecutor(_READERS) as pool:
        reports = list(pool.map(read, numbers))
    files = set(destination.names(""))
    return {
        report.shard: report
        for report in reports
        if shard_file(order, report.shard) in files and not (but_failed and report.failed)
    }


def run(
    crew: WorkerPool,
    plan: Plan,
    source: Place,
    destination: Place,
    done: dict[int, Report],
    watch: Callable[[Counts], None],
) -> Summary:
    """Labels the shards that are missing.

    Args:
        crew: who does it.
        plan: of all shards; it must lie at the destination.
        source: of the pictures.
        destination: of the shards.
        done: reports of those that are there.
        watch: told now and then what this run has done so far.

    Raises:
        BulkError: the first that a shard ended with; all others are left unwritten, or were finished before.
        KeyboardInterrupt: the same.
    """
    task = Task(plan.order, source.given, destination.given, destination.size(PLAN_FILE) or 0)
    missing = plan.each(set(range(plan.shards)) - done.keys())
    reports = dict(done)
    running: set[Future[Report]] = set()
    try:
        while True:
            while len(running) < crew.slots and (shard := next(missing, None)) is not None:
                running.add(crew.submit(shard, task))
            if not running:
                break
            ended, running = wait(running, timeout=_TICK_S, return_when=FIRST_COMPLETED)
            for future in ended:
                report = future.result()
                reports[report.shard] = report
            watch(crew.counts())
    except BaseException:
        crew.stop()
        raise
    summary = Summary(tuple(reports[number] for number in sorted(reports)))
    write_summary(plan.order, summary, destination)
    return summary


def write_summary(order: LabelSpec, summary: Summary, destination: Place) -> None:
    """Writes what is about all shards: the failed pictures and, for training, the manifest.

    Raises:
        PlaceError: it cannot be written.
    """
    lines = "".join(json.dumps(failure.model_dump()) + "\n" for failure in summary.failed)
    destination.write(FAILED_FILE, lines.encode())
    if order.form == "webdataset" and order.with_pictures:
        shards: Iterable[tuple[str, Iterable[tars.Entry]]] = (
            (shard_file(order, report.shard), report.entries) for report in summary.reports
        )
        destination.write(tars.MANIFEST_FILE, tars.manifest(order, shards))
