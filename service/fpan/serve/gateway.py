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
from typing import Protocol

import cv2

from fpan.serve.admission import Admission, Capacity
from fpan.serve.cache import AnswerCache, AnswerKeys, AnswerStore
from fpan.serve.desk import Desk
from fpan.serve.fetch.fetch import Fetcher
from fpan.serve.guarded_redis import GuardedRedis, open_redis
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.start import open_backend
from fpan.serve.inference.turns import Turn
from fpan.serve.jobs.office import Office, open_office
from fpan.serve.jobs.webhook import ClientFactory
from fpan.serve.keys.following import open_keys
from fpan.serve.limits import RateLimiter
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.parser import FaceParser, Limits
from fpan.serve.rollout.crew import Crew
from fpan.serve.rollout.followed import FollowedRepository
from fpan.serve.rollout.rollout import Rollout
from fpan.serve.rollout.shadow import Shadow
from fpan.serve.rollout.watch import Watch
from fpan.serve.secret import Secret
from fpan.serve.settings import Settings
from fpan.serve.tls import Tls, open_tls
from fpan.serve.wire.entries import DeskParse

_log = logging.getLogger(__name__)


class _Runner(Protocol):
    async def run(self) -> None: ...


@dataclass
class Gateway:
    """Everything that transports need. ``draining`` is set once it takes nothing new."""

    settings: Settings
    parser: FaceParser
    desk: Desk
    """Parses and encodes, or knows the answer."""
    backend: InferenceBackend
    rollout: Rollout
    """Which versions answer."""
    shadow: Shadow
    """Compares a version with the champion."""
    metrics: Metrics
    admission: Admission
    """Lets requests in."""
    fetcher: Fetcher
    """Fetches pictures from URLs."""
    tls: Tls | None
    """The certificate of both ports; None where they speak plainly."""
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
        hooks: makes what goes to webhooks of jobs; None: it goes where ``webhook_hosts`` allows.

    Raises:
        StartError: the keys or the certificate are missing, or of no use.
    """
    metrics = Metrics()
    # Pictures are computed side by side: threads of OpenCV's own within one would take the cores from the others.
    cv2.setNumThreads(1)
    keys, following_keys = open_keys(settings, metrics.files)
    tls, following_tls = open_tls(settings, metrics.files)
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
            settings.max_pixels_in_flight,
        )
        watch = Watch(rollout, followed, metrics.watch)
        shadow = Shadow(lineup, lambda: crew.busy, settings, metrics.shadow)
        runners: list[_Runner] = [rollout, watch, shadow, *following_keys, *following_tls]
        for runner in runners:
            task = asyncio.create_task(runner.run(), name=type(runner).__name__)
            task.add_done_callback(_complain)
            stack.push_async_callback(_ended, task)
        _log.info("networks: %s", backend.description)
        parser = FaceParser(lineup, bounds, pool, watch.ended, shadow.offer)
        redis, secret = await _redis(settings, metrics, stack), Secret(settings)
        if redis and not secret.shared:
            _log.warning(
                "CACHE_KEY is empty: no other gateway, nor this one's next start, can use what it keeps in Redis"
            )
        cache = AnswerCache(
            AnswerKeys(secret, settings, lineup), AnswerStore(redis, secret, settings) if redis else None, metrics
        )
        stack.push_async_callback(cache.close)
        desk = Desk(parser, pool, settings, metrics, cache)
        fetcher = await stack.enter_async_context(Fetcher.opened(settings))
        rates = RateLimiter(redis, secret, metrics)

        def background(job: str) -> DeskParse:
            # Whose it is, its worker does not know: what it has in common with others it alone finds again.
            return DeskParse(desk, settings.max_body_bytes, Turn(job, background=True), account=f"job {job}")

        office = open_office(settings, metrics.jobs, background, settings.job_workers, hooks)
        jobs = await stack.enter_async_context(office)
        admission = Admission(Capacity.of(settings), keys, metrics, rates, settings.rate_limit_per_minute)
        yield Gateway(settings, parser, desk, backend, rollout, shadow, metrics, admission, fetcher, tls, jobs)


async def _redis(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> GuardedRedis | None:
    """The Redis that answers are kept in; None where the settings name none."""
    url = settings.redis_cache_url.get_secret_value()
    if not url:
        return None
    opening = open_redis("cache", url, settings.redis_timeout_ms / 1000, settings.redis_retry_s, metrics.redis)
    return await stack.enter_async_context(opening)


def _complain(task: asyncio.Task[None]) -> None:
    """What runs beside the requests ends with the gateway and not before."""
    if not task.cancelled():
        _log.critical("%s has ended", task.get_name(), exc_info=task.exception())


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
