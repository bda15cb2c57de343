"""Identical requests that run at the same time share one computation."""

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
    """The latest deadline of the calls that wait."""
    task: "asyncio.Task[None] | None" = None
    waiting: int = 0


class SingleFlight(Generic[K, T]):
    """Computations that run now, by name. Belongs to one event loop.

    The first call starts the computation but does not own it: it runs as long as any call waits for it, and is
    cancelled when the last call leaves.
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
        """Returns the answer, and whether ``make`` of this call computed it.

        Args:
            name: calls with the same name share an answer.
            make: computes the answer before the latest deadline of all calls that wait. Its exception is raised in
                each of these calls.
            keep: stores the answer, once. No call waits for it; calls that arrive meanwhile still share the answer.
            deadline: deadline of this call. It is linked to the shared work, so that its error can say whether the
                work had begun when the deadline passed.
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
        """Cancels the computations that still run."""
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
                self._land(name, flight)  # a new call must not join a computation that is being cancelled
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
                flight.answer.exception()  # marks it as retrieved: without a waiting call asyncio would log it
                return
            flight.answer.set_result(answer)
            await keep(answer)
        except asyncio.CancelledError:
            flight.answer.cancel()
            raise
        except Exception:  # an error of keep() in our own code: the answer has already been returned
            _log.exception("an answer could not be kept")
        finally:
            self._land(name, flight)

    def _land(self, name: K, flight: _Flight[T]) -> None:
        if self._flights.get(name) is flight:
            del self._flights[name]
