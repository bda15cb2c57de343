"""Deletes expired jobs and checks the Redis of the jobs."""

import asyncio
import logging
from contextlib import suppress

from fpan.serve.api.errors import Unavailable
from fpan.serve.jobs.encrypted_store import EncryptedStore
from fpan.serve.jobs.queue import RedisJobQueue
from fpan.serve.telemetry.job_metrics import JobCounts, QueueHealth

_STALE_S = 3600.0
"""Age in seconds at which data without a job record is deleted; younger data may belong to a running submission."""
_NOBODY = "0" * 32
"""Id of a job that does not exist; its pictures are listed to check whether the store answers."""
_log = logging.getLogger(__name__)


class Reaper:
    """Checks and cleans up at regular intervals."""

    def __init__(self, job_queue: RedisJobQueue, store: EncryptedStore, every_s: float, counts: JobCounts) -> None:
        """Makes one of its parts.

        Args:
            job_queue: finds the jobs that are overdue.
            store: holds the data to delete.
            every_s: interval in seconds.
            counts: counts the state of Redis and of the store.
        """
        self._job_queue = job_queue
        self._store = store
        self._every_s = every_s
        self._counts = counts
        self._reachable = True
        self._store_reachable = True
        self._warned: set[str] = set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            try:
                self._look_after(await self._job_queue.health())
                await self._look_at_store()
                if await self._job_queue.may_sweep(self._every_s):
                    with suppress(Unavailable):  # the next round finds out whether Redis or the store is away
                        await self.sweep()
            except Unavailable:
                self._counts.health(None)
                if self._reachable:
                    _log.warning("the Redis of jobs does not answer: they can neither be handed in nor run")
                self._reachable = False
            except Exception:  # an error in our own code must not end the loop
                _log.exception("jobs cannot be looked after")
            await asyncio.sleep(self._every_s)

    async def sweep(self) -> None:
        """Ends overdue jobs, and deletes input and result of expired ones."""
        for job, had_ended in await self._job_queue.overdue():
            await self._store.of(job).forget()
            if had_ended:  # otherwise a worker may still write: the job becomes due once more
                await self._job_queue.settled(job)
        for job in await self._store.blobs.stale(_STALE_S):
            if not await self._job_queue.known(job):
                await self._store.of(job).forget()

    async def _look_at_store(self) -> None:
        """Checks whether the store of pictures answers; it need not be Redis."""
        try:
            await self._store.blobs.names(_NOBODY)
        except Unavailable as error:
            if self._store_reachable:
                _log.warning("%s (JOBS_STORE): jobs can neither be handed in nor run", error)
            self._store_reachable = False
        else:
            if not self._store_reachable:
                _log.info("the pictures of jobs can be reached again")
            self._store_reachable = True
        self._counts.store(reachable=self._store_reachable)

    def _look_after(self, health: QueueHealth) -> None:
        self._counts.health(health)
        if not self._reachable:
            _log.info("the Redis of jobs answers again")
        self._reachable = True
        wrong = {
            "it may throw jobs away when memory is short: set maxmemory-policy noeviction": not health.keeps,
            "it may forget jobs when it is restarted: set appendonly yes": not health.durable,
        }
        for what, is_so in wrong.items():
            if is_so and what not in self._warned:
                _log.warning("the Redis of REDIS_JOBS_URL is not set up for jobs, %s", what)
        self._warned = {what for what, is_so in wrong.items() if is_so}
