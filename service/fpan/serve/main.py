"""`fpan serve`: starts the gateway with HTTP and gRPC, and ends it cleanly."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp

from fpan.contract import RepositoryError
from fpan.serve.gateway import Gateway, open_gateway
from fpan.serve.grpc import start_grpc
from fpan.serve.http.app import create_app
from fpan.serve.memory import return_large_blocks
from fpan.serve.settings import Settings
from fpan.serve.triton.server import TritonError

_BACKLOG = 2048


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""


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
    return_large_blocks()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(settings))
    except (StartError, RepositoryError, TritonError) as error:
        sys.exit(f"fpan serve: {error}")
    except asyncio.CancelledError:
        sys.exit("fpan serve: stopped before it was ready")


async def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        StartError: a port is taken, or the networks' server cannot start.
        RepositoryError: a model is missing or was changed.
    """
    began = time.monotonic()
    http_socket = _bind(settings.bind_address, settings.port, "PORT")
    # gRPC binds its own socket; whether the port is free is told before anything slow is started.
    _bind(settings.bind_address, settings.grpc_port, "GRPC_PORT").close()
    stop = asyncio.Event()
    me = asyncio.current_task()
    assert me is not None
    starting = True

    def on_signal() -> None:
        stop.set()
        if starting:
            me.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    with contextlib.closing(http_socket):
        async with open_gateway(settings) as gateway:
            http = _Server(_configuration(gateway))
            try:
                grpc = await start_grpc(gateway)
            except OSError as error:
                raise StartError(f"{error}: choose another port with GRPC_PORT=") from error
            running = asyncio.create_task(http.serve(sockets=[http_socket]))
            stopping, listening = asyncio.create_task(stop.wait()), asyncio.create_task(http.listening.wait())
            await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            starting = False
            if not running.done():
                _announce(settings, gateway.backend.description, time.monotonic() - began)
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            gateway.drain()
            http.should_exit = True
            await asyncio.gather(grpc.drain(settings.drain_timeout_s), running)


def _configuration(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(gateway),
        log_level=gateway.settings.log_level,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=round(gateway.settings.drain_timeout_s),
        server_header=False,
    )


def read_settings(argv: Sequence[str] | None, command: str = "fpan serve") -> Settings:
    """The settings that flags and environment name; ends the process with a sentence where one of them is wrong."""
    try:
        return CliApp.run(Settings, cli_args=list(sys.argv[1:] if argv is None else argv))
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
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


def _announce(settings: Settings, networks: str, seconds: float) -> None:
    host = f"[{settings.bind_address}]" if ":" in settings.bind_address else settings.bind_address
    address = f"http://{host}:{settings.port}"
    lines = (
        f"Mask-FPAN Serve is ready after {seconds:.1f} s",
        f"  page      {address}/",
        f"  HTTP      POST {address}/v1/parse    contract: {address}/openapi.json",
        f"  gRPC      {host}:{settings.grpc_port}",
        f"  networks  {networks}",
    )
    print("\n".join(lines), flush=True)
