"""A crew on a Ray cluster: a worker on each node, each with gateways that it reaches, or a server of its own."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fpan.bulk.errors import BulkError, WorkerLost
from fpan.bulk.labeller import Counts, Effort, Served, agreed
from fpan.bulk.plan import Shard
from fpan.bulk.shard import Report
from fpan.bulk.workers import AT_ONCE, Opening, Task, Worker

LOCAL = "local"
"""Address of a cluster of one node that is started here and ends with the run."""
LIVES = 2
"""How often a worker that was lost is started anew, and its shards begun anew, before the run ends."""
_BESIDE = 2
"""Calls beside the shards: counts, stop."""
_CLOSE_TIMEOUT_S = 60.0
"""How long workers may take to end their servers."""
_COUNT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and what of it."""

    address: str
    """``local``, ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``."""
    workers: int | None = None
    """None: one for each node that is there."""
    cpus: float = 1.0
    """That Ray sets aside for a worker."""
    gpus: float = 0.0
    """The same; a server that a worker starts sees no others."""


class RayCrew:
    """See :class:`fpan.bulk.workers.WorkerPool`."""

    def __init__(self, actors: list[Any]) -> None:
        self._actors = actors
        self.slots = AT_ONCE * len(actors)
        self._running: list[list[Future[Report]]] = [[] for _ in actors]
        self._seen = [Counts()] * len(actors)

    def served(self, model: str | None) -> Served:
        """See :class:`fpan.bulk.workers.WorkerPool`."""
        with _told():
            found: list[Served] = ray.get([actor.served.remote(model) for actor in self._actors])
        return agreed(found, [f"worker {number}" for number in range(len(found))])

    def submit(self, shard: Shard, task: Task) -> "Future[Report]":
        """See :class:`fpan.bulk.workers.WorkerPool`."""
        waiting = [[future for future in running if not future.done()] for running in self._running]
        chosen = min(range(len(waiting)), key=lambda number: len(waiting[number]))
        told: Future[Report] = Future()
        with _told():
            future = self._actors[chosen].label.remote(shard, task).future()
        self._running = waiting
        self._running[chosen].append(future)
        future.add_done_callback(lambda done: _hand_over(done, told))
        return told

    def counts(self) -> Counts:
        """See :class:`fpan.bulk.workers.WorkerPool`. Of a worker that does not answer just now, what was last known."""
        asked = [actor.counts.remote() for actor in self._actors]
        for number, reference in enumerate(asked):
            try:
                self._seen[number] = ray.get(reference, timeout=_COUNT_TIMEOUT_S)
            except (GetTimeoutError, RayError):
                continue
        return sum(self._seen, Counts())

    def stop(self) -> None:
        """See :class:`fpan.bulk.workers.WorkerPool`."""
        for actor in self._actors:
            actor.stop.remote()

    def close(self) -> None:
        """Ends the workers with what they have started."""
        self.stop()
        with suppress(GetTimeoutError, RayError):  # what does not end in order is ended below, and its server with it
            ray.get([actor.close.remote() for actor in self._actors], timeout=_CLOSE_TIMEOUT_S)
        for actor in self._actors:
            ray.kill(actor)


def _hand_over(done: "Future[Report]", told: "Future[Report]") -> None:
    try:
        with _told():
            told.set_result(done.result())
    except BaseException as error:
        told.set_exception(error)


@contextmanager
def on_ray(cluster: Cluster, opening: Opening, effort: Effort, environment: Mapping[str, str]) -> Iterator[RayCrew]:
    """A crew on a cluster, for as long as the block runs.

    Args:
        cluster: which, and how many workers.
        opening: finds or starts each worker's gateways, on its node.
        effort: of each worker.
        environment: variables of the workers.

    Raises:
        WorkerLost: there is no such cluster.
    """
    try:
        ray.init(
            address=cluster.address,
            include_dashboard=False if cluster.address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise WorkerLost(f"there is no Ray cluster at {cluster.address!r}: {error}") from error
    try:
        with _told():
            crew = RayCrew([_start(node, cluster, opening, effort, environment) for node in _nodes(cluster)])
        try:
            yield crew
        finally:
            crew.close()
    finally:
        ray.shutdown()


def _nodes(cluster: Cluster) -> list[str]:
    """Ids of the nodes, one for each worker."""
    alive = [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= cluster.cpus
        and node["Resources"].get("GPU", 0) >= cluster.gpus
    ]
    if not alive:
        raise WorkerLost(f"no node of the cluster has {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs")
    count = cluster.workers or len(alive)
    return [alive[number % len(alive)] for number in range(count)]


def _start(node: str, cluster: Cluster, opening: Opening, effort: Effort, environment: Mapping[str, str]) -> Any:
    return (
        ray.remote(Worker)
        .options(
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
            max_concurrency=AT_ONCE + _BESIDE,
            max_restarts=LIVES,
            max_task_retries=LIVES,
            # Soft: should the node be lost, its worker goes on at another.
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True),
        )
        .remote(opening, effort, environment)
    )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, BulkError):
            raise type(cause)(str(cause)) from None
        raise
    except RayError as error:
        raise WorkerLost(f"a worker was lost: {error}") from error
