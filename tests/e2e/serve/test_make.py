"""`make serve` itself, as a stranger runs it."""

import os
import signal
import subprocess
import time

import httpx
import pytest

from tests.support import processes
from tests.support.service import LAST_LINE, ROOT, free_ports

ENVIRONMENT_TIMEOUT_S = 280
READY_WITHIN_S = 90
"""Of a second start, with nothing to install."""


@pytest.fixture(scope="module")
def environment_made() -> None:
    """The first `make serve` makes the environment; the target alone does the same without starting anything."""
    made = subprocess.run(
        ["make", ".venv/ready"], cwd=ROOT, check=False, timeout=ENVIRONMENT_TIMEOUT_S, capture_output=True, text=True
    )
    errors = [line for line in made.stderr.splitlines() if not line.startswith("WARNING")]
    assert made.returncode == 0, "\n".join(errors[-20:])


@pytest.mark.timeout(ENVIRONMENT_TIMEOUT_S + 60)
def test_make_serve_is_ready_soon_answers_and_ends_on_ctrl_c(environment_made, astronaut_jpeg):
    port, grpc_port = map(str, free_ports(2))
    began = time.monotonic()
    made = subprocess.Popen(
        ["make", "serve", f"PORT={port}", f"GRPC_PORT={grpc_port}"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert made.stdout is not None
    with made.stdout:
        lines = []
        for line in made.stdout:
            lines.append(line)
            if line.startswith(LAST_LINE):
                break
        taken = time.monotonic() - began
        assert f"http://127.0.0.1:{port}/" in "".join(lines)
        below = processes.descendants(made.pid)
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/parse", content=astronaut_jpeg, timeout=60)
        assert len(answer.json()["faces"]) == 1
        os.killpg(made.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
        made.wait(30)
    assert taken < READY_WITHIN_S
    assert not [name for pid, name in below.items() if processes.alive(pid)]


def test_serving_environment_has_no_torch(environment_made):
    python = ROOT / ".venv" / "bin" / "python"
    found = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in found.stderr
