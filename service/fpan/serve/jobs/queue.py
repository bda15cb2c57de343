"""The jobs as Redis has them: who waits, who runs what, what has ended."""

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
"""Jobs that are looked at by one sweep."""


@dataclass(frozen=True)
class JobLimits:
    """How long things take, by the settings."""

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
    """Keyed hash of everything that was sent."""
    total: int
    webhook: str


@dataclass(frozen=True)
class Lease:
    """A job that is somebody's to run. Whoever has been away too long finds it is not."""

    id: str
    token: str


@dataclass(frozen=True)
class WebhookTask:
    """An end that is to be told."""

    job: str
    attempt: int
    """The how-manieth try this is."""
    host: str
    """With its port, where the address names one."""


Submitted = Literal["new", "same", "other", "full"]


class RedisJobQueue:
    """Jobs in Redis. Everything raises :class:`~fpan.serve.api.errors.Unavailable` while it is away."""

    def __init__(self, redis: Redis, terms: JobLimits, counts: JobCounts) -> None:
        """Takes what it needs.

        Args:
            redis: keeps the jobs.
            terms: how long things take.
            counts: are told of every job that is ended here, whatever ends it.
        """
        self._redis: Any = redis
        self._counts = counts
        self.terms = terms
        self._scripts: dict[str, Any] = {}

    async def submit(self, order: JobSpec) -> tuple[str, Submitted]:
        """Lets a job wait; its id, or that of the one that was handed in under the same key before."""
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
        """What is known of a job."""
        with translating_errors():
            return JobRecord.read(await self._redis.hgetall(scripts.RECORD + job))

    async def take(self) -> Lease | None:
        """The next job to run; None where none waits."""
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
        """Whether the job is still the lease's, which holds anew if so."""
        return bool(await self._run(scripts.RENEW, lease.id, lease.token))

    async def marks(self, job: str) -> set[int]:
        """Pictures of a job that are done."""
        with translating_errors():
            return {int(index) for index in await self._redis.hkeys(scripts.MARKS + job)}

    async def mark(self, lease: Lease, index: int, status: int) -> bool:
        """Notes that a picture is done; whether the job is still the lease's."""
        return bool(await self._run(scripts.MARK, lease.id, lease.token, index, status))

    async def finish(self, lease: Lease, state: State, problem: GatewayError | None = None) -> bool:
        """Ends a job; whether it was still the lease's."""
        words = "" if problem is None else _problem(problem, lease.id)
        return self._ended(state, await self._run(scripts.FINISH, lease.id, lease.token, state, words))

    async def hand_back(self, lease: Lease) -> None:
        """Lets another worker go on with a job."""
        await self._run(scripts.HAND_BACK, lease.id, lease.token, round(self.terms.lease_s * _MS))

    async def cancel(self, job: str) -> bool:
        """Ends a job that waits or runs; whether it did."""
        return self._ended("cancelled", await self._run(scripts.CANCEL, job))

    async def remove(self, job: str) -> None:
        """Forgets a job that has ended."""
        await self._run(scripts.REMOVE, job)

    async def overdue(self) -> list[tuple[str, bool]]:
        """Ends jobs that have waited too long; ids of those of which nothing may be left in the store.

        Returns:
            With each whether it had ended before. A worker may still be writing of one that had not.
        """
        late = DeadlineExceeded(f"the job had not ended within {self.terms.input_ttl_s:g} s")
        found: list[tuple[bytes, int]] = await self._run(scripts.OVERDUE, _problem(late, ""), _SWEEP_MOST)
        return [(job.decode(), not self._ended("failed", ms)) for job, ms in found]

    async def settled(self, job: str) -> None:
        """Nothing is left of a job in the store."""
        with translating_errors():
            await self._redis.zrem(scripts.DUE, job)

    async def known(self, job: str) -> bool:
        """Whether there is a record of a job."""
        with translating_errors():
            return bool(await self._redis.exists(scripts.RECORD + job))

    async def may_sweep(self, for_s: float) -> bool:
        """Whether this process is the one that sweeps now; nobody else is for so many seconds."""
        with translating_errors():
            return bool(await self._redis.set(scripts.SWEPT, b"", nx=True, px=round(for_s * _MS)))

    async def next_hook(self, for_s: float, busy: Iterable[str] = ()) -> WebhookTask | None:
        """A job whose end is to be told, to a host that is none of ``busy``; nobody else tries for so many seconds."""
        found = await self._run(scripts.NEXT_HOOK, round(for_s * _MS), *busy)
        return None if found is None else WebhookTask(found[0].decode(), int(found[1]), found[2].decode())

    async def later_hook(self, job: str, after_s: float) -> None:
        """Lets it be tried again after so many seconds."""
        await self._run(scripts.LATER_HOOK, job, round(after_s * _MS))

    async def hook_done(self, job: str) -> None:
        """Nobody need be told any more."""
        with translating_errors():
            await self._redis.zrem(scripts.HOOKS, job)

    async def health(self) -> QueueHealth:
        """How many jobs there are, and whether Redis is set up to keep them."""
        with translating_errors():
            waiting = int(await self._redis.xlen(scripts.QUEUE))
            groups = await self._redis.xinfo_groups(scripts.QUEUE) if waiting else []
            info = {**await self._redis.info("memory"), **await self._redis.info("persistence")}
        running = sum(int(group["pending"]) for group in groups)
        keeps = info.get("maxmemory_policy") == "noeviction" or not int(info.get("maxmemory", 0))
        return QueueHealth(max(0, waiting - running), running, keeps, bool(int(info.get("aof_enabled", 0))))

    def _ended(self, state: State, ms: int) -> bool:
        """Counts a job that a script has just ended, so many milliseconds old; whether it has."""
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
    """128 bits that nobody can guess."""
    return secrets.token_hex(_ID_BYTES)


def _problem(error: GatewayError, identity: str) -> str:
    return json.dumps(problem_of(error, identity))
