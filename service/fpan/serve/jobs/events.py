"""Tells whoever waits in this process that a job has changed, wherever that was."""

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
"""How often waiting looks up from the subscription, in seconds; it bounds how long ending one takes."""
_AGAIN_S = 0.5
"""Between two tries to subscribe."""
_log = logging.getLogger(__name__)


class JobEvents:
    """One subscription for all who wait here. What is told while Redis is away is lost: all look now and then."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._waiting: dict[str | None, set[asyncio.Event]] = {}

    @contextmanager
    def changes(self, job: str | None = None) -> Iterator[asyncio.Event]:
        """A block within which an event is set whenever a job, or any of them, may have changed."""
        changed = asyncio.Event()
        self._waiting.setdefault(job, set()).add(changed)
        try:
            yield changed
        finally:
            self._waiting[job].discard(changed)
            if not self._waiting[job]:
                del self._waiting[job]

    def wake(self) -> None:
        """Lets everybody look."""
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
            except Exception:  # a fault of ours: those who wait still look now and then
                _log.exception("changes of jobs cannot be followed")
                await asyncio.sleep(_AGAIN_S)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANGED)
            self.wake()  # what was told before this
            while True:
                message = await subscription.get_message(timeout=_LOOK_S)
                if message is not None:
                    job = message["data"].decode()
                    for event in (*self._waiting.get(job, ()), *self._waiting.get(None, ())):
                        event.set()


async def look_up(changed: asyncio.Event, within_s: float) -> bool:
    """Waits until an event is set, at most so many seconds, and clears it; whether it was."""
    try:
        async with asyncio.timeout(within_s):  # before Python 3.12, wait_for forgets that it was cancelled
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True
