"""Runs jobs: takes one, parses its pictures as background work, stores each answer and marks its progress.

If a worker is killed, another takes its job when the lease expires, and continues where it stopped: every answer is in
the store before its picture is marked as done.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

from fpan.serve.api.batch import Parse, Upload, entry
from fpan.serve.api.errors import GatewayError, Overloaded, Unavailable
from fpan.serve.jobs.encrypted_store import EncryptedStore, JobStore, Missing, Unreadable
from fpan.serve.jobs.events import JobEvents, look_up
from fpan.serve.jobs.queue import Lease, RedisJobQueue
from fpan.serve.jobs.record import State
from fpan.serve.jobs.tasks import ended
from fpan.serve.telemetry.job_metrics import JobCounts

T = TypeVar("T")
_IDLE_LOOK_S = 1.0
"""How often a worker without a job looks for one, when nobody has told it of one."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
"""Between tries while Redis, the store or the gateway is away, or over capacity."""
_HAND_BACK_S = 3.0
"""How long handing back may take; without it the job waits for its lease to end."""
_LAST_LOOK_S = 0.5
"""How long a worker without a job may take to stop, in seconds."""
_RENEWALS = 3
"""Renewals during the time of one lease."""
_log = logging.getLogger(__name__)


class ParseFor(Protocol):
    """What parses the pictures of a job."""

    def __call__(self, job: str) -> Parse:
        """For one job, whose pictures take one turn together."""
        ...


class _Lost(Exception):
    """The job is another worker's, or has ended."""


