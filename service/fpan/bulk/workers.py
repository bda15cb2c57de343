"""What labels shards, wherever it runs: in this process, or as an actor on a node of a cluster."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fpan.bulk.errors import BulkError, WorkerLost
from fpan.bulk.labeller import Counts, Effort, Labeller, Served
from fpan.bulk.place import Place
from fpan.bulk.plan import PLAN_FILE, Shard
from fpan.bulk.shard import Report, label_shard
from fpan.bulk.spec import LabelSpec

AT_ONCE = 2
"""Shards of a worker under way at once: while one is written, the pictures of the next are labelled."""


@dataclass(frozen=True)
class Gateways:
    """Who is asked."""

    urls: Sequence[str]
    direct: bool = False
    """Whether they are reached by no proxy."""


Opening = Callable[[], AbstractContextManager[Gateways]]
"""Finds, or starts, gateways that are there until the block ends."""


@dataclass(frozen=True)
class Task:
    """What a worker is told before its first shard."""

    order: LabelSpec
    source: str = field(repr=False)
    """Address as it was given."""
    destination: str = field(repr=False)
    plan_bytes: int
    """Size of the plan's file."""


class Worker:
    """Labels shards with its gateways."""

    def __init__(self, opening: Opening, effort: Effort, environment: Mapping[str, str] | None = None) -> None:
        """Opens the gateways; :meth:`served` tells if that failed.

        Args:
            opening: finds or starts the gateways.
            effort: of the labeller.
            environment: variables to set first, where this is another machine.
        """
        os.environ.update(environment or {})
        self._stack, self._failed = ExitStack(), ""
        try:
            gateways = self._stack.enter_context(opening())
            self._labeller = Labeller(gateways.urls, effort, direct=gateways.direct)
            self._stack.callback(self._labeller.close)
        except Exception as error:
            # Raised here, all that Ray would tell of it is that an actor has died.
            self._failed = str(error) or repr(error)
        self._places: tuple[Place, Place] | None = None

    def served(self, model: str | None) -> Served:
        """The version that its gateways answer ``model`` with.

        Raises:
            BulkError: there is none, or the gateways could not be opened.
        """
        if self._failed:
            raise BulkError(self._failed)
        return self._labeller.served(model)

    def label(self, shard: Shard, task: Task) -> Report:
        """See :func:`fpan.bulk.shard.label_shard`.

        Raises:
            BulkError: as that, or the gateways could not be opened.
            WorkerLost: source or destination are not here what they are elsewhere.
        """
        if self._failed:
            raise BulkError(self._failed)
        source, destination = self._places or self._open(task)
        return label_shard(shard, task.order, source, destination, self._labeller)

    def _open(self, task: Task) -> tuple[Place, Place]:
        source, destination = Place(task.source), Place(task.destination)
        if destination.size(PLAN_FILE) != task.plan_bytes or not source.is_folder():
            raise WorkerLost(
                f"a worker does not see {source.address} and {destination.address} as they are here: on a cluster both "
                "must be addresses of an object store, or folders that all its nodes have mounted"
            )
        self._places = source, destination
        return self._places

    def counts(self) -> Counts:
        """What it has done so far."""
        return Counts() if self._failed else self._labeller.counts

    def stop(self) -> None:
        """Makes shards that are under way end soon, unwritten."""
        if not self._failed:
            self._labeller.stop()

    def close(self) -> None:
        """Ends what is under way, and the gateways if they are its own."""
        self._stack.close()


class WorkerPool(Protocol):
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


class LocalWorkerPool:
    """See :class:`WorkerPool`."""

    slots = AT_ONCE

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fpan-shard")

    def served(self, model: str | None) -> Served:
        """See :class:`WorkerPool`."""
        return self._worker.served(model)

    def submit(self, shard: Shard, task: Task) -> "Future[Report]":
        """See :class:`WorkerPool`."""
        return self._pool.submit(self._worker.label, shard, task)

    def counts(self) -> Counts:
        """See :class:`WorkerPool`."""
        return self._worker.counts()

    def stop(self) -> None:
        """See :class:`WorkerPool`."""
        self._worker.stop()

    def close(self) -> None:
        """Waits for the threads."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def in_this_process(worker: Worker) -> Iterator[LocalWorkerPool]:
    """A crew of one, which is closed at the end of the block."""
    crew = LocalWorkerPool(worker)
    try:
        yield crew
    finally:
        crew.close()
        worker.close()
