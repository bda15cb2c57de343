"""A Redis that requests can do without: asked for a short time only, and not at all while it does not answer."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from fpan.serve.telemetry.metrics import RedisCounts

T = TypeVar("T")
Role = Literal["cache"]
"""What a Redis is for."""
_CONNECTIONS = 32
"""Questions that are under way at once; more wait for a connection, within their own short time."""
_PROBE = "fpan:probe"
_LONGEST_PAUSE = 32
"""Times ``retry_s`` that passes at most before the next try, where one that answers tries fails questions."""
_log = logging.getLogger(__name__)


class RedisAway(Exception):
    """The Redis did not do what was asked of it, or is not asked at present. Whoever asks goes on without it."""


class GuardedRedis:
    """One Redis behind a circuit breaker.

    The first question that fails is the last: from then on :meth:`ask` fails at once, while a task of its own tries
    every ``retry_s`` whether the Redis answers again, and less often if it then fails once more. So requests wait for a
    dead or paused one only once, and none of them is what finds out. One that answers but takes no writes (it is full,
    or a replica) goes on being read.
    """

    def __init__(self, role: Role, client: "Redis", timeout_s: float, retry_s: float, counts: RedisCounts) -> None:
        """Takes what it needs; see :func:`open_redis`.

        Args:
            role: what it is for, in the log and in metrics.
            client: who asks, without a patience of its own.
            timeout_s: how long a question may take, in seconds.
            retry_s: how often is tried whether it answers again, in seconds.
            counts: are told whether it answers.
        """
        self.role = role
        self.client = client
        self.up = True
        """Whether it answers."""
        self.writable = True
        """Whether it takes what is written to it."""
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._counts = counts
        self._recovering: asyncio.Task[None] | None = None
        self._pause_s = retry_s
        self._recovered_at = -math.inf

    async def ask(self, question: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        """What a question answers that is put through :attr:`client`.

        Args:
            question: a command, or several that together may take as long as one.
            writes: whether it needs room.

        Raises:
            RedisAway: it was not asked, did not answer in time, or refused.
        """
        if not self.up or (writes and not self.writable):
            raise RedisAway(f"the {self.role} Redis is not asked at present")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await question()
        except (TimeoutError, RedisError, OSError) as error:
            self._failed(error, writes)
            raise RedisAway(f"the {self.role} Redis did not answer") from error

    async def begin(self) -> None:
        """Tells at the start whether it answers; the gateway starts either way."""
        self._counts.told(self.role, self.up, self.writable)
        with contextlib.suppress(RedisAway):
            await self.ask(self.client.ping)
            _log.info("the %s Redis answers", self.role)

    async def close(self) -> None:
        """Ends the connections."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        await self.client.aclose()

    def _failed(self, error: Exception, writes: bool) -> None:
        words = str(error) or type(error).__name__
        if writes and isinstance(error, ResponseError):
            if self.writable:
                self.writable = False
                _log.warning("the %s Redis takes nothing new (%s): requests go on, nothing is kept", self.role, words)
        elif self.up:
            self.up = False
            _log.warning("the %s Redis does not answer (%s): requests go on without it", self.role, words)
        self._counts.told(self.role, self.up, self.writable)
        if self._recovering is None or self._recovering.done():
            # One that fails again as soon as it is asked is asked less and less often, or the log would fill.
            again = time.monotonic() - self._recovered_at < self._pause_s
            longest_s = self._retry_s * _LONGEST_PAUSE
            self._pause_s = min(self._pause_s * 2, longest_s) if again else self._retry_s
            self._recovering = asyncio.create_task(self._recover(), name=f"awaits the {self.role} Redis")

    async def _recover(self) -> None:
        while not (self.up and self.writable):
            await asyncio.sleep(self._pause_s)
            with contextlib.suppress(TimeoutError, RedisError, OSError):
                async with asyncio.timeout(self._timeout_s):
                    await self.client.ping()
                    if not self.up:
                        self.up = True
                        _log.info("the %s Redis answers again", self.role)
                    if not self.writable:
                        await self.client.set(_PROBE, b"", px=1)
                        self.writable = True
                        _log.info("the %s Redis takes writes again", self.role)
            self._counts.told(self.role, self.up, self.writable)
        self._recovered_at = time.monotonic()


@asynccontextmanager
async def open_redis(
    role: Role, url: str, timeout_s: float, retry_s: float, counts: RedisCounts
) -> AsyncIterator[GuardedRedis]:
    """A Redis by its address (``redis://``, ``rediss://`` or ``unix://``), whether it answers or not."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # Once more, for a connection that the server has closed since it was last used. Not after a timeout.
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    guarded = GuardedRedis(role, Redis.from_pool(pool), timeout_s, retry_s, counts)
    try:
        await guarded.begin()
        yield guarded
    finally:
        await guarded.close()
