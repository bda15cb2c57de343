"""Quotas of callers: a sliding window in Redis, or in this process without Redis."""

import hmac
import math
import time
from typing import Any, Final, Literal

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from fpan.serve.api.allowance import WINDOW_S, Allowance
from fpan.serve.api.errors import RateLimited
from fpan.serve.cache.circuit_breaker import GuardedRedis, RedisAway
from fpan.serve.cache.secret import Secret
from fpan.serve.telemetry.metrics import Metrics

Counted = Literal["redis", "local"]
"""Where a caller's requests are counted."""
PREFIX: Final = "fpan:rate"
"""Prefix of every Redis key of quotas."""
_POOLED: Final = "async+redis://"
"""The address that the library requires if it gets a connection pool."""


class RateLimiter:
    """Counts the requests of each caller within the last minute.

    Gateways with the same Redis and the same secret share their counts. While Redis is unreachable, each gateway counts
    for itself, starting at 0; these counts are not added to those in Redis later.
    """

    def __init__(self, redis: GuardedRedis | None, secret: Secret, metrics: Metrics) -> None:
        """Makes a rate limiter.

        Args:
            redis: where all gateways count; None counts in this process.
            secret: key of the hash that hides callers' identities in Redis.
            metrics: count the refused requests.
        """
        self._redis = redis
        self._key = secret.derived("callers")
        self._metrics = metrics
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._there: SlidingWindowCounterRateLimiter | None = None
        if redis is not None:
            options: dict[str, Any] = {"connection_pool": redis.client.connection_pool}  # typed too narrowly there
            storage = RedisStorage(_POOLED, implementation="redispy", key_prefix=PREFIX, **options)
            self._there = SlidingWindowCounterRateLimiter(storage)

    async def take(self, identity: str, per_minute: int, cost: int = 1) -> Allowance | None:
        """Counts a request of a caller. A refused request is not counted.

        Args:
            identity: account of the caller. It leaves this process only as a keyed hash.
            per_minute: the caller's quota; 0 means no limit.
            cost: number of requests that this one counts as, at most ``per_minute``.

        Returns:
            What is left of the quota; None without a quota.

        Raises:
            RateLimited: the quota is used up; :attr:`RateLimited.allowance` says when more requests are available.
        """
        if not per_minute:
            return None
        caller = hmac.digest(self._key, identity.encode(), "sha256").hex()
        quota = RateLimitItemPerMinute(per_minute)
        taken, allowance, counted = await self._taken(quota, caller, cost)
        if not taken:
            self._metrics.rate_limited.labels(counted).inc()
            raise RateLimited(
                f"the quota of {per_minute} requests a minute is used up; more in {math.ceil(allowance.reset_s)} s",
                allowance,
            )
        return allowance

    async def _taken(self, quota: RateLimitItemPerMinute, caller: str, cost: int) -> tuple[bool, Allowance, Counted]:
        if self._redis is not None and (there := self._there) is not None:
            try:
                return *await self._redis.ask(lambda: _hit(there, quota, caller, cost), writes=True), "redis"
            except RedisAway:
                pass
        return *await _hit(self._here, quota, caller, cost), "local"


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, quota: RateLimitItemPerMinute, caller: str, cost: int
) -> tuple[bool, Allowance]:
    taken = await limiter.hit(quota, caller, cost=cost)
    stats = await limiter.get_window_stats(quota, caller)
    reset_s = max(0.0, stats.reset_time - time.time())
    if taken and stats.remaining == quota.amount - cost:
        reset_s = float(WINDOW_S)  # first request of a window: the library says that the window ends now
    return taken, Allowance(quota.amount, stats.remaining, reset_s)
