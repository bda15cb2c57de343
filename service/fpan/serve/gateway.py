"""The gateway without a transport: the models of the repository, what computes them, and the pipeline before it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fpan.serve.desk import Desk
from fpan.serve.http.entries import DeskParse
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.start import open_backend
from fpan.serve.inference.turns import Turn
from fpan.serve.jobs.office import Office, open_office
from fpan.serve.jobs.webhook import ClientFactory
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.parser import FaceParser, Limits
from fpan.serve.rollout.crew import Crew
from fpan.serve.rollout.followed import FollowedRepository
from fpan.serve.rollout.rollout import Rollout
from fpan.serve.rollout.shadow import Shadow
from fpan.serve.rollout.watch import Watch
from fpan.serve.settings import Settings

_log = logging.getLogger(__name__)


@dataclass
class Gateway:
    """Everything that transports need. ``draining`` is set once it takes nothing new."""

    settings: Settings
    parser: FaceParser
    desk: Desk
    """Parses and encodes."""
    backend: InferenceBackend
    rollout: Rollout
    """Which versions answer."""
    shadow: Shadow
    """Compares a version with the champion."""
    metrics: Metrics
    jobs: Office | None = None
    """Takes jobs; None where they are switched off."""
    draining: bool = field(default=False)

    def drain(self) -> None:
        """Takes nothing new from now on, and forgets what nobody waits for."""
        self.draining = True
        self.shadow.stop()
        if self.jobs is not None:
            self.jobs.drain()

    async def ready(self) -> bool:
        """Whether every model answers and nothing is being shut down."""
        if self.draining:
            return False
        answers = await asyncio.gather(*(self.backend.ready(*each.version) for each in self.rollout.served))
        return all(answers)


@asynccontextmanager
async def open_gateway(settings: Settings, hooks: ClientFactory | None = None) -> AsyncIterator[Gateway]:
    """Starts what computes, and ends all of it.

    Args:
        settings: see there.
        hooks: makes what goes to webhooks of jobs, only where callers may send it; None: they are refused.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        runtime_folder = Path(stack.enter_context(TemporaryDirectory(prefix="fpan-")))
        followed = await asyncio.to_thread(FollowedRepository, settings, runtime_folder / "repository")
        settings = followed.settings
        wanted = followed.wanted()
        backend = await open_backend(settings, [each.card for each in wanted], runtime_folder)
        stack.push_async_callback(backend.close)
        pool = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="picture")
        stack.push_async_callback(asyncio.to_thread, partial(pool.shutdown, cancel_futures=True))
        crew = Crew(settings, backend, pool, metrics)
        stack.push_async_callback(crew.close)
        rollout = Rollout(followed, backend, crew, metrics.rollout)
        lineup = await rollout.begin(wanted)
        bounds = Limits(
            settings.max_pixels,
            settings.max_faces,
            settings.deadline_ms,
            settings.max_face_pixels,
            settings.max_alpha_bytes,
        )
        watch = Watch(rollout, followed, metrics.watch)
        shadow = Shadow(lineup, lambda: crew.busy, settings, metrics.shadow)
        for runner in (rollout, watch, shadow):
            task = asyncio.create_task(runner.run(), name=type(runner).__name__)
            task.add_done_callback(_complain)
            stack.push_async_callback(_ended, task)
        _log.info("networks: %s", backend.description)
        parser = FaceParser(lineup, bounds, pool, watch.ended, shadow.offer)
        desk = Desk(parser, pool, settings, metrics)

        def background(job: str) -> DeskParse:
            return DeskParse(desk, settings.max_body_bytes, Turn(job, background=True))

        office = open_office(settings, metrics.jobs, background, settings.job_workers, hooks)
        jobs = await stack.enter_async_context(office)
        yield Gateway(settings, parser, desk, backend, rollout, shadow, metrics, jobs)


def _complain(task: asyncio.Task[None]) -> None:
    """What runs beside the requests ends with the gateway and not before."""
    if not task.cancelled():
        _log.critical("%s has ended", task.get_name(), exc_info=task.exception())


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
