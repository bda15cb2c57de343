"""Connects to the Redis of the jobs, and translates its errors for callers."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError
from redis.exceptions import TimeoutError as TooSlow

from fpan.serve.api.errors import Unavailable

_CONNECT_S, _ANSWER_S = 2.0, 5.0
_TRIES, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2, 0.02, 0.2
_RETRY_AFTER_S = 5.0
FULL_RETRY_S = 30.0
"""``Retry-After`` in seconds for callers that are refused because there is no room."""


def connect(url: str) -> Redis:
    """A client of the Redis that keeps jobs; it connects when it is first used, and again when it must."""
    return Redis.from_url(
        url,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        retry=Retry(ExponentialBackoff(_LONGEST_PAUSE_S, _FIRST_PAUSE_S), _TRIES),
    )


@contextmanager
def translating_errors() -> Iterator[None]:
    """A block that sends commands to Redis.

    Raises:
        Unavailable: Redis does not answer, or takes no writes now.
    """
    try:
        yield
    except (Unreachable, TooSlow, MasterDownError, ReadOnlyError, TryAgainError, OSError) as error:
        raise Unavailable("the store of jobs does not answer", retry_after_s=_RETRY_AFTER_S) from error
    except OutOfMemoryError as error:
        raise Unavailable("the store of jobs is full", retry_after_s=_RETRY_AFTER_S) from error
