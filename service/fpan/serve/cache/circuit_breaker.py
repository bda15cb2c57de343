"""A Redis that is optional for requests: commands have a short timeout, and none is sent while it does not answer."""

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
"""Purpose of a Redis."""
_CONNECTIONS = 32
"""Largest number of connections; further commands wait for one, within their own timeout."""
_PROBE = "fpan:probe"
_LONGEST_PAUSE = 32
"""Longest pause before the next probe, in multiples of ``retry_s``, for a Redis that answers probes but fails commands.
"""
_log = logging.getLogger(__name__)


class RedisAway(Exception):
    """The command failed, or was not sent because the circuit is open. The caller goes on without Redis."""


class GuardedRedis:
    """One Redis behind a circuit breaker.

    The first failure opens the circuit: from then on :meth:`ask` fails at once, while a separate task probes the Redis
    every ``retry_s``, and less often if it fails again soon after it has recovered. So requests wait for a dead or
    paused Redis only once, and no request has to probe it. A Redis that answers but takes no writes (it is full, or a
    replica) is still read.
    """

    def __init__(self, role: Role, client: "Redis", timeout_s: float, retry_s: float, counts: RedisCounts) -> None:
        """Makes one; see :func:`open_redis`.

        Args:
            role: purpose of the Redis, in the log and in metrics.
            client: sends the commands.
            timeout_s: timeout of a command, in seconds.
            retry_s: interval between probes, in seconds.
            counts: counts whether the Redis answers.
        """
        self.role = role
        self.client = client
        self.up = True
        """Whether the Redis answers."""
        self.writable = True
        """Whether the Redis takes writes."""
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._counts = counts
        self._recovering: asyncio.Task[None] | None = None
        self._pause_s = retry_s
        self._recovered_at = -math.inf

    async def ask(self, question: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        """Runs commands of :attr:`client` and returns their result.

        Args:
            question: sends one command, or several that share one timeout.
            writes: whether the commands write.

        Raises:
            RedisAway: the circuit is open, or the Redis did not answer in time or returned an error.
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
        """Sends a first ping and logs whether the Redis answers; the gateway starts either way."""
        self._counts.told(self.role, self.up, self.writable)
        with contextlib.suppress(RedisAway):
            await self.ask(self.client.ping)
            _log.info("the %s Redis answers", self.role)

    async def close(self) -> None:
        """Stops the probes and closes the connections."""
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
            # The pause doubles while the Redis fails again soon after each recovery, or the log would fill.
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
    """Opens the Redis at a URL (``redis://``, ``rediss://`` or ``unix://``), whether it answers or not."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # One retry, for a connection that the server has closed since its last use. No retry after a timeout.
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    guarded = GuardedRedis(role, Redis.from_pool(pool), timeout_s, retry_s, counts)
    try:
        await guarded.begin()
        yield guarded
    finally:
        await guarded.close()
