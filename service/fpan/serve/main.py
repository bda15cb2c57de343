"""`fpan serve`: starts the gateway with HTTP and gRPC, and ends it cleanly."""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp
from starlette.types import ASGIApp

from fpan.contract import RepositoryError
from fpan.serve.api.errors import StartError
from fpan.serve.app import Gateway, open_gateway
from fpan.serve.config import Settings
from fpan.serve.inference.triton_server.server import TritonError
from fpan.serve.process import keep_what_is_loaded, leave_no_core, return_large_blocks
from fpan.serve.setting_types import bracketed
from fpan.serve.telemetry import logs
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.access import METRICS_PATH
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.hosts import HostsMiddleware
from fpan.serve.transports.http.info import metrics_app

_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: this process has more than HTTP to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and tells when that is done."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the settings from flags and environment, and serves until SIGINT or SIGTERM."""
    settings = read_settings(argv)
    leave_no_core()
    return_large_blocks()
    logs.set_up(settings)
    try:
        asyncio.run(serve(settings))
    except (StartError, RepositoryError, TritonError) as error:
        sys.exit(f"fpan serve: {error}")
    except asyncio.CancelledError:
        sys.exit("fpan serve: stopped before it was ready")


async def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        StartError: a port is taken, the keys or the certificate are of no use, or the networks' server cannot start.
        RepositoryError: a model is missing or was changed.
    """
    began = time.monotonic()
    http_socket = _bind(settings.bind_address, settings.port, "PORT")
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux; connections inherit it: who reads nothing for so long is gone
        http_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.send_timeout_s * 1000))
    metrics_socket = settings.metrics_port and _bind(settings.metrics_address, settings.metrics_port, "METRICS_PORT")
    # gRPC binds its own socket; whether the port is free is told before anything slow is started.
    _bind(settings.bind_address, settings.grpc_port, "GRPC_PORT").close()
    stop, hurry = asyncio.Event(), asyncio.Event()
    me = asyncio.current_task()
    assert me is not None
    starting = True

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()
        if starting:
            me.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    with contextlib.closing(http_socket):
        async with open_gateway(settings) as gateway:
            guarded = partial(HostsMiddleware, settings=settings, needs_keys=settings.needs_keys)
            http = _Server(_configuration(gateway, guarded(create_app(gateway))))
            metrics = _Server(_plain(guarded(metrics_app(gateway.metrics)), settings)) if metrics_socket else None
            try:
                grpc = await start_grpc(gateway)
            except OSError as error:
                raise StartError(f"{error}: choose another port with GRPC_PORT=") from error
            keep_what_is_loaded()
            running = asyncio.create_task(http.serve(sockets=[http_socket]))
            telling = (
                asyncio.create_task(metrics.serve(sockets=[metrics_socket])) if metrics and metrics_socket else None
            )
            stopping, listening = asyncio.create_task(stop.wait()), asyncio.create_task(http.listening.wait())
            await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            starting = False
            if not running.done():
                _announce(settings, gateway, time.monotonic() - began)
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            gateway.drain()
            if stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), settings.drain_delay_s)
            http.should_exit = True
            await asyncio.gather(grpc.drain(settings.drain_timeout_s), running)
            if metrics and telling:  # to the end: a drain is worth watching
                metrics.should_exit = True
                await telling


def _configuration(gateway: Gateway, app: ASGIApp) -> uvicorn.Config:
    configuration = _plain(app, gateway.settings)
    if gateway.tls is not None:
        context = gateway.tls.context
        configuration.ssl_context_factory = lambda *_: context
    return configuration


def _plain(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level=settings.log_level,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=round(settings.drain_timeout_s),
        server_header=False,
        # Without it uvicorn believes this machine's own addresses, which anybody here has.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
    )


def read_settings(argv: Sequence[str] | None, command: str = "fpan serve") -> Settings:
    """The settings that flags and environment name; ends the process with a sentence where one of them is wrong."""
    try:
        return CliApp.run(Settings, cli_args=list(sys.argv[1:] if argv is None else argv))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])  # what follows is a place within its value
        sys.exit(f"{command}: {name.upper()}: {first['msg']}; `{command} --help` lists all settings")


def _bind(host: str, port: int, name: str) -> socket.socket:
    """A listening socket, bound before anything slow is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it the second half of an answer waits 40 ms for the caller's delayed ACK.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise StartError(f"cannot listen on {host}:{port} ({reason}): choose another port with {name}=") from error
    return bound


def _announce(settings: Settings, gateway: Gateway, seconds: float) -> None:
    host = bracketed(settings.bind_address)
    scheme, sealed = ("http", "") if gateway.tls is None else ("https", " with TLS")
    address = f"{scheme}://{host}:{settings.port}"
    lines = [
        f"Mask-FPAN Serve is ready after {seconds:.1f} s",
        f"  page      {address}/",
        f"  HTTP      POST {address}/v1/parse    contract: {address}/openapi.json",
        f"  gRPC      {host}:{settings.grpc_port}{sealed}",
    ]
    if not settings.loopback or settings.needs_keys:
        lines.append(f"  callers   {'need an API key' if settings.needs_keys else 'need no API key (AUTH=off)'}")
    if settings.metrics_port:
        lines.append(f"  metrics   http://{bracketed(settings.metrics_address)}:{settings.metrics_port}{METRICS_PATH}")
    elif not settings.loopback:
        lines.append("  metrics   nowhere: METRICS_PORT= opens a port for them")
    lines.append(f"  networks  {gateway.backend.description}")
    print("\n".join(lines), flush=True)
