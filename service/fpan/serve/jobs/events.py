"""Notifies tasks in this process that a job has changed, in whichever process it changed."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis

from fpan.serve.api.errors import Unavailable
from fpan.serve.jobs.redis_errors import translating_errors
from fpan.serve.jobs.scripts import CHANGED

_LOOK_S = 1.0
"""Timeout of one read of the subscription, in seconds; it limits how long it takes to stop."""
_AGAIN_S = 0.5
"""Pause between two attempts to subscribe, in seconds."""
_log = logging.getLogger(__name__)


class JobEvents:
    """One subscription for all tasks that wait. Messages sent while Redis is away are lost, so tasks also poll."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._waiting: dict[str | None, set[asyncio.Event]] = {}

    @contextmanager
    def changes(self, job: str | None = None) -> Iterator[asyncio.Event]:
        """A block in which an event is set whenever a job (None: any job) may have changed."""
        changed = asyncio.Event()
        self._waiting.setdefault(job, set()).add(changed)
        try:
            yield changed
        finally:
            self._waiting[job].discard(changed)
            if not self._waiting[job]:
                del self._waiting[job]

    def wake(self) -> None:
        """Sets all events, so that every task checks its job."""
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def run(self) -> None:
        """Listens until it is cancelled."""
        while True:
            try:
                with translating_errors():
                    await self._listen()
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)
            except Exception:  # an error in our own code: waiting tasks still poll
                _log.exception("changes of jobs cannot be followed")
                await asyncio.sleep(_AGAIN_S)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANGED)
            self.wake()  # changes before the subscription began
            while True:
                message = await subscription.get_message(timeout=_LOOK_S)
                if message is not None:
                    job = message["data"].decode()
                    for event in (*self._waiting.get(job, ()), *self._waiting.get(None, ())):
                        event.set()


async def look_up(changed: asyncio.Event, within_s: float) -> bool:
    """Waits at most ``within_s`` seconds for an event and clears it. Returns whether it was set."""
    try:
        async with asyncio.timeout(within_s):  # before Python 3.12, wait_for forgets that it was cancelled
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True
