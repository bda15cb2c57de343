"""The job queue in Redis: jobs that wait, run or have ended."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis.asyncio import Redis

from fpan.serve.api.errors import DeadlineExceeded, GatewayError
from fpan.serve.api.problem import problem_of
from fpan.serve.jobs import scripts
from fpan.serve.jobs.record import JobRecord, State
from fpan.serve.jobs.redis_errors import translating_errors
from fpan.serve.telemetry.job_metrics import JobCounts, QueueHealth

_MS = 1000
_ID_BYTES = 16
_SWEEP_MOST = 100
"""Largest number of jobs that one sweep handles."""


@dataclass(frozen=True)
class JobLimits:
    """Limits of jobs, from the settings: times in seconds, attempts per job, and jobs that may wait."""

    lease_s: float
    attempts: int
    most_waiting: int
    input_ttl_s: float
    result_ttl_s: float
    record_ttl_s: float


@dataclass(frozen=True)
class JobSpec:
    """A new job."""

    id: str
    owner: str
    key: str
    """Keyed hash of caller and ``Idempotency-Key``; empty without one."""
    digest: str
    """Keyed hash of the whole submission."""
    total: int
    webhook: str


@dataclass(frozen=True)
class Lease:
    """A worker's right to run a job. It is lost when the worker does not renew it in time."""

    id: str
    token: str


@dataclass(frozen=True)
class WebhookTask:
    """A webhook call that is due for a job that has ended."""

    job: str
    attempt: int
    """Number of this attempt, from 1."""
    host: str
    """Host of the webhook, with its port if the URL has one."""


Submitted = Literal["new", "same", "other", "full"]


