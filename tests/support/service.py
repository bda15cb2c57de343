"""A real service as a child process: what the end-to-end tests talk to."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 90
LAST_LINE = "  networks"


@dataclass
class Service:
    """A running `fpan serve`."""

    process: subprocess.Popen[str]
    port: int
    grpc_port: int
    lines: list[str]
    """What it has printed so far."""
    started_after_s: float
    killed: bool = False

    @property
    def url(self) -> str:
        """Of HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def announced(self) -> list[str]:
        """What it printed when it was ready: the lines up to the one that names the networks."""
        last = next(i for i, line in enumerate(self.lines) if line.startswith(LAST_LINE))
        return self.lines[: last + 1]

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        self.killed = True

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def command(*flags: str) -> list[str]:
    """The command line of `fpan serve`."""
    return [sys.executable, "-m", "fpan.cli", "serve", *flags]


def environment(**settings: str) -> dict[str, str]:
    """The child's environment: this one's, the repository of this checkout, and ``settings``."""
    return {**os.environ, "MODEL_REPOSITORY": str(ROOT / "model_repository"), **settings}


@contextlib.contextmanager
def running(
    settings: Mapping[str, str] | None = None, flags: tuple[str, ...] = (), folder: Path = ROOT
) -> Iterator[Service]:
    """Starts a service on free ports in a working folder, waits until it says that it is ready, and stops it.

    Bytes of its output that are no UTF-8 are surrogates in ``lines``.
    """
    free = dict(zip(("PORT", "GRPC_PORT"), map(str, free_ports(2)), strict=True))
    chosen = environment(**{**free, **(settings or {})})
    port, grpc_port = int(chosen["PORT"]), int(chosen["GRPC_PORT"])
    began = time.monotonic()
    process = subprocess.Popen(
        command(*flags),
        env=chosen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Else one odd byte would end the reading, and a full pipe would stop the service; the bytes can be had again.
        errors="surrogateescape",
        cwd=folder,
    )
    lines: list[str] = []
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        _await_ready(process, lines)
        service = Service(process, port, grpc_port, lines, time.monotonic() - began)
        yield service
        if process.poll() not in (None, 0) and not service.killed:
            raise AssertionError(f"the service ended with {process.returncode}:\n" + "\n".join(lines))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(STOP_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()


def _read(process: "subprocess.Popen[str]", lines: list[str]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # closed by a test that killed it
        for line in process.stdout:
            lines.append(line.rstrip("\n"))


def _await_ready(process: "subprocess.Popen[str]", lines: list[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not any(line.startswith(LAST_LINE) for line in lines):
        if process.poll() is not None:
            raise AssertionError(f"the service ended with {process.returncode}:\n" + "\n".join(lines))
        if time.monotonic() > deadline:
            raise AssertionError(f"the service was not ready within {START_TIMEOUT_S} s:\n" + "\n".join(lines))
        time.sleep(0.05)
