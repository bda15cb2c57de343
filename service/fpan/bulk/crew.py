"""Those who label shards: here it is one worker in this process; :mod:`fpan.bulk.on_ray` has many."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from fpan.bulk.labeller import Counts, Served
from fpan.bulk.plan import Shard
from fpan.bulk.shard import Report
from fpan.bulk.worker import AT_ONCE, Task, Worker


class Crew(Protocol):
    """Workers, whose shards come back as futures."""

    slots: int
    """Shards that may be under way at once."""

    def served(self, model: str | None) -> Served:
        """The version that all of them answer ``model`` with; BulkError where there is none."""

    def submit(self, shard: Shard, task: Task) -> "Future[Report]":
        """Begins a shard; at most ``slots`` may be unfinished."""

    def counts(self) -> Counts:
        """What they have done so far, unfinished shards too."""

    def stop(self) -> None:
        """Makes unfinished shards end soon, unwritten."""


class LocalCrew:
    """See :class:`Crew`."""

    slots = AT_ONCE

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fpan-shard")

    def served(self, model: str | None) -> Served:
        """See :class:`Crew`."""
        return self._worker.served(model)

    def submit(self, shard: Shard, task: Task) -> "Future[Report]":
        """See :class:`Crew`."""
        return self._pool.submit(self._worker.label, shard, task)

    def counts(self) -> Counts:
        """See :class:`Crew`."""
        return self._worker.counts()

    def stop(self) -> None:
        """See :class:`Crew`."""
        self._worker.stop()

    def close(self) -> None:
        """Waits for the threads."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def in_this_process(worker: Worker) -> Iterator[LocalCrew]:
    """A crew of one, which is closed at the end of the block."""
    crew = LocalCrew(worker)
    try:
        yield crew
    finally:
        crew.close()
        worker.close()
