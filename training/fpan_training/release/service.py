"""A service of one's own, for those who have none running."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from fpan_training.errors import UserError

_START_TIMEOUT_S = 120.0
_POLL_S = 0.2
_STOP_TIMEOUT_S = 30.0
_DEFAULT_PORT = "8000"
_HOST = "127.0.0.1"


class ServiceError(UserError):
    """The service did not start; it has said why."""


@dataclass(frozen=True)
class Service:
    """A running `fpan serve`."""

    url: str
    _process: "subprocess.Popen[bytes]"

    def wait(self) -> None:
        """Returns when it ends; Ctrl-C and SIGTERM end it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._process.terminate())
        self._process.wait()


def free_ports() -> dict[str, str]:
    """Settings of ports that nobody listens on now, for a service that only its starter asks."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind((_HOST, 0))
        ports = [str(each.getsockname()[1]) for each in sockets]
    return dict(zip(("PORT", "GRPC_PORT"), ports, strict=True))


@contextmanager
def started(repository: str, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Starts `fpan serve`, waits until it is ready, and ends it with the block.

    Its settings are environment variables as ever: ``PORT``, ``GRPC_PORT``, ...

    Args:
        repository: the model repository that it serves.
        settings: environment variables of its own.

    Raises:
        ServiceError: it has ended, or takes too long.
    """
    environment = {**os.environ, **(settings or {}), "MODEL_REPOSITORY": repository}
    port = environment.get("PORT") or _DEFAULT_PORT
    url = f"http://{_HOST}:{port}"
    with socket.socket() as taken:
        if taken.connect_ex((_HOST, int(port))) == 0:
            raise ServiceError(f"something answers at {url} already: name it with --url, or choose another PORT")
    process = subprocess.Popen([sys.executable, "-m", "fpan.cli", "serve"], env=environment)
    try:
        _await_ready(process, url)
        yield Service(url, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    with httpx.Client(timeout=_START_TIMEOUT_S) as client:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise ServiceError(f"the service ended with status {process.returncode}: what it said is above")
            try:
                if client.get(f"{url}/v1/health/ready").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_S)
    raise ServiceError(f"the service was not ready within {_START_TIMEOUT_S:g} s")
