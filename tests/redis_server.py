"""A real Redis as a child process, that tests kill, pause and fill."""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

from tests.service import free_ports

START_TIMEOUT_S = 20
_FILLER = "filler:"
_ROOM = 256 * 1024
"""Bytes that are left for the filler."""


class RedisServer:
    """A Redis of its own on a free port, that keeps nothing on disk."""

    def __init__(self) -> None:
        [self.port] = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = redis.Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(redis.ConnectionError):
                if self.client.ping():
                    return
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends it as a power cut would; it may be paused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.client.close()

    def renew(self) -> None:
        """Whatever was done to it: from now on it runs, has room, and is empty."""
        if self._process is None:
            self.start()
        self.resume()
        self.client.config_set("maxmemory", 0)
        self.client.flushall()

    def pause(self) -> None:
        """From now on it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on, and answers what it was asked meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def fill(self) -> None:
        """Writes to it until it takes nothing more."""
        used = int(self.client.info("memory")["used_memory"])
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", used + _ROOM)
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for number in range(_ROOM):
                self.client.set(f"{_FILLER}{number}", b"x" * 1024)
            raise AssertionError("Redis took more than its maxmemory")
        self.client.config_set("maxmemory", used)  # so that what it frees by the way is no room

    def make_room(self) -> None:
        """Undoes :meth:`fill`."""
        self.client.config_set("maxmemory", 0)
        self.client.delete(*self.client.keys(f"{_FILLER}*"))

    def contents(self) -> bytes:
        """All keys and values."""
        keys = self.client.keys("*")
        return b"\n".join([*keys, *(self.client.get(key) or b"" for key in keys)])


@contextlib.contextmanager
def running() -> Iterator[RedisServer]:
    """A Redis; skips the test where none is installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server (Debian's package of that name) is not installed")
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()
