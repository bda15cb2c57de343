"""The gateway without a transport: the models of the repository, what computes them, and the pipeline before it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import cv2

from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.admission.keys import open_keys
from fpan.serve.admission.rate_limits import RateLimiter
from fpan.serve.admission.tls import Tls, open_tls
from fpan.serve.api.context import RequestContext
from fpan.serve.cache.cache import AnswerCache
from fpan.serve.cache.circuit_breaker import GuardedRedis, open_redis
from fpan.serve.cache.key import AnswerKeys
from fpan.serve.cache.secret import Secret
from fpan.serve.cache.store import AnswerStore
from fpan.serve.config import Settings
from fpan.serve.fetch.fetcher import Fetcher
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.inference.batcher import BatchLimits
from fpan.serve.jobs.service import JobService, open_jobs
from fpan.serve.jobs.webhook import ClientFactory
from fpan.serve.pipeline.parser import FaceParser
from fpan.serve.rollout.controller import RolloutController
from fpan.serve.rollout.model_pool import ModelPool
from fpan.serve.rollout.monitor import Monitor
from fpan.serve.rollout.repository import WatchedRepository
from fpan.serve.rollout.shadow import Shadow
from fpan.serve.service import ParseService, ServiceParse
from fpan.serve.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class _Runner(Protocol):
    async def run(self) -> None: ...


@dataclass
class Gateway:
    """Everything that transports need."""

    settings: Settings
    parser: FaceParser
    parse_service: ParseService
    """Parses and encodes, or knows the answer."""
    backend: InferenceBackend
    rollout: RolloutController
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
    jobs: JobService | None = None
    """Takes jobs; None where they are switched off."""

    def drain(self) -> None:
        """Takes nothing new from now on, and forgets what nobody waits for."""
        self.admission.draining = True
        self.shadow.stop()
        if self.jobs is not None:
            self.jobs.drain()

    async def ready(self) -> bool:
        """Whether every model answers and nothing is being shut down."""
        if self.admission.draining:
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
    keys, following_keys = open_keys(settings, settings.bind_address, metrics.files)
    tls, following_tls = open_tls(settings, metrics.files)
    async with AsyncExitStack() as stack:
        runtime_folder = Path(stack.enter_context(TemporaryDirectory(prefix="fpan-")))
        followed = await asyncio.to_thread(WatchedRepository, settings, runtime_folder / "repository")
        wanted = followed.wanted()
        backend = await open_backend(settings, followed.repository, [each.card for each in wanted], runtime_folder)
        stack.push_async_callback(backend.close)
        pool = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="picture")
        stack.push_async_callback(asyncio.to_thread, partial(pool.shutdown, cancel_futures=True))
        crew = ModelPool(settings, settings, BatchLimits.of(settings), backend, pool, metrics)
        stack.push_async_callback(crew.close)
        rollout = RolloutController(followed, settings, backend, crew, metrics.rollout)
        model_router = await rollout.begin(wanted)
        watch = Monitor(rollout, followed, metrics.watch)
        shadow = Shadow(model_router, lambda: crew.busy, settings, settings.infer_timeout_s, metrics.shadow)
        runners: list[_Runner] = [rollout, watch, shadow, *following_keys, *following_tls]
        for runner in runners:
            task = asyncio.create_task(runner.run(), name=type(runner).__name__)
            task.add_done_callback(_complain)
            stack.push_async_callback(_ended, task)
        _log.info("networks: %s", backend.description)
        parser = FaceParser(model_router, settings, pool, watch.ended, shadow.offer)
        redis, secret = await _redis(settings, metrics, stack), Secret(settings)
        if redis and not secret.shared:
            _log.warning(
                "CACHE_KEY is empty: no other gateway, nor this one's next start, can use what it keeps in Redis"
            )
        answer_keys = AnswerKeys(secret, settings, model_router, per_account=settings.cache_per_account)
        cache = AnswerCache(answer_keys, AnswerStore(redis, secret, settings) if redis else None, metrics)
        stack.push_async_callback(cache.close)
        parse_service = ParseService(parser, pool, settings, metrics, cache)
        fetcher = await stack.enter_async_context(Fetcher.opened(settings, settings.max_body_bytes))
        rates = RateLimiter(redis, secret, metrics)

        def background(job: str) -> ServiceParse:
            # Whose it is, its worker does not know: what it has in common with others it alone finds again.
            context = RequestContext(account=f"job {job}", background=True, group=job)
            return ServiceParse(parse_service, settings.max_body_bytes, context)

        networks, at_once = settings.url_private_networks, settings.background_concurrency
        job_service = open_jobs(settings, networks, at_once, metrics.jobs, background, settings.job_workers, hooks)
        jobs = await stack.enter_async_context(job_service)
        admission = Admission(Capacity.of(settings), keys, metrics, rates, settings.rate_limit_per_minute)
        yield Gateway(settings, parser, parse_service, backend, rollout, shadow, metrics, admission, fetcher, tls, jobs)


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
