"""A gateway with small networks, versions of which can be made to fail, hang or dawdle while it serves."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import FaceClass, Taxonomy
from fpan.contract.card import ANY
from fpan.registry import FolderStore, Registry
from fpan.serve import app as opening
from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import GatewayError
from fpan.serve.api.options import ParseOptions
from fpan.serve.app import Gateway, open_gateway
from fpan.serve.config import Settings
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.rollout import monitor as watch
from fpan.serve.telemetry.traces import NO_TRACE
from PIL import Image

from tests.support.networks import SIZE, convolutions, echo, publish
from tests.support.readme import card as shipped_card

NAME = "segm"
PATIENCE_S = 20
"""How long something may take to happen, in seconds; it is waited for no longer than it takes."""
FULL = ParseOptions(faces="full")
NAMES = ("background", "skin", "hair", "hat", "neck", "cloth")


def taxonomy(names: tuple[str, ...] = NAMES) -> Taxonomy:
    classes = (FaceClass(id=i, name=n, title=n, colour=(i, i, i), partner=i) for i, n in enumerate(names))
    return Taxonomy(name="six", classes=tuple(classes))


def repository(root: Path, versions: int) -> Registry:
    """A detector that is never asked, and ``versions`` of a network that can be."""
    registry = Registry(FolderStore(root, create=True))
    for name, task, model, count in (
        ("detector", "detection", echo(), 1),
        (NAME, "segmentation", convolutions(), versions),
    ):
        card = publish(root.with_name("plain"), name, model)
        made = {"task": task, "taxonomy": taxonomy(), "alignment": shipped_card().alignment}
        if task == "detection":
            opened = tuple(each.model_copy(update={"shape": (ANY, ANY, 3)}) for each in card.inputs)
            made |= {"inputs": opened, "input_size": 256, "sizes": ((256, 256),)}
        card = card.model_copy(update=made)
        for _ in range(count):
            registry.publish(card, {"model.onnx": root.with_name("plain") / name / "1" / "model.onnx"})
    return registry


class Faulty:
    """The backend, with versions of :data:`NAME` that do as they are told."""

    def __init__(self, backend) -> None:
        self.backend = backend
        self.errors: dict[int, GatewayError] = {}
        self.delays_s: dict[int, float] = {}
        self.holds: dict[int, asyncio.Event] = {}
        self.asked: list[int] = []

    async def infer(self, model, version, inputs, outputs, timeout_s, trace=NO_TRACE):
        if model == NAME:
            self.asked.append(version)
            await asyncio.sleep(self.delays_s.get(version, 0))
            if version in self.holds:
                await self.holds[version].wait()
            if version in self.errors:
                raise self.errors[version]
        return await self.backend.infer(model, version, inputs, outputs, timeout_s, trace)

    def __getattr__(self, name: str):
        return getattr(self.backend, name)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, root: Path, **settings: object) -> AsyncIterator[Gateway]:
    """A gateway that looks often, each crop in a batch of its own. Its backend is :class:`Faulty`."""
    real, made_watch, watches = opening.open_backend, opening.Monitor, []

    async def faulty(*words):
        return Faulty(await real(*words))

    def kept(*words):
        watches.append(made_watch(*words))
        return watches[-1]

    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_backend", faulty)
        patch.setattr(opening, "Monitor", kept)
        patch.setattr(watch, "CHECK_S", 0.02)
        chosen = {"watch_min_requests": 10, "registry_poll_s": 0.05, "max_batch": 1, "instances": 8, **settings}
        made = Settings(model_repository=root, backend="in-process", runtime="onnxruntime", runtime_threads=1, **chosen)
        async with open_gateway(made) as gateway:
            gateway.backend.asked.clear()  # of its trials
            gateway.met = lambda: watches[-1]._answering.get(NAME, (NAME, 0))[1]  # the champion that the watch has seen
            yield gateway


def picture(seed: int = 0) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PICTURE = picture()


async def ask(gateway: Gateway, caller: str = "", model: str = "", *, background: bool = False) -> Parsed:
    context = RequestContext(
        deadline=Deadline.after(gateway.settings.deadline_ms), caller=caller, background=background
    )
    async with context.deadline.limit():
        return await gateway.parser.parse(PICTURE, ParseOptions(faces="full", model=model), context)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0.01)


def sample(gateway: Gateway, metric: str, **labels: object) -> float:
    found = gateway.metrics.registry.get_sample_value(metric, {k: str(v) for k, v in labels.items()})
    return found or 0.0
