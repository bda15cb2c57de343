"""Whether a request still waited for a place when its time ran out: then it may come again, for nothing was wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Wait:
    """The waiting of one request: for memory, behind others, before a network."""

    def __init__(self) -> None:
        self._places = 0
        self._begun = False

    def begin(self) -> None:
        """A network computes for it: from now on it is late because that takes long."""
        self._begun = True

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """A block that waits for a place. Left by an exception, it has waited to its end."""
        self._places += 1
        yield
        self._places -= 1

    @property
    def in_vain(self) -> bool:
        """Whether it waits, or waited until it was given up, and nothing has been computed for it."""
        return self._places > 0 and not self._begun


_wait: ContextVar[Wait | None] = ContextVar("wait", default=None)


@contextmanager
def waiting(wait: Wait) -> Iterator[None]:
    """A block whose waiting, that of the tasks that it starts too, is told to ``wait``."""
    token = _wait.set(wait)
    try:
        yield
    finally:
        _wait.reset(token)


def wait_now() -> Wait:
    """The waiting of whoever asks now; one that nobody looks at where there is none."""
    return _wait.get() or Wait()
