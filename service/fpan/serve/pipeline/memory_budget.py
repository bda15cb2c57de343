"""Room for what is large: who finds none waits, in order, and background work behind all others."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress


class MemoryBudget:
    """So many units of something, shared by all requests. First come, first served: smaller ones overtake none."""

    def __init__(self, units: int) -> None:
        """Takes how many there are."""
        self._free = self._units = units
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._background: deque[tuple[int, asyncio.Future[None]]] = deque()

    def full(self, units: int, background: bool = False) -> bool:
        """Whether somebody who wants so many must wait."""
        ahead = bool(self._waiting) or (background and bool(self._background))
        return ahead or min(units, self._units) > self._free

    async def take(self, units: int, background: bool = False) -> AbstractContextManager[None]:
        """Waits until there is room; it is given back when the block ends. More than there are at all take everything.

        Cancelled, it takes none.

        Args:
            units: how many are wanted.
            background: whether all others go first.
        """
        wanted = min(units, self._units)
        if self.full(wanted, background):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = self._background if background else self._waiting
            waiting.append((wanted, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    with suppress(ValueError):  # it has been passed over already
                        waiting.remove((wanted, turn))
                else:  # its turn came in the same moment
                    self._free += wanted
                self._next()
                raise
        else:
            self._free -= wanted
        return self._held(wanted)

    @contextmanager
    def _held(self, units: int) -> Iterator[None]:
        try:
            yield
        finally:
            self._free += units
            self._next()

    def _next(self) -> None:
        while (waiting := self._waiting or self._background) and waiting[0][0] <= self._free:
            wanted, turn = waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
