"""Whether anybody still waits for an answer."""

import threading
import time

from fpan.serve.api.errors import DeadlineExceeded


class Patience:
    """One caller's patience. Threads ask for it between their steps, since nobody can stop them from outside."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds
        self._until = time.monotonic() + milliseconds / 1000
        self._over = threading.Event()

    def end(self) -> None:
        """Nobody waits any more."""
        self._over.set()

    def check(self) -> None:
        """Lets work go on.

        Raises:
            DeadlineExceeded: nobody waits for it.
        """
        if self._over.is_set() or time.monotonic() >= self._until:
            raise self.exceeded

    @property
    def exceeded(self) -> DeadlineExceeded:
        """What the caller is told."""
        return DeadlineExceeded(f"the answer was not ready within {self._milliseconds} ms")
