"""A real Redis as a child process, that can be killed, paused, filled, and started again with what it had written."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.service import free_ports

START_TIMEOUT_S = 20
_POLL_S = 0.01
_FILLER = "filler:"
_ROOM = 256 * 1024
"""Bytes that are left for the filler."""


class RedisServer:
    """A Redis of its own on a free port. It writes down all that it is told, unless flags say otherwise."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.client = redis.Redis(port=self.port)
        """Of the test's own."""
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
        while True:
            with contextlib.suppress(redis.ConnectionError):  # also while it reads what it had
                if self.client.ping():
                    return
            assert self._process.poll() is None, "redis-server has ended"
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Ends it as a power cut would, if it runs; it may be paused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.client.close()

    def restart(self) -> None:
        """Kills it, if it runs, and starts it with what it had."""
        self.kill()
        self.start()

    def renew(self) -> None:
        """Whatever was done to it: from now on it runs, has room, and is empty."""
        if self._process is None:
            self.start()
        self.resume()
        self.client.config_set("maxmemory", 0)
        self.client.flushall()

    def pause(self) -> None:
        """From now on it takes connections, answers nobody, and does not hang up either."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on, and answers what it was asked meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def keys(self, pattern: str) -> list[str]:
        """Keys that there are."""
        return sorted(key.decode() for key in self.client.keys(pattern))

    def fields(self, key: str) -> list[str]:
        """Fields of a hash."""
        return sorted(name.decode() for name in self.client.hkeys(key))

    def flush(self) -> None:
        """Forgets everything."""
        self.client.flushall()

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
        """All keys, and all values that are strings."""
        keys = self.client.keys("*")
        return b"\n".join([*keys, *(self.client.get(key) or b"" for key in keys)])

    def rewrite(self) -> None:
        """Leaves nothing in its folder of what it has forgotten."""
        self.client.bgrewriteaof()
        while any(self.client.info("persistence")[f"aof_rewrite_{when}"] for when in ("in_progress", "scheduled")):
            time.sleep(_POLL_S)

    def dumped(self) -> bytes:
        """All keys, and all values, of whatever kind, as Redis would move them elsewhere."""
        keys = self.client.keys("*")
        return b"\n".join([*keys, *(self.client.dump(key) or b"" for key in keys)])

    def dump(self) -> bytes:
        """All that it keeps: what it has written to its folder."""
        self.client.execute_command("SAVE")
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


@contextlib.contextmanager
def running(*flags: str) -> Iterator[RedisServer]:
    """A Redis for as long as the block runs; ``flags`` are further ones of `redis-server`."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server (Debian's package of that name) is not installed")
    with tempfile.TemporaryDirectory(prefix="fpan-redis-") as folder:
        server = RedisServer(Path(folder), *flags)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def closed_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]
