"""Fair queue: calls wait in groups, so that a hundred pictures of one request count as one caller."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from fpan.serve.api.context import RequestContext

Shapes = tuple[tuple[int, ...], ...]


class WaitingCall(Protocol):
    """What the queue needs to know about a call."""

    @property
    def shapes(self) -> Shapes:
        """Shapes of the inputs of an item; the same for all items of the call."""
        ...

    @property
    def context(self) -> RequestContext:
        """The request that the call belongs to, with group and deadline."""
        ...

    @property
    def arrived(self) -> float:
        """Time of arrival, as ``loop.time()``."""
        ...

    @property
    def waiting(self) -> deque[int]:
        """Indices of its items that are not in a batch yet."""
        ...

    def fail(self, error: BaseException) -> None:
        """Ends the call with an error."""
        ...


C = TypeVar("C", bound=WaitingCall)


class FairQueue(Generic[C]):
    """Calls whose items wait. Groups take turns item by item, and so do the calls within a group."""

    def __init__(self) -> None:
        self._groups: dict[object, deque[C]] = {}  # groups, and the calls within each, in the order of their turns
        self.items = 0
        """Number of items that wait."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __iter__(self) -> Iterator[C]:
        for calls in self._groups.values():
            yield from calls

    @property
    def oldest(self) -> float:
        """Arrival of the call that has waited longest, as ``loop.time()``; infinity if the queue is empty."""
        return min((call.arrived for call in self), default=math.inf)

    def add(self, call: C) -> None:
        """Adds a call with all its items."""
        key = call if call.context.group is None else call.context.group
        self._groups.setdefault(key, deque()).append(call)
        self.items += len(call.waiting)

    def remove(self, call: C) -> None:
        """Removes the items of a call that still wait."""
        if not call.waiting:
            return
        key = call if call.context.group is None else call.context.group
        self._groups[key].remove(call)
        if not self._groups[key]:
            del self._groups[key]
        self._forget(call)

    def take(self, most: int, now: float, shapes: Shapes | None = None) -> list[tuple[C, int]]:
        """Takes the next items, one for each turn, and returns (call, index of the item in the call).

        Args:
            most: largest number of items.
            now: ``loop.time()``; calls whose deadline has passed are dropped.
            shapes: shapes that items must have; None uses those of the first item. Other items keep their place.
        """
        taken: list[tuple[C, int]] = []
        passed: dict[object, deque[C]] = {}
        while self._groups and len(taken) < most:
            key = next(iter(self._groups))
            calls = self._groups.pop(key)
            call = self._first(calls, now, shapes)
            if call is None:
                if calls:
                    passed[key] = calls
                continue
            shapes = call.shapes
            taken.append((call, call.waiting.popleft()))
            self.items -= 1
            if call.waiting:
                calls.append(call)
            if calls:
                self._groups[key] = calls
        self._groups = {**passed, **self._groups}
        return taken

    def _first(self, calls: deque[C], now: float, shapes: Shapes | None) -> C | None:
        """Removes and returns the first call of a group that has these shapes; ends expired calls."""
        for _ in range(len(calls)):
            call = calls.popleft()
            if call.context.deadline.expires_at <= now:
                self._forget(call)
                call.fail(call.context.deadline.exceeded)
            elif shapes is None or call.shapes == shapes:
                return call
            else:
                calls.append(call)
        return None

    def _forget(self, call: C) -> None:
        self.items -= len(call.waiting)
        call.waiting.clear()
