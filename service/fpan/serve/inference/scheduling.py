"""Which call goes next: calls wait in groups, so that a hundred pictures of one request count as one caller."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from fpan.serve.api.context import RequestContext

Shapes = tuple[tuple[int, ...], ...]


class WaitingCall(Protocol):
    """What turns need to know of a call."""

    @property
    def shapes(self) -> Shapes:
        """Of its items, each like the others."""
        ...

    @property
    def context(self) -> RequestContext:
        """In whose name it waits, and until when."""
        ...

    @property
    def arrived(self) -> float:
        """When it came, as ``loop.time()``."""
        ...

    @property
    def waiting(self) -> deque[int]:
        """Indices of its items that have not gone out."""
        ...

    def fail(self, error: BaseException) -> None:
        """Ends it with an error."""
        ...


C = TypeVar("C", bound=WaitingCall)


class FairQueue(Generic[C]):
    """Calls with items that wait. Groups take turns item by item, and within a group its calls do."""

    def __init__(self) -> None:
        self._groups: dict[object, deque[C]] = {}  # in the order of their turns, as are the calls of each
        self.items = 0
        """Items that wait."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __iter__(self) -> Iterator[C]:
        for calls in self._groups.values():
            yield from calls

    @property
    def oldest(self) -> float:
        """When the call came that waits longest; infinity where none waits."""
        return min((call.arrived for call in self), default=math.inf)

    def add(self, call: C) -> None:
        """Lets a call wait, with all its items."""
        key = call if call.context.group is None else call.context.group
        self._groups.setdefault(key, deque()).append(call)
        self.items += len(call.waiting)

    def remove(self, call: C) -> None:
        """Takes out what of a call still waits; nothing where none does."""
        if not call.waiting:
            return
        key = call if call.context.group is None else call.context.group
        self._groups[key].remove(call)
        if not self._groups[key]:
            del self._groups[key]
        self._forget(call)

    def take(self, most: int, now: float, shapes: Shapes | None = None) -> list[tuple[C, int]]:
        """The next items: (call, index within it), one for each turn.

        Args:
            most: how many at most.
            now: ``loop.time()``; what nobody waits for any more is dropped.
            shapes: which items will do; None takes those that are like the first. Others keep their place.
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
        """Takes the first of a group that will do out of it."""
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
