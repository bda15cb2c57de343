"""The embedded server as a child process: its command line, its start and its end."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from fpan.serve.inference.triton_server.install import SHARED_MEMORY, Installation

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_LAUNCHER = Path(__file__).with_name("launch.py")
_TAIL_LINES = 20
_TABLE = ("|", "+")  # tables of its options, which would push the reason of an end out of its last words
_EXIT_TIMEOUT_S = 5
"""How long the server waits for running inferences when it is told to stop. The gateway has let its own end before."""
_KILL_AFTER_S = _EXIT_TIMEOUT_S + 5
_CLOSING_S = 1.0
"""How long it may take to end once its models are unloaded, in seconds."""
_POLL_S = 0.05
_OWN_USER_ALONE = 0o600
_SHARED_MEMORY_BYTES = 4 << 20
"""Shared memory that each model instance starts with; it grows as needed."""
_OPEN_APIS = frozenset({"health", "metadata", "inference"})
_APIS = ("health", "metadata", "inference", "shared-memory", "model-config", "model-repository", "statistics", "trace")
_RESTRICTED = ",".join([*(api for api in _APIS if api not in _OPEN_APIS), "logging"])
_TOKEN_KEY = "fpan-token"  # noqa: S105 - the name of a header


_Ports = tuple[int, int, int]  # gRPC, HTTP, metrics


class TritonError(Exception):
    """The embedded server did not start. The message says why, with the last lines of its log."""


class TritonServer:
    """A running server. It listens on the loopback interface only, and ends when this process ends."""

    def __init__(self, process: asyncio.subprocess.Process, ports: _Ports, token: str, region: str) -> None:
        self._process = process
        self._region = region
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reader = asyncio.create_task(self._read(), name="log of the embedded Triton")
        self.grpc_address, self.http_address, self.metrics_address = (f"{_HOST}:{port}" for port in ports)
        self.grpc_headers = {f"triton-grpc-protocol-{_TOKEN_KEY}": token}
        """Headers that open the restricted APIs over gRPC."""
        self.id = region
        """The name that it gives itself: tells it from another server that took its port."""
        self.http_headers = {_TOKEN_KEY: token}
        """The same over HTTP."""
        self._started = False
        self._expected = 0

    @classmethod
    async def spawn(cls, installation: Installation, tree: Path, models: Iterable[str], home: Path) -> Self:
        """Starts the process. It is not ready yet, and may end at once if it does not like something."""
        token = secrets.token_urlsafe(32)
        region = f"triton_fpan_{os.getpid()}_{secrets.token_hex(4)}_"
        ports = _free_ports()
        # In a session of its own: Ctrl-C must reach the gateway alone, which finishes what runs before it stops this.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())),
            *_command(installation, tree, models, home, ports, token, region),
            env=installation.environment(home),
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process, ports, token, region)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    @property
    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._tail)

    async def ended(self) -> int:
        """Waits for its end and returns its exit status."""
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):  # the pipe may be held open by a process that it left behind
            await asyncio.wait_for(asyncio.shield(self._reader), 1)
        return status

    def started(self, workers: int) -> None:
        """To be called once it is ready: from now on its complaints are logged as such, its processes are watched, and
        nobody but this user may read its shared memory.

        Before, it laments that it sees no GPU.

        Args:
            workers: how many Python processes compute its models; more are old ones that are about to end.
        """
        self._started = True
        self._expected = workers
        for path in self._regions():  # made readable for everybody, whatever the umask, and soon there are pictures
            with contextlib.suppress(FileNotFoundError):  # of a version that is being unloaded
                path.chmod(_OWN_USER_ALONE)

    @property
    def whole(self) -> bool:
        """Whether all Python processes that compute its models live.

        It goes on calling a model ready whose process died, though it answers with errors only.
        """
        return len(self._workers()) >= self._expected

    def _workers(self) -> list[int]:
        found: list[int] = []
        for children in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                found += filter(_lives, map(int, children.read_text().split()))
        return found

    async def stop(self, *, at_once: bool = False) -> None:
        """Ends it and everything it started, and gives its shared memory back. May be called again.

        Args:
            at_once: kills it; for one that is broken and would wait for itself.
        """
        if self.running and not at_once:
            self._process.terminate()
            await self._unloaded()
        # What is left of its group: after a crash its Python processes live on for a while.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reader
        for path in self._regions():
            path.unlink(missing_ok=True)

    def _regions(self) -> list[Path]:
        return list(SHARED_MEMORY.glob(f"{self._region}*"))

    async def _unloaded(self) -> None:
        """Waits until it has ended, or at least unloaded its models: its gRPC may take ten more seconds to close."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _KILL_AFTER_S
        while self.running and loop.time() < until:
            if self._expected and not self._workers() and not self._regions():
                until = min(until, loop.time() + _CLOSING_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _POLL_S)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line and not line.startswith(_TABLE):
                self._tail.append(line)
            complaint = self._started and line.startswith(("W", "E"))
            _log.log(logging.WARNING if complaint else logging.DEBUG, "triton: %s", line)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"  # a zombie is dead
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_ports() -> _Ports:
    """Three ports that nobody listens on; the server refuses port 0. Held together, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for s in sockets:
            s.bind((_HOST, 0))
        grpc, http, metrics = (s.getsockname()[1] for s in sockets)
        return grpc, http, metrics


def _command(
    installation: Installation,
    tree: Path,
    models: Iterable[str],
    home: Path,
    ports: _Ports,
    token: str,
    region: str,
) -> list[str]:
    grpc, http, metrics = ports
    return [
        str(installation.program),
        f"--model-repository={tree}",
        f"--id={region}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        f"--backend-directory={home / 'backends'}",
        f"--cache-directory={home / 'caches'}",
        *(f"--{api}-address={_HOST}" for api in ("grpc", "http", "metrics")),
        *(f"--grpc-port={grpc}", f"--http-port={http}", f"--metrics-port={metrics}"),
        # The Python backend runs code from the repository: nobody but us may load models or share memory. Whoever
        # may list this machine's processes can read the token; that is the operator's own side of the fence.
        f"--http-restricted-api={_RESTRICTED}:{_TOKEN_KEY}={token}",
        f"--grpc-restricted-protocol={_RESTRICTED}:{_TOKEN_KEY}={token}",
        "--allow-gpu-metrics=false",
        "--disable-auto-complete-config",
        "--exit-on-error=true",  # a model that does not load ends the start at once, with the reason in the log
        "--strict-readiness=true",
        f"--backend-config=python,shm-default-byte-size={_SHARED_MEMORY_BYTES}",
        f"--backend-config=python,shm-region-prefix-name={region}",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
    ]
