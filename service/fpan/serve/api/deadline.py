"""The deadline of a request: one object, made by the transport and read by every stage."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from fpan.serve.api.errors import DeadlineExceeded, Unavailable


class Deadline:
    """A point in time, whether a caller still waits, and whether inference began before that time.

    Worker threads may call :meth:`check`; every other method must be called on the event loop.
    """

    def __init__(self, expires_at: float, allowed_ms: float) -> None:
        """Makes a deadline.

        Args:
            expires_at: in seconds of ``time.monotonic()``, the clock that asyncio uses too; infinity for never.
            allowed_ms: time that the request may take, in milliseconds; used in messages.
        """
        self.expires_at = expires_at
        self.allowed_ms = allowed_ms
        self._abandoned = threading.Event()
        self._queues = 0
        self._begun = False
        self._shared: Deadline | None = None

    @classmethod
    def after(cls, milliseconds: float) -> Self:
        """Makes a deadline that many milliseconds from now."""
        return cls(time.monotonic() + milliseconds / 1000, milliseconds)

    @classmethod
    def never(cls) -> Self:
        """Makes a deadline that never expires."""
        return cls(math.inf, math.inf)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.expires_at - time.monotonic()

    def check(self) -> None:
        """Ends work that nobody waits for. Threads call it between steps, because a thread cannot be cancelled.

        Raises:
            DeadlineExceeded: the deadline has passed, or :meth:`abandon` was called.
        """
        if self._abandoned.is_set() or self.left_s <= 0:
            raise self._late()

    def abandon(self) -> None:
        """Marks that no caller waits any more: :meth:`check` raises from now on."""
        self._abandoned.set()

    def begin(self) -> None:
        """Marks that inference has begun: if the deadline passes now, the work took too long, not the queue."""
        self._begun = True

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """A block in which the request waits in a queue. After an exception the request counts as still queued."""
        self._queues += 1
        yield
        self._queues -= 1

    @property
    def exceeded(self) -> DeadlineExceeded | Unavailable:
        """The error for the caller after the deadline: ``Unavailable``, to be retried, if the work had not begun."""
        work = self._shared or self
        if work._queues and not work._begun:
            allowed = f"within {self.allowed_ms:g} ms"
            return Unavailable(f"no place became free {allowed}: too many others wait too")
        return self._late()

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """A block that is cancelled when the deadline passes.

        Raises:
            Unavailable: the deadline passed while the request waited in a queue.
            DeadlineExceeded: the deadline passed while the answer was computed.
        """
        try:
            async with asyncio.timeout_at(None if self.expires_at == math.inf else self.expires_at):
                yield
        except TimeoutError:
            raise self.exceeded from None
        except DeadlineExceeded as late:  # raised by a stage that called check()
            told = self.exceeded
            raise (told if isinstance(told, Unavailable) else late) from None

    def shared(self) -> "Deadline":
        """Returns the deadline of work that several requests can wait for; this request is the first of them."""
        work = Deadline(self.expires_at, self.allowed_ms)
        self.share(work)
        return work

    def share(self, work: "Deadline") -> None:
        """Makes this request wait for ``work``, whose deadline becomes the latest of the requests that wait for it."""
        if self.expires_at > work.expires_at:
            work.expires_at, work.allowed_ms = self.expires_at, self.allowed_ms
        self._shared = work

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the answer was not ready within {self.allowed_ms:g} ms")
