"""A service of one's own, for those who have none running."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def started(repository: str) -> Iterator[Service]:
    """Starts `fpan serve`, waits until it is ready, and ends it with the block.

    Its settings are environment variables as ever: ``PORT``, ``GRPC_PORT``, ...

    Args:
        repository: the model repository that it serves.

    Raises:
        ServiceError: it has ended, or takes too long.
    """
    port = os.environ.get("PORT") or _DEFAULT_PORT
    url = f"http://{_HOST}:{port}"
    with socket.socket() as taken:
        if taken.connect_ex((_HOST, int(port))) == 0:
            raise ServiceError(f"something answers at {url} already: name it with --url, or choose another PORT")
    process = subprocess.Popen(
        [sys.executable, "-m", "fpan.cli", "serve"], env={**os.environ, "MODEL_REPOSITORY": repository}
    )
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
