"""A real Redis as a child process, that can be killed, paused and started again with what it had written down."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.service import free_ports

START_TIMEOUT_S = 20
_POLL_S = 0.01


class RedisServer:
    """A running `redis-server`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *self._flags]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_TIMEOUT_S
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:  # also while it reads what it had
                    assert time.monotonic() < until
                    assert self._process.poll() is None
                    time.sleep(_POLL_S)
                else:
                    return

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kills it, if it runs, and starts it with what it had."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """It answers nobody any more, and does not hang up either."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def keys(self, pattern: str) -> list[str]:
        """Keys that there are."""
        with redis.Redis(port=self.port) as client:
            return sorted(key.decode() for key in client.keys(pattern))

    def fields(self, key: str) -> list[str]:
        """Fields of a hash."""
        with redis.Redis(port=self.port) as client:
            return sorted(name.decode() for name in client.hkeys(key))

    def flush(self) -> None:
        """Forgets everything."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def dump(self) -> bytes:
        """All that it keeps: what it has written to its folder."""
        with redis.Redis(port=self.port) as client:
            client.execute_command("SAVE")
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


@contextlib.contextmanager
def running(*flags: str) -> Iterator[RedisServer]:
    """A Redis for as long as the block runs; ``flags`` are further ones of `redis-server`."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    with tempfile.TemporaryDirectory(prefix="fpan-redis-") as folder:
        server = RedisServer(Path(folder), *flags)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
