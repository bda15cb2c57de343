"""`fpan worker`: runs jobs in a process of its own, and hands back what it has begun when it is told to end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from prometheus_client import start_http_server

from fpan.client._access import key_headers, verifying
from fpan.client.errors import FpanError
from fpan.contract import RepositoryError
from fpan.serve.api.errors import StartError
from fpan.serve.app import open_gateway
from fpan.serve.config import Settings
from fpan.serve.inference.triton_server.server import TritonError
from fpan.serve.jobs.remote import remote
from fpan.serve.jobs.service import open_jobs
from fpan.serve.jobs.webhook import ClientFactory
from fpan.serve.main import read_settings
from fpan.serve.process import leave_no_core, return_large_blocks
from fpan.serve.telemetry import logs
from fpan.serve.telemetry.metrics import Metrics

_COMMAND = "fpan worker"
READY = "fpan worker is ready"
"""What it prints when it takes jobs."""
_NOBODY_CALLS = {"auth": "off", "keys_file": None, "tls_certificate": None, "tls_key": None, "tls_client_ca": None}
"""A worker listens to nobody: keys and certificates of gateways, whose environment it may share, are not its own."""


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the settings from flags and environment, and runs jobs until SIGINT or SIGTERM."""
    settings = read_settings(argv, _COMMAND)
    if not settings.redis_jobs_url.get_secret_value():
        sys.exit(f"{_COMMAND}: REDIS_JOBS_URL: no Redis to take jobs from; docs/how-to/jobs.md tells how to set one up")
    leave_no_core()
    return_large_blocks()
    logs.set_up(settings)
    try:
        asyncio.run(work(settings))
    except (StartError, RepositoryError, TritonError, FpanError) as error:
        sys.exit(f"{_COMMAND}: {error}")


async def work(settings: Settings, hooks: ClientFactory | None = None) -> None:
    """Runs jobs until SIGINT or SIGTERM.

    Args:
        settings: see there.
        hooks: see :func:`~fpan.serve.app.open_gateway`.

    Raises:
        StartError: the networks' server cannot start.
        RepositoryError: a model, or the store of jobs, cannot be opened.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = settings.model_copy(update={"job_workers": max(1, settings.job_workers)})
    open_workers = _by_gateway if settings.worker_gateway_url else _by_itself
    async with open_workers(settings, hooks) as metrics:
        if settings.worker_metrics_port:
            server, _ = start_http_server(settings.worker_metrics_port, settings.metrics_address, metrics.registry)
        print(READY, flush=True)
        await stop.wait()
    if settings.worker_metrics_port:
        server.shutdown()


@asynccontextmanager
async def _by_gateway(settings: Settings, hooks: ClientFactory | None) -> AsyncIterator[Metrics]:
    """Pictures are parsed by a gateway, behind everybody who waits for an answer there."""
    metrics = Metrics()
    networks, at_once = settings.url_private_networks, settings.background_concurrency
    async with (
        httpx.AsyncClient(base_url=settings.worker_gateway_url, headers=key_headers(), verify=verifying()) as client,
        open_jobs(settings, networks, at_once, metrics.jobs, remote(client, metrics.jobs), settings.job_workers, hooks),
    ):
        yield metrics


@asynccontextmanager
async def _by_itself(settings: Settings, hooks: ClientFactory | None) -> AsyncIterator[Metrics]:
    """Pictures are parsed in this process, which loads the networks."""
    async with open_gateway(settings.model_copy(update=_NOBODY_CALLS), hooks) as gateway:
        yield gateway.metrics