class RedisJobQueue:
    """Jobs in Redis. All methods raise :class:`~fpan.serve.api.errors.Unavailable` while Redis is away."""

    def __init__(self, redis: Redis, terms: JobLimits, counts: JobCounts) -> None:
        """Makes one of its parts.

        Args:
            redis: stores the jobs.
            terms: time limits and maximum numbers.
            counts: counts every job that ends through this queue, for whatever reason.
        """
        self._redis: Any = redis
        self._counts = counts
        self.terms = terms
        self._scripts: dict[str, Any] = {}

    async def submit(self, order: JobSpec) -> tuple[str, Submitted]:
        """Adds a job to the queue. Returns its id, or the id of the earlier job with the same idempotency key, and
        which of the two it is.
        """
        terms = self.terms
        fields = {
            "owner": order.owner,
            "total": order.total,
            "webhook": order.webhook,
            "result_ttl_ms": round(terms.result_ttl_s * _MS),
            "record_ttl_ms": round(terms.record_ttl_s * _MS),
        }
        flat = [word for pair in fields.items() for word in pair]
        key = scripts.KEY + order.key if order.key else ""
        found, how = await self._run(
            scripts.SUBMIT, order.id, key, order.digest, terms.most_waiting, round(terms.input_ttl_s * _MS), *flat
        )
        return found.decode(), cast(Submitted, how.decode())

    async def record(self, job: str) -> JobRecord | None:
        """Returns the record of a job; None if there is none."""
        with translating_errors():
            return JobRecord.read(await self._redis.hgetall(scripts.RECORD + job))

    async def take(self) -> Lease | None:
        """Takes the next job and returns its lease; None if no job waits."""
        token = new_id()
        worn = _problem(
            GatewayError(f"{self.terms.attempts} workers began this job and none of them came to its end"), ""
        )
        found, *ended_ms = await self._run(
            scripts.TAKE, token, round(self.terms.lease_s * _MS), self.terms.attempts, worn
        )
        for ms in ended_ms:
            self._counts.ended("failed", int(ms) / _MS)
        return Lease(found.decode(), token) if found else None

    async def renew(self, lease: Lease) -> bool:
        """Renews a lease. Returns False if the job no longer belongs to it."""
        return bool(await self._run(scripts.RENEW, lease.id, lease.token))

    async def marks(self, job: str) -> set[int]:
        """Returns the indices of the pictures of a job that are done."""
        with translating_errors():
            return {int(index) for index in await self._redis.hkeys(scripts.MARKS + job)}

    async def mark(self, lease: Lease, index: int, status: int) -> bool:
        """Marks a picture as done. Returns False if the job no longer belongs to the lease."""
        return bool(await self._run(scripts.MARK, lease.id, lease.token, index, status))

    async def finish(self, lease: Lease, state: State, problem: GatewayError | None = None) -> bool:
        """Ends a job. Returns False if it no longer belongs to the lease."""
        words = "" if problem is None else _problem(problem, lease.id)
        return self._ended(state, await self._run(scripts.FINISH, lease.id, lease.token, state, words))

    async def hand_back(self, lease: Lease) -> None:
        """Returns a job to the queue, so that another worker can continue it."""
        await self._run(scripts.HAND_BACK, lease.id, lease.token, round(self.terms.lease_s * _MS))

    async def cancel(self, job: str) -> bool:
        """Cancels a job that waits or runs. Returns False if there was nothing to cancel."""
        return self._ended("cancelled", await self._run(scripts.CANCEL, job))

    async def remove(self, job: str) -> None:
        """Deletes the record of a job that has ended."""
        await self._run(scripts.REMOVE, job)

    async def overdue(self) -> list[tuple[str, bool]]:
        """Ends jobs that are overdue, and finds those whose data must be deleted from the store.

        Returns:
            For each job its id and whether it had ended before. If it had not, a worker may still write its data.
        """
        late = DeadlineExceeded(f"the job had not ended within {self.terms.input_ttl_s:g} s")
        found: list[tuple[bytes, int]] = await self._run(scripts.OVERDUE, _problem(late, ""), _SWEEP_MOST)
        return [(job.decode(), not self._ended("failed", ms)) for job, ms in found]

    async def settled(self, job: str) -> None:
        """Records that the store holds nothing of a job any more."""
        with translating_errors():
            await self._redis.zrem(scripts.DUE, job)

    async def known(self, job: str) -> bool:
        """Returns whether a job has a record."""
        with translating_errors():
            return bool(await self._redis.exists(scripts.RECORD + job))

    async def may_sweep(self, for_s: float) -> bool:
        """Returns whether this process may sweep now; if so, no other process may for ``for_s`` seconds."""
        with translating_errors():
            return bool(await self._redis.set(scripts.SWEPT, b"", nx=True, px=round(for_s * _MS)))

    async def next_hook(self, for_s: float, busy: Iterable[str] = ()) -> WebhookTask | None:
        """Returns the next webhook call whose host is not in ``busy``, and hides it for ``for_s`` seconds."""
        found = await self._run(scripts.NEXT_HOOK, round(for_s * _MS), *busy)
        return None if found is None else WebhookTask(found[0].decode(), int(found[1]), found[2].decode())

    async def later_hook(self, job: str, after_s: float) -> None:
        """Schedules the next attempt of a webhook call in ``after_s`` seconds."""
        await self._run(scripts.LATER_HOOK, job, round(after_s * _MS))

    async def hook_done(self, job: str) -> None:
        """Removes the webhook call of a job: it was delivered, given up, or is not needed."""
        with translating_errors():
            await self._redis.zrem(scripts.HOOKS, job)

    async def health(self) -> QueueHealth:
        """Returns the numbers of waiting and running jobs, and whether the configuration of Redis keeps them safe."""
        with translating_errors():
            waiting = int(await self._redis.xlen(scripts.QUEUE))
            groups = await self._redis.xinfo_groups(scripts.QUEUE) if waiting else []
            info = {**await self._redis.info("memory"), **await self._redis.info("persistence")}
        running = sum(int(group["pending"]) for group in groups)
        keeps = info.get("maxmemory_policy") == "noeviction" or not int(info.get("maxmemory", 0))
        return QueueHealth(max(0, waiting - running), running, keeps, bool(int(info.get("aof_enabled", 0))))

    def _ended(self, state: State, ms: int) -> bool:
        """Counts a job that a script has ended ``ms`` milliseconds after its submission. Returns False if ``ms`` is
        negative: the script has not ended the job.
        """
        if ms < 0:
            return False
        self._counts.ended(state, ms / _MS)
        return True

    async def _run(self, script: str, *words: object) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        with translating_errors():
            return await self._scripts[script](keys=[scripts.QUEUE], args=words)


def new_id() -> str:
    """Returns a random id of 128 bits, in hexadecimal."""
    return secrets.token_hex(_ID_BYTES)


def _problem(error: GatewayError, identity: str) -> str:
    return json.dumps(problem_of(error, identity))
