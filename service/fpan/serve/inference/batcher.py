"""Puts items of many callers together into batches: one owner task a model.

While nothing is being computed an item goes out at once; while something is, it waits a few milliseconds for company.
Callers take turns item by item, so a photo with a hundred faces does not keep one with a single face waiting, nor does
a request with a hundred photos. Background work goes out when nothing else waits, and now and then all the same, so
that it never starves. What nobody waits for any more (cancelled, deadline passed) never goes out, and is cancelled if
it has.
"""

import asyncio
import copy
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fpan.contract import ModelCard
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import GatewayError, Overloaded, Unavailable
from fpan.serve.inference.backend import InferenceBackend, Tensors, fits, input_shapes
from fpan.serve.inference.scheduling import FairQueue, Shapes
from fpan.serve.inference.settings import InferenceSettings

Arrays = dict[str, NDArray[np.generic]]


class BatchMetrics(Protocol):
    """What is told to whoever counts."""

    def queue_depth(self, model: str, items: int) -> None:
        """So many items wait now."""

    def waited(self, model: str, seconds: float) -> None:
        """An item waited so long before its batch went out."""

    def batch_size(self, model: str, items: int) -> None:
        """A batch of so many items went out."""


@dataclass(frozen=True)
class BatchLimits:
    """How a model is batched."""

    max_batch: int = 8
    """Items of a batch."""
    max_queue: int = 512
    """Items that may wait; more are refused. Those of background work are counted apart."""
    wait_s: float = 0.002
    """How long an item waits for company while a batch is being computed, in seconds."""
    in_flight: int = 1
    """Batches that are computed at once."""
    timeout_s: float = 30.0
    """How long one batch may take, in seconds."""
    background_batch: int = 1
    """Items of a batch of background work: it cannot be interrupted, so others wait for it."""
    background_wait_s: float = 1.0
    """How long background work may wait for others before one item of it goes first, in seconds."""
    background_pause_s: float = 0.0
    """How long it waits once others have been answered: whoever asks several times in turn asks again by then."""

    @classmethod
    def of(cls, settings: InferenceSettings) -> Self:
        """The limits that the operator set."""
        return cls(
            settings.max_batch,
            settings.max_queue,
            settings.batch_wait_ms / 1000,
            settings.instances,
            settings.infer_timeout_s,
            min(settings.background_batch, settings.max_batch),
            settings.background_wait_s,
            settings.background_pause_ms / 1000,
        )


@dataclass(frozen=True)
class InferenceResult:
    """What one call of :meth:`Batcher.infer` gets."""

    items: list[Arrays]
    """For each item its wanted outputs, without a batch dimension. Views of shared arrays: treat as read-only."""
    queued_s: float
    """Time of the call during which none of its items was being computed, in seconds."""
    infer_s: float
    """Time during which at least one was, in seconds."""
    cost_s: float = 0.0
    """Time of its items: that of every batch, divided evenly among its members, in seconds. Unlike the other two it
    hardly depends on how much else is going on."""


@dataclass(eq=False)
class _Call:
    """One call's items. Belongs to the event loop's thread, as everything here does."""

    items: Sequence[Tensors]
    outputs: frozenset[str]
    context: RequestContext
    arrived: float
    shapes: Shapes
    done: asyncio.Future[None]
    waiting: deque[int] = field(default_factory=deque)
    results: dict[int, Arrays] = field(default_factory=dict)
    batches: "set[_Batch]" = field(default_factory=set)
    computing_since: float = 0.0
    infer_s: float = 0.0
    cost_s: float = 0.0

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False)
class _Batch:
    """Items under way: (call, index within it)."""

    members: list[tuple[_Call, int]]
    sent: float
    background: bool
    """Whether all of it is background work."""
    task: asyncio.Task[None] | None = None

    @property
    def calls(self) -> set[_Call]:
        return {call for call, _ in self.members}


