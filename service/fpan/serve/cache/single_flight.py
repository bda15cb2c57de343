"""Identical questions that are asked at the same time are answered once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fpan.serve.api.deadline import Deadline

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Flight(Generic[T]):
    answer: "asyncio.Future[T]"
    deadline: Deadline
    """The latest of those who wait."""
    task: "asyncio.Task[None] | None" = None
    waiting: int = 0


class SingleFlight(Generic[K, T]):
    """What is being computed now, by its name. Belongs to one event loop.

    Whoever comes first begins the work, but does not own it: it goes on as long as anybody waits, and is cancelled when
    the last one leaves.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    async def join(
        self,
        name: K,
        make: Callable[[Deadline], Awaitable[T]],
        keep: Callable[[T], Awaitable[None]],
        deadline: Deadline,
    ) -> tuple[T, bool]:
        """The answer, and whether ``make`` of this very call made it.

        Args:
            name: calls with the same one share an answer.
            make: makes it before a deadline, which is the latest of all who wait. What it raises is raised to them all.
            keep: is given the answer once; nobody waits for it, but who comes meanwhile still shares.
            deadline: of this call. It tells by the shared work whether that had begun when it passed.
        """
        flight = self._flights.get(name)
        began = flight is None
        if flight is None:
            answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            flight = self._flights[name] = _Flight(answer, deadline.shared())
            flight.task = asyncio.create_task(self._fly(name, flight, make, keep), name="answers all who ask")
        else:
            deadline.share(flight.deadline)
        return await self._wait(name, flight), began

    async def close(self) -> None:
        """Ends what still runs."""
        tasks = [flight.task for flight in self._flights.values() if flight.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, name: K, flight: _Flight[T]) -> T:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.answer)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.answer.done() and flight.task:
                self._land(name, flight)  # whoever comes now would wait for something that is being cancelled
                flight.task.cancel()
                await asyncio.gather(flight.task, return_exceptions=True)

    async def _fly(
        self,
        name: K,
        flight: _Flight[T],
        make: Callable[[Deadline], Awaitable[T]],
        keep: Callable[[T], Awaitable[None]],
    ) -> None:
        try:
            try:
                answer = await make(flight.deadline)
            except Exception as error:
                flight.answer.set_exception(error)
                flight.answer.exception()  # all who wait are told; where nobody is left, asyncio would tell the log
                return
            flight.answer.set_result(answer)
            await keep(answer)
        except asyncio.CancelledError:
            flight.answer.cancel()
            raise
        except Exception:  # of keeping, a fault of ours: the answer has been given
            _log.exception("an answer could not be kept")
        finally:
            self._land(name, flight)

    def _land(self, name: K, flight: _Flight[T]) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]
