"""The gateway without a transport: the models of the repository, what computes them, and the pipeline before it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from fpan.contract import ModelCard, ModelRepository, RepositoryError
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.inference.start import open_backend
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.detect import FaceDetector
from fpan.serve.pipeline.parser import FaceParser, Limits, Segmenter
from fpan.serve.settings import Settings

_log = logging.getLogger(__name__)
_SEGMENTATION = "segmentation"
T = TypeVar("T")


@dataclass
class Gateway:
    """Everything that transports need. ``draining`` is set once it takes nothing new."""

    settings: Settings
    parser: FaceParser
    backend: InferenceBackend
    cards: tuple[ModelCard, ...]
    """The versions that are served."""
    pool: ThreadPoolExecutor
    metrics: Metrics
    draining: bool = field(default=False)

    async def run(self, function: Callable[[], T]) -> T:
        """Runs what computes (encoding) in the bounded pool, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function)

    async def ready(self) -> bool:
        """Whether every model answers and nothing is being shut down."""
        if self.draining:
            return False
        answers = await asyncio.gather(*(self.backend.ready(card.name, card.version) for card in self.cards))
        return all(answers)


def served_cards(settings: Settings) -> tuple[ModelCard, ...]:
    """The latest version of every segmentation model in the repository, and the detector's.

    Raises:
        RepositoryError: the repository, or a model that the settings name, is missing.
    """
    repository = ModelRepository(settings.model_repository)
    needed = (settings.segm_model, settings.detector_model)
    latest = {name: repository.card(name, repository.latest(name)) for name in (*needed, *repository.names())}
    for name, task in zip(needed, (_SEGMENTATION, "detection"), strict=True):
        if latest[name].task != task:
            raise RepositoryError(f"the model {name!r} is for {latest[name].task}, not for {task}")
    return tuple(c for c in latest.values() if c.task == _SEGMENTATION or c.name == settings.detector_model)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Starts what computes, and ends all of it."""
    cards = served_cards(settings)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        runtime_folder = Path(stack.enter_context(TemporaryDirectory(prefix="fpan-")))
        backend = await open_backend(settings, list(cards), runtime_folder)
        stack.push_async_callback(backend.close)
        pool = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="picture")
        stack.push_async_callback(asyncio.to_thread, partial(pool.shutdown, cancel_futures=True))
        limits = BatchLimits.of(settings)
        batchers = {card.name: Batcher(backend, card, limits, metrics.batches) for card in cards}
        for batcher in batchers.values():
            stack.push_async_callback(batcher.close)
        found = {card.name: card for card in cards}
        detector, careful = (
            FaceDetector(found[settings.detector_model], batchers[settings.detector_model], pool, threshold)
            for threshold in (settings.detector_threshold, settings.redact_detector_threshold)
        )
        segmenters = {c.name: Segmenter(c, batchers[c.name]) for c in cards if c.task == _SEGMENTATION}
        bounds = Limits(
            settings.max_pixels,
            settings.max_faces,
            settings.deadline_ms,
            settings.max_face_pixels,
            settings.max_alpha_bytes,
        )
        parser = FaceParser(segmenters, settings.segm_model, detector, bounds, pool, careful)
        _log.info("networks: %s", backend.description)
        yield Gateway(settings, parser, backend, cards, pool, metrics)