class Batcher:
    """Batches one version of one model. Must be made and used within one running event loop."""

    def __init__(
        self, backend: InferenceBackend, card: ModelCard, limits: BatchLimits, metrics: BatchMetrics | None = None
    ) -> None:
        self._backend = backend
        self._card = card
        self._limits = limits
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._front: FairQueue[_Call] = FairQueue()
        self._back: FairQueue[_Call] = FairQueue()  # background work
        self._back_sent = -math.inf
        self._front_answered = -math.inf
        self._running: set[_Batch] = set()
        self._changed = asyncio.Event()
        self._closed = False
        self._owner = self._loop.create_task(self._own(), name=f"batcher of {card.name} {card.version}")

    async def infer(
        self, items: Sequence[Tensors], outputs: Sequence[str], context: RequestContext | None = None
    ) -> InferenceResult:
        """Computes the named outputs of every item, in batches shared with other callers.

        The awaiting code limits the time (:meth:`Deadline.limit`); here an expired call is dropped when its turn comes.

        Args:
            items: for each item one array per input, without a batch dimension, with shape and dtype as in the card.
            outputs: names of the requested outputs.
            context: the request, with its group, priority and deadline; None for work that belongs to no request and
                has no deadline.

        Raises:
            ValueError: an item does not fit the card, or the items differ in shape from each other.
            Overloaded: the queue has no place for all items; none of them was queued.
            DeadlineExceeded, Unavailable: the deadline passed first.
            Unavailable: the backend is down, or the batcher was closed.
        """
        shapes, context = self._check(items, outputs), context or RequestContext()
        if self._closed:
            raise Unavailable("the service is shutting down")
        queue = self._back if context.background else self._front
        if queue.items + len(items) > self._limits.max_queue:
            raise Overloaded("too many faces are waiting to be parsed; try again in a moment")
        if not items:
            return InferenceResult([], 0.0, 0.0)
        now = self._loop.time()
        call = _Call(items, frozenset(outputs), context, now, shapes, self._loop.create_future())
        call.waiting.extend(range(len(items)))
        queue.add(call)
        self._tell_depth()
        self._changed.set()
        try:
            with context.deadline.queueing():
                await call.done
        finally:
            self._withdraw(call)
        total = self._loop.time() - now
        results = [call.results[i] for i in range(len(items))]
        return InferenceResult(results, total - call.infer_s, call.infer_s, call.cost_s)

    @property
    def busy(self) -> bool:
        """Whether an item of a request that is not background work waits or is being computed."""
        return bool(self._front) or not all(batch.background for batch in self._running)

    async def close(self) -> None:
        """Closes the batcher. Calls that still wait get :class:`Unavailable`."""
        self._closed = True
        self._owner.cancel()
        tasks = [batch.task for batch in self._running if batch.task is not None]
        for call in {*self._front, *self._back, *(call for batch in self._running for call in batch.calls)}:
            call.fail(Unavailable("the service is shutting down"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._owner, *tasks, return_exceptions=True)

    def _check(self, items: Sequence[Tensors], outputs: Sequence[str]) -> Shapes:
        """Returns the shapes of the items' inputs in the card's order.

        Checked before an item is queued, because an item of another shape would fail the batch of other callers.
        """
        if unknown := set(outputs) - {tensor.name for tensor in self._card.outputs}:
            raise ValueError(f"{self._card.name} has no output {', '.join(sorted(unknown))}")
        shapes: set[Shapes] = set()
        for item in items:
            for tensor in self._card.inputs:
                if not fits(self._card, tensor, item[tensor.name]):
                    known = " or ".join(map(str, input_shapes(self._card, tensor)))
                    raise ValueError(f"{self._card.name} takes {tensor.name} as {tensor.dtype} {known}")
            shapes.add(tuple(item[tensor.name].shape for tensor in self._card.inputs))
        if len(shapes) > 1:
            raise ValueError("the items of one call differ in shape")
        return shapes.pop() if shapes else ()

    def _tell_depth(self) -> None:
        if self._metrics:
            self._metrics.queue_depth(self._card.name, self._front.items + self._back.items)

    def _withdraw(self, call: _Call) -> None:
        """Removes the waiting items of a finished or abandoned call, and cancels batches that no other call needs."""
        (self._back if call.context.background else self._front).remove(call)
        self._tell_depth()
        call.done.cancel()
        for batch in call.batches:
            if batch.task and all(other.done.done() for other in batch.calls):
                batch.task.cancel()

    async def _own(self) -> None:
        """The owner task: decides when the next batch is sent."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._next and len(self._running) < self._limits.in_flight:
                if (delay := self._delay()) > 0:
                    try:
                        async with asyncio.timeout(delay):  # before Python 3.12, wait_for may forget its cancellation
                            await self._changed.wait()
                    except TimeoutError:
                        continue
                    self._changed.clear()
                else:
                    self._send()

    @property
    def _next(self) -> FairQueue[_Call] | None:
        """The queue of the next batch; None while nothing may be sent."""
        if self._back and (not self._front or self._starves):
            busy = sum(batch.background for batch in self._running)
            if busy < max(
                1, self._limits.in_flight - 1
            ):  # if there are two or more places, one stays free for requests that arrive meanwhile
                return self._back
        return self._front or None

    @property
    def _starves(self) -> bool:
        """Whether background work has waited so long that it goes first."""
        waited_since = max(self._back_sent, self._back.oldest)
        return self._loop.time() - waited_since >= self._limits.background_wait_s

    def _delay(self) -> float:
        """Seconds until the next batch may be sent.

        A batch waits for more items unless it is full or nothing is being computed. Background work also pauses after
        each answer to another request, because that caller may be about to send the next one.
        """
        queue = self._next
        if queue is None:
            return 0.0
        now, pause_s = self._loop.time(), 0.0
        if queue is self._back and not self._starves:
            pause_s = self._front_answered + self._limits.background_pause_s - now
        if not self._running or queue.items >= self._most(queue):
            return pause_s
        return max(pause_s, queue.oldest + self._limits.wait_s - now)

    def _most(self, queue: FairQueue[_Call]) -> int:
        return self._limits.background_batch if queue is self._back else self._limits.max_batch

    def _send(self) -> None:
        """Fills a batch in turns and starts it."""
        now = self._loop.time()
        queue = self._next
        if queue is None:
            return
        starved = queue is self._back and bool(self._front)
        members = queue.take(1 if starved else self._most(queue), now)
        if queue is self._back:
            self._back_sent = now
        if starved:  # one background item goes first; the rest of the batch is for the requests that it delays
            shapes = members[0][0].shapes if members else None
            members += self._front.take(self._limits.max_batch - len(members), now, shapes)
        self._tell_depth()
        if not members:
            return
        batch = _Batch(members, now, all(call.context.background for call, _ in members))
        for call in batch.calls:
            if not call.batches:
                call.computing_since = now
                call.context.deadline.begin()
            call.batches.add(batch)
        if self._metrics:
            self._metrics.batch_size(self._card.name, len(members))
            for call, _ in members:
                self._metrics.waited(self._card.name, now - call.arrived)
        self._running.add(batch)
        batch.task = self._loop.create_task(self._compute(batch), name=f"batch of {len(members)}")
        batch.task.add_done_callback(lambda _: self._finish(batch))

    async def _compute(self, batch: _Batch) -> None:
        """Computes a batch and gives each call its results. A failure affects the calls of this batch only."""
        calls = batch.calls
        try:
            inputs = {
                tensor.name: [call.items[i][tensor.name] for call, i in batch.members] for tensor in self._card.inputs
            }
            # The latest deadline of the batch: an earlier one ends its own caller's wait, not the work of the others.
            left = max(call.context.deadline.left_s for call in calls)
            outputs = sorted(frozenset().union(*(call.outputs for call in calls)))
            timeout = min(self._limits.timeout_s, left)
            trace = batch.members[0][0].context.trace  # a batch belongs to one trace: that of its first call
            arrays = await self._backend.infer(self._card.name, self._card.version, inputs, outputs, timeout, trace)
        except GatewayError as error:
            for call in calls:
                call.fail(copy.copy(error))  # a copy each: raising adds to an exception's traceback
        except Exception as error:  # a bug: without this its callers would wait for ever
            for call in calls:
                call.fail(error)
        else:
            for place, (call, i) in enumerate(batch.members):
                call.results[i] = {name: arrays[name][place] for name in call.outputs}

    def _finish(self, batch: _Batch) -> None:
        now = self._loop.time()
        self._running.discard(batch)
        if not batch.background:
            self._front_answered = now
        for call, _ in batch.members:
            call.cost_s += (now - batch.sent) / len(batch.members)
        for call in batch.calls:
            call.batches.discard(batch)
            if not call.batches:
                call.infer_s += now - call.computing_since
            if len(call.results) == len(call.items) and not call.done.done():
                call.done.set_result(None)
        self._changed.set()
