"""Until when an answer is of use: one object for each request, made by its transport and read by every stage."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from fpan.serve.api.errors import DeadlineExceeded, Unavailable


class Deadline:
    """A point in time, whether anybody still waits for it, and whether the work had begun before it passed.

    Worker threads may call :meth:`check`; all else belongs to the event loop.
    """

    def __init__(self, expires_at: float, allowed_ms: float) -> None:
        """A deadline.

        Args:
            expires_at: by ``time.monotonic()``, which is the clock of asyncio too; infinity for never.
            allowed_ms: how long the request was allowed to take, in milliseconds, for messages.
        """
        self.expires_at = expires_at
        self.allowed_ms = allowed_ms
        self._abandoned = threading.Event()
        self._queues = 0
        self._begun = False
        self._shared: Deadline | None = None

    @classmethod
    def after(cls, milliseconds: float) -> Self:
        """So many milliseconds from now."""
        return cls(time.monotonic() + milliseconds / 1000, milliseconds)

    @classmethod
    def never(cls) -> Self:
        """For work that nobody has put a limit to."""
        return cls(math.inf, math.inf)

    @property
    def left_s(self) -> float:
        """Seconds that are left; below 0 once it has passed."""
        return self.expires_at - time.monotonic()

    def check(self) -> None:
        """Lets work go on. Threads call it between their steps, since nobody can stop them from outside.

        Raises:
            DeadlineExceeded: the deadline has passed, or nobody waits any more.
        """
        if self._abandoned.is_set() or self.left_s <= 0:
            raise self._late()

    def abandon(self) -> None:
        """Nobody waits any more: :meth:`check` raises from now on."""
        self._abandoned.set()

    def begin(self) -> None:
        """A network computes for the request: from now on it is late because the work takes long."""
        self._begun = True

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """A block in which the request waits for its turn. Left by an exception, it has waited to its end."""
        self._queues += 1
        yield
        self._queues -= 1

    @property
    def exceeded(self) -> DeadlineExceeded | Unavailable:
        """What the caller is told once it has passed: that it may come again where the work had not even begun."""
        work = self._shared or self
        if work._queues and not work._begun:
            allowed = f"within {self.allowed_ms:g} ms"
            return Unavailable(f"no place became free {allowed}: too many others wait too")
        return self._late()

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """A block that is cancelled when the deadline passes.

        Raises:
            Unavailable: it passed while the request waited for its turn.
            DeadlineExceeded: it passed while the answer was made.
        """
        try:
            async with asyncio.timeout_at(None if self.expires_at == math.inf else self.expires_at):
                yield
        except TimeoutError:
            raise self.exceeded from None
        except DeadlineExceeded as late:  # of a stage that read it
            told = self.exceeded
            raise (told if isinstance(told, Unavailable) else late) from None

    def shared(self) -> "Deadline":
        """The deadline of work that others may wait for too, beginning with this one's request."""
        work = Deadline(self.expires_at, self.allowed_ms)
        self.share(work)
        return work

    def share(self, work: "Deadline") -> None:
        """This request waits for ``work``, which goes on as long as any of its requests may wait."""
        if self.expires_at > work.expires_at:
            work.expires_at, work.allowed_ms = self.expires_at, self.allowed_ms
        self._shared = work

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the answer was not ready within {self.allowed_ms:g} ms")
