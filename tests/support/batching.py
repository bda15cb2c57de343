"""A backend for batchers that computes when it is told to, and callers who ask."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
from fpan.contract import ModelCard
from fpan.contract.card import Tensor
from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.inference.backend import stacked
from fpan.serve.inference.batcher import Batcher, BatchLimits, InferenceResult
from fpan.serve.telemetry.traces import NO_TRACE

CARD = ModelCard(
    name="net",
    version=3,
    task="segmentation",
    title="a double",
    inputs=(Tensor(name="images", dtype="UINT8", shape=(2,)),),
    outputs=(Tensor(name="same", dtype="UINT8", shape=(2,)), Tensor(name="half", dtype="FP32", shape=(2,))),
    input_size=2,
    weights_licence="Apache-2.0",
    files={"model.onnx": "0" * 64},
)
_OPEN = (Tensor(name="images", dtype="UINT8", shape=(-1,)),)
ANY_SIZE = CARD.model_copy(update={"inputs": _OPEN, "sizes": ((3, 3), (2, 2))})
LONG_S = 30.0


class Gated:
    """A backend whose batches take until the gate is opened. Records them."""

    description = "a double"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.outputs: list[list[str]] = []
        self.timeouts: list[float] = []
        self.gate = asyncio.Event()
        self.at_once = self.most_at_once = self.cancelled = 0
        self.poison: dict[int, Exception] = {}

    async def infer(self, model, version, inputs, outputs, timeout_s, trace=NO_TRACE):
        assert (model, version) == ("net", 3)
        images = stacked(inputs["images"])
        values = [int(image[0]) for image in images]
        self.batches.append(values)
        self.outputs.append(list(outputs))
        self.timeouts.append(timeout_s)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        for value in values:
            if value in self.poison:
                raise self.poison[value]
        every = {"same": images, "half": images.astype(np.float32) / 2}
        return {name: every[name] for name in outputs}

    async def ready(self, model: str, version: int) -> bool:
        return True

    async def close(self) -> None:
        pass


def items(*values: int) -> list[dict[str, np.ndarray]]:
    return [{"images": np.array([value, 0], np.uint8)} for value in values]


def ask(
    batcher: Batcher, *values: int, outputs: Sequence[str] = ("same",), within: float = math.inf, **context: object
) -> asyncio.Task:
    """A caller who asks now, and waits so many seconds."""
    deadline = Deadline.never() if within == math.inf else Deadline.after(within * 1000)

    async def asking() -> InferenceResult:
        async with deadline.limit():
            return await batcher.infer(items(*values), outputs, RequestContext(deadline=deadline, **context))

    return asyncio.create_task(asking())


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def got(answer: InferenceResult) -> list[int]:
    return [int(item["same"][0]) for item in answer.items]


@asynccontextmanager
async def starting(backend: Gated) -> AsyncIterator[Callable[..., Batcher]]:
    """Makes batchers in front of a backend; they are closed at the end."""
    made = []

    def make(card: ModelCard = CARD, metrics: object = None, **limits: object) -> Batcher:
        made.append(Batcher(backend, card, BatchLimits(**{"wait_s": LONG_S, **limits}), metrics))
        return made[-1]

    try:
        yield make
    finally:
        for batcher in made:
            await batcher.close()
