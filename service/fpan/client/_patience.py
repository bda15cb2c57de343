"""Decides when to retry and how long a call may take, without any input or output."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from fpan.client.errors import ServerUnreachable, TryAgain

_FIRST_WAIT_S = 0.5
_JITTER = 0.25
"""Each wait is extended by a random share up to this one, so that refused clients do not all retry at once."""


@dataclass(frozen=True)
class Retry:
    """How often and how long a call is retried on status 429 or 503."""

    attempts: int = 4
    """Maximum number of attempts, including the first; 1 means no retries."""
    longest_wait_s: float = 30.0
    """Maximum wait in seconds. If the server requests a longer one, the call fails at once."""


class Patience:
    """Counts the attempts and the remaining time of one call."""

    def __init__(
        self, retry: Retry, deadline_ms: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._retry = retry
        self._clock = clock
        self._until = None if deadline_ms is None else clock() + deadline_ms / 1000
        self._attempt = 0

    def left_ms(self) -> int | None:
        """Remaining time of the call in milliseconds, at least 1; None without a deadline."""
        return None if self._until is None else max(1, round((self._until - self._clock()) * 1000))

    def wait_s(self, refusal: TryAgain | ServerUnreachable) -> float | None:
        """Seconds to wait before the next attempt; None if there is no next attempt."""
        self._attempt += 1
        if self._attempt >= self._retry.attempts:
            return None
        asked = refusal.retry_after_s if isinstance(refusal, TryAgain) else None
        own = min(_FIRST_WAIT_S * 2 ** (self._attempt - 1), self._retry.longest_wait_s)
        wait = own if asked is None else asked
        wait *= 1 + random.random() * _JITTER
        late = self._until is not None and self._clock() + wait >= self._until
        return None if late or wait > self._retry.longest_wait_s * (1 + _JITTER) else wait


def retry_after_s(response: httpx.Response) -> float | None:
    """The header ``Retry-After``, given as seconds or as a date (RFC 9110, 10.2.3), in seconds; None without one."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
