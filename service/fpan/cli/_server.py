"""The server that a command talks to: a running one, or one of its own that lives as long as the command."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import httpx

from fpan.client import Client, FpanError
from fpan.extras import how_to_install

READY_TIMEOUT_S = 120.0
"""How long a server of one's own may take to become ready; the models load meanwhile."""
STOP_TIMEOUT_S = 30.0
"""How long it may take to stop before it is killed; more than it gives running requests itself."""
SERVE = (sys.executable, "-m", "fpan.cli", "serve")
_LAUNCHER = Path(__file__).parents[1] / "serve/inference/triton_server/launch.py"
"""Starts a program that dies with its parent; a script of its own, of which nothing is imported here."""
_POLL_S = 0.1
_LAST_WORDS = 15
"""Lines of the server's log that are shown when it fails."""


class ServerFailed(Exception):
    """No server to talk to, or nothing to talk to it with; ``str()`` says why and what to do."""


def serve_main() -> Callable[[list[str]], object]:
    """The entry of the gateway.

    Raises:
        ServerFailed: the extra ``[serve]`` is not installed.
    """
    return _main_of("fpan.serve.main")


def worker_main() -> Callable[[list[str]], object]:
    """The entry of what runs jobs; raises as :func:`serve_main`."""
    return _main_of("fpan.serve.worker")


def _main_of(module: str) -> Callable[[list[str]], object]:
    with needs_server():
        found: Callable[[list[str]], object] = importlib.import_module(module).main
    return found


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """A block that imports what an extra brings.

    Args:
        extra: its name.
        what: it is for, the beginning of a sentence.

    Raises:
        ServerFailed: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "fpan":
            raise
        missing = f"{what} is not installed here ({error.name} is missing)"
        raise ServerFailed(f"{missing}: {how_to_install(extra)}") from error


def needs_server() -> AbstractContextManager[None]:
    """A block that imports what the extra ``[serve]`` brings; raises as :func:`needs`."""
    return needs("serve", "the server")


@contextmanager
def server(url: str | None, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of the server at ``url``, or, where that is None, of a server that ends with the block.

    Args:
        url: address of a running server.
        say: told what is going on, in one line.

    Raises:
        ServerFailed: there is none, or it does not start.
    """
    if url is not None:
        with Client(url) as client:
            _check(client)
            yield client
        return
    with ending_politely(), own_server(say) as client:
        yield client


@contextmanager
def own_server(say: Callable[[str], None]) -> Iterator[Client]:
    """A client of a server that is started here, ends with the block, and dies with this process in any case.

    Args:
        say: told what is going on, in one line.

    Raises:
        ServerFailed: it does not start.
    """
    serve_main()
    say("starting a server of its own")
    with (
        tempfile.TemporaryFile("w+") as log,
        _child(log) as (child, address),
        # Straight to this machine, whatever proxy the environment names.
        Client(address, transport=httpx.HTTPTransport()) as client,
    ):
        _await_ready(client, child, log)
        say(f"server ready at {address}")
        yield client


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a server of one's own gets of an environment: all but the settings of a server for others.

    Raises:
        ServerFailed: as :func:`serve_main`.
    """
    with needs_server():
        from fpan.serve.config import Settings
        from fpan.serve.setting_types import Mark, marked
    for_others = Settings.model_fields.keys() - marked(Settings, Mark.FOR_ONE_COMMAND)
    # As settings, variables are of either case.
    return {name: value for name, value in environment.items() if name.lower() not in for_others}


def _check(client: Client) -> None:
    try:
        health = client.health()
    except FpanError as error:
        raise ServerFailed(f"{error}; without --url and FPAN_URL a server is started here") from error
    if not health.live:
        raise ServerFailed(
            f"there is no face parsing server at {client.url}: {health.detail or 'its health is unknown'}"
        )


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def _child(log: IO[str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port, grpc_port = free_ports(2)
    # Killed, this command can stop nothing any more: then the kernel does.
    launcher = (sys.executable, str(_LAUNCHER), str(os.getpid())) if sys.platform == "linux" else ()
    command = [*launcher, *SERVE, "--bind-address", "127.0.0.1", "--port", str(port), "--grpc-port", str(grpc_port)]
    # A session of its own: Ctrl-C reaches this command alone, which then stops the server in order.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=own_environment(os.environ),
        start_new_session=True,
    )
    try:
        yield child, f"http://127.0.0.1:{port}"
    finally:
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def ending_politely() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that the server is stopped."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, unwind) for number in (getattr(signal, name) for name in names)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_ready(client: Client, child: subprocess.Popen[bytes], log: IO[str]) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    why = "it does not answer"
    while time.monotonic() < until:
        if child.poll() is not None:
            raise ServerFailed(f"the server ended with status {child.returncode} at its start:\n{_tail(log)}")
        try:
            health = client.health()
            if health.ready:
                return
            why = health.detail
        except FpanError:
            pass  # not listening yet
        time.sleep(_POLL_S)
    raise ServerFailed(f"the server is not ready after {READY_TIMEOUT_S:.0f} s ({why}):\n{_tail(log)}")


def _tail(log: IO[str]) -> str:
    log.flush()
    log.seek(0, os.SEEK_SET)
    return "".join(log.readlines()[-_LAST_WORDS:]).rstrip()
