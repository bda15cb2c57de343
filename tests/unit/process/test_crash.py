"""A crash leaves no memory on disk."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fpan.serve.worker import READY

from tests.support.jobs import SECRET
from tests.support.redis_server import RedisServer

PATTERN = Path("/proc/sys/kernel/core_pattern")


def crashed(folder: Path, begin: str) -> list[Path]:
    """What is left by a process that may leave a core, does what it is told, and crashes together with a child."""
    allow = "import os, resource; hard = resource.getrlimit(resource.RLIMIT_CORE)[1]; "
    allow += "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)); "
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os; os.abort()']); "
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", allow + begin + child + "os.abort()"], cwd=folder, check=False)
    assert done.returncode == -signal.SIGABRT
    return list(folder.iterdir())


def test_neither_a_process_nor_its_children_leave_a_core(tmp_path: Path) -> None:
    pattern = PATTERN.read_text().strip() if PATTERN.exists() else "|"
    if pattern.startswith(("|", "/", "@")) or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this system leaves no cores beside the processes that crash")
    assert crashed(tmp_path / "without", "")
    assert not crashed(tmp_path / "with", "from fpan.serve.process import leave_no_core; leave_no_core(); ")


def test_a_worker_leaves_none(redis: RedisServer) -> None:
    settings = {"REDIS_JOBS_URL": redis.url, "JOBS_SECRET": SECRET, "WORKER_GATEWAY_URL": "http://127.0.0.1:9"}
    with subprocess.Popen(
        [sys.executable, "-m", "fpan.cli", "worker"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        assert READY in worker.stdout.readline()
        limits = resource.prlimit(worker.pid, resource.RLIMIT_CORE)
        worker.terminate()
    assert max(limits) <= 1
