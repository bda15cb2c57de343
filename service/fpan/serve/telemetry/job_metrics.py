"""What Prometheus sees of jobs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ENDED = ("succeeded", "failed", "cancelled")
"""States of jobs that are final."""
HookOutcome = Literal["delivered", "failed", "given up"]
_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_OK = 200


@dataclass(frozen=True)
class QueueHealth:
    """How the Redis of the jobs is."""

    queued: int
    running: int
    keeps: bool
    """Whether it throws nothing away when memory is short."""
    durable: bool
    """Whether it writes down what happens as it happens (``appendonly``)."""


class JobCounts:
    """Counts jobs. Nothing is shown before jobs are switched on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._now = Gauge("fpan_jobs", "Jobs that have not ended, in Redis, by state.", ("state",), registry=registry)
        self._ended = Counter("fpan_jobs_ended", "Jobs that have ended here, by state.", ("state",), registry=registry)
        self._seconds = Histogram(
            "fpan_job_seconds",
            "Time from handing a job in to its end.",
            ("state",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "fpan_job_pictures", "Pictures of jobs that were parsed here: ok, problem.", ("outcome",), registry=registry
        )
        self._hooks = Counter(
            "fpan_job_webhooks",
            "Tries to tell of a job's end: delivered, failed, given up.",
            ("outcome",),
            registry=registry,
        )
        # Without labels they would be shown, as 0, from the beginning: begin() shows them.
        self._registry = registry
        self._reachable = _hidden("fpan_jobs_redis_reachable", "1 if the Redis of the jobs answers.")
        self._store = _hidden("fpan_jobs_store_reachable", "1 if what keeps the pictures of jobs answers (JOBS_STORE).")
        self._keeps = _hidden("fpan_jobs_redis_noeviction", "1 if that Redis throws no jobs away when memory is short.")
        self._durable = _hidden("fpan_jobs_redis_appendonly", "1 if that Redis writes down jobs as they come.")
        self._gateway = _hidden(
            "fpan_worker_gateway_usable", "1 if the gateway of WORKER_GATEWAY_URL does what this worker asks of it."
        )
        self._gateway.set(1)
        for outcome in ("delivered", "failed", "given up"):
            self._hooks.labels(outcome)

    def ended(self, state: str, seconds: float | None = None) -> None:
        """A job has ended, so long after it was handed in."""
        self._ended.labels(state).inc()
        if seconds is not None:
            self._seconds.labels(state).observe(seconds)

    def parsed(self, status: int) -> None:
        """A picture of a job is done."""
        self._pictures.labels("ok" if status == _OK else "problem").inc()

    def hook(self, outcome: HookOutcome) -> None:
        """A job's end was told, or not."""
        self._hooks.labels(outcome).inc()

    def gateway(self, *, usable: bool) -> None:
        """Whether the gateway by which pictures are parsed does so; a worker's alone."""
        self._gateway.set(usable)

    def store(self, *, reachable: bool) -> None:
        """Whether the pictures of jobs can be reached."""
        self._store.set(reachable)

    def health(self, health: QueueHealth | None) -> None:
        """How Redis is; None while it does not answer."""
        self._reachable.set(health is not None)
        if health is None:
            return
        self._now.labels("queued").set(health.queued)
        self._now.labels("running").set(health.running)
        self._keeps.set(health.keeps)
        self._durable.set(health.durable)

    def begin(self, states: Iterable[str] = ENDED) -> None:
        """Jobs are on. A counter that begins with 1 would be no increase to Prometheus."""
        for state in states:
            self._ended.labels(state)
        for gauge in (self._reachable, self._store, self._keeps, self._durable, self._gateway):
            self._registry.register(gauge)


def _hidden(name: str, what: str) -> Gauge:
    return Gauge(name, what, registry=None)
