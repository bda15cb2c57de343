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

from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.inference.start import open_backend
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.detect import FaceDetector
from fpan.serve.pipeline.drift import DriftRules, FaceWindow
from fpan.serve.pipeline.parser import FaceParser, Limits, Segmenter
from fpan.serve.served import SEGMENTATION, ServedVersion, served_versions, with_local_repository
from fpan.serve.settings import Settings

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Gateway:
    """Everything that transports need. ``draining`` is set once it takes nothing new."""

    settings: Settings
    parser: FaceParser
    backend: InferenceBackend
    served: tuple[ServedVersion, ...]
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
        answers = await asyncio.gather(*(self.backend.ready(s.card.name, s.card.version) for s in self.served))
        return all(answers)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Starts what computes, and ends all of it."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        runtime_folder = Path(stack.enter_context(TemporaryDirectory(prefix="fpan-")))
        settings = await asyncio.to_thread(with_local_repository, settings, runtime_folder / "repository")
        served = served_versions(settings)
        cards = [each.card for each in served]
        backend = await open_backend(settings, cards, runtime_folder)
        stack.push_async_callback(backend.close)
        pool = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="picture")
        stack.push_async_callback(asyncio.to_thread, partial(pool.shutdown, cancel_futures=True))
        limits = BatchLimits.of(settings)
        drift_rules = DriftRules(settings.drift_window_faces, settings.drift_min_faces, settings.detector_threshold)
        named: dict[str, Segmenter] = {}
        for each in served:
            batcher = Batcher(backend, each.card, limits, metrics.batches.of(each.card.version))
            stack.push_async_callback(batcher.close)
            window = FaceWindow(each.card, drift_rules) if each.card.task == SEGMENTATION else None
            if window is not None:
                metrics.drift.watch(window)
            named |= {name: Segmenter(each.card, batcher, alias, window) for name, alias in each.names.items()}
        finder = named[settings.detector_model]
        detector, careful = (
            FaceDetector(finder.card, finder.batcher, pool, threshold)
            for threshold in (settings.detector_threshold, settings.redact_detector_threshold)
        )
        segmenters = {name: segmenter for name, segmenter in named.items() if segmenter.card.task == SEGMENTATION}
        bounds = Limits(
            settings.max_pixels,
            settings.max_faces,
            settings.deadline_ms,
            settings.max_face_pixels,
            settings.max_alpha_bytes,
        )
        parser = FaceParser(segmenters, settings.segm_model, detector, bounds, pool, careful)
        _log.info("networks: %s", backend.description)
        yield Gateway(settings, parser, backend, served, pool, metrics)