class JobWorker:
    """Runs one job after another."""

    def __init__(
        self,
        job_queue: RedisJobQueue,
        store: EncryptedStore,
        job_events: JobEvents,
        parse: ParseFor,
        at_once: int,
        picture_timeout_s: float,
        counts: JobCounts,
    ) -> None:
        """Makes one of its parts.

        Args:
            job_queue: knows the jobs.
            store: has their pictures.
            job_events: tells when one has changed.
            parse: parses a picture; asked again when it is :class:`Unavailable` or :class:`Overloaded`.
            at_once: pictures of a job under way at the same time.
            picture_timeout_s: how long a picture may take whose options name no deadline, in seconds.
            counts: are told of pictures that are done.
        """
        self._job_queue = job_queue
        self._store = store
        self._job_events = job_events
        self._parse = parse
        self._at_once = at_once
        self._timeout_ms = round(picture_timeout_s * 1000)
        self._counts = counts
        self._leaving = asyncio.Event()
        self._holds = False

    async def run(self) -> None:
        """Runs jobs until :meth:`stop`."""
        while not self._leaving.is_set():
            try:
                with self._job_events.changes() as changed:
                    lease = await persistently(self._job_queue.take)
                    if lease is None:
                        await look_up(changed, _IDLE_LOOK_S)
                        continue
                await self._hold(lease)
            except Exception:  # a fault of ours: the lease ends, and the job is tried again a few times
                _log.exception("a job could not be run")
                await asyncio.sleep(_FIRST_PAUSE_S)

    def stop(self) -> None:
        """Takes no more jobs, and hands back the one that runs."""
        self._leaving.set()

    async def stopped(self, running: asyncio.Task[None]) -> None:
        """Waits until it has.

        Args:
            running: the task of :meth:`run`; it has ended then.
        """
        await asyncio.wait((running,), timeout=_HAND_BACK_S if self._holds else _LAST_LOOK_S)
        await ended(running)

    async def _hold(self, lease: Lease) -> None:
        """Runs a job as long as it is the lease's, and this does not leave."""
        self._holds = True
        work = asyncio.create_task(self._finish(lease), name=f"job {lease.id}")
        hold = asyncio.create_task(self._until_lost(lease))
        leave = asyncio.create_task(self._left())
        try:
            await asyncio.wait((work, hold, leave), return_when=asyncio.FIRST_COMPLETED)
            done, lost = work.done(), hold.done()
        finally:
            await ended(work, hold, leave)
            self._holds = False
        was_lost = _lost(work)
        if done and not was_lost:
            work.result()
        elif done or lost:
            await self._clean(lease)
        else:
            await self._hand_back(lease)

    async def _left(self) -> None:
        await self._leaving.wait()

    async def _finish(self, lease: Lease) -> None:
        """Parses what is left of a job and ends it.

        Raises:
            _Lost: it is not the lease's any more.
        """
        store = self._store.of(lease.id)
        failure: GatewayError | None = None
        try:
            await self._work(lease, store)
        except (Missing, Unreadable) as error:
            await self._still(
                persistently(lambda: self._job_queue.renew(lease))
            )  # of one that was cancelled all is gone
            _log.error("job %s cannot be read: %s", lease.id, error)
            failure = GatewayError("the job's pictures cannot be read any more: hand it in again")
        await self._still(persistently(lambda: self._job_queue.renew(lease)))
        await persistently(store.forget if failure else store.forget_input)
        state: State = "failed" if failure else "succeeded"
        await persistently(lambda: self._job_queue.finish(lease, state, failure))

    async def _work(self, lease: Lease, store: JobStore) -> None:
        record = await persistently(lambda: self._job_queue.record(lease.id))
        if record is None:
            raise _Lost
        done = await persistently(lambda: self._job_queue.marks(lease.id))
        left = [index for index in range(record.total) if index not in done]
        if not left:  # what a worker that ended just before has seen to, options and all
            return
        options = await persistently(store.options)
        parse = self._parse(lease.id)

        async def patient(picture: Upload, identity: str) -> bytes:
            return await persistently(lambda: parse(picture, identity))

        async def do(index: int) -> None:
            picture = await persistently(lambda: store.picture(index))
            chosen = {"deadline_ms": self._timeout_ms, **options, **picture.options}
            made = await entry(patient, index, Upload(picture.data, chosen), lease.id)
            await persistently(lambda: store.put_entry(index, made))
            status = status_of(made)
            await self._still(persistently(lambda: self._job_queue.mark(lease, index, status)))
            await persistently(lambda: store.forget_picture(index))
            self._counts.parsed(status)

        await _each(do, left, self._at_once)

    async def _still(self, owned: Awaitable[bool]) -> None:
        if not await owned:
            raise _Lost

    async def _until_lost(self, lease: Lease) -> None:
        """Returns when the job is another's, or cancelled. While Redis is away nobody else can take it either."""
        with self._job_events.changes(lease.id) as changed:
            while await persistently(lambda: self._job_queue.renew(lease)):
                await look_up(changed, self._job_queue.terms.lease_s / _RENEWALS)

    async def _hand_back(self, lease: Lease) -> None:
        try:
            await self._job_queue.hand_back(lease)
        except GatewayError:
            _log.warning("job %s could not be handed back: it waits for its lease to end", lease.id)

    async def _clean(self, lease: Lease) -> None:
        """Deletes what this worker may have written after the job was cancelled."""
        record = await persistently(lambda: self._job_queue.record(lease.id))
        if record is None or record.state in ("cancelled", "failed"):
            await persistently(self._store.of(lease.id).forget)


async def persistently(ask: Callable[[], Awaitable[T]]) -> T:
    """Calls ``ask`` until it raises neither Unavailable nor Overloaded, and returns its result."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await ask()
        except (Unavailable, Overloaded):
            await asyncio.sleep(pause_s * random.uniform(0.75, 1))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def status_of(made: bytes) -> int:
    """The status that an entry tells; see :func:`fpan.serve.api.batch.entry`."""
    return int(made[made.index(b'"status":') + len(b'"status":') :].partition(b",")[0])


async def _each(do: Callable[[int], Awaitable[None]], indices: Iterable[int], at_once: int) -> None:
    """Does all of these, so many at the same time; the first failure ends the others, and is raised."""
    left = iter(indices)

    async def take() -> None:
        for index in left:
            await do(index)

    # Not a TaskGroup: that cancels once, see ended().
    tasks = [asyncio.create_task(take()) for _ in range(at_once)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await ended(*tasks)


def _lost(work: asyncio.Task[None]) -> bool:
    """Whether the task ended with ``_Lost``. Reads the exception of every task, or asyncio would log it."""
    return not work.cancelled() and isinstance(work.exception(), _Lost)
