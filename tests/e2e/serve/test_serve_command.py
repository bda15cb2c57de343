"""`fpan serve`: what it prints, how it refuses, how it ends."""

import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support import processes
from tests.support import service as services

READY_WITHIN_S = 90
"""Of a second start, with nothing to install."""


def refused(**settings: str) -> str:
    """What `fpan serve` says when it cannot start."""
    done = subprocess.run(
        services.command(), env=services.environment(**settings), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_addresses_are_printed_and_answer(service):
    text = "\n".join(service.announced)
    assert f"{service.url}/" in text
    assert f"127.0.0.1:{service.grpc_port}" in text
    assert re.search(r"networks +embedded Triton", text)
    assert httpx.get(f"{service.url}/v1/health/ready").json() == {"status": "ready"}


def test_no_process_of_it_leaves_a_core_when_it_crashes(service):
    """Nor gives one to a program that the system has for that: with 0 as the limit it would."""
    pid = service.process.pid
    family = {pid: "gateway", **processes.descendants(pid)}
    assert any("triton" in name for name in family.values())
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    for each in family:
        assert resource.prlimit(each, resource.RLIMIT_CORE) == ((0, 0) if hard == 0 else (1, 1)), family[each]


def test_taken_port_is_told_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = str(services.free_ports(1)[0])
        assert "PORT=" in refused(PORT=port, GRPC_PORT=other)
        assert "GRPC_PORT=" in refused(PORT=other, GRPC_PORT=port)


def test_missing_repository_is_told(tmp_path):
    port, grpc_port = map(str, services.free_ports(2))
    said = refused(PORT=port, GRPC_PORT=grpc_port, MODEL_REPOSITORY=str(tmp_path / "none"))
    assert "MODEL_REPOSITORY" in said


def test_changed_model_is_told(tmp_path):
    copy = tmp_path / "models"
    subprocess.run(["cp", "-r", str(services.ROOT / "model_repository"), str(copy)], check=True)
    with (copy / "detector" / "2" / "model.onnx").open("ab") as file:
        file.write(b"x")
    port, grpc_port = map(str, services.free_ports(2))
    assert "sha256" in refused(PORT=port, GRPC_PORT=grpc_port, MODEL_REPOSITORY=str(copy))


def test_unknown_value_names_the_setting():
    assert "PORT" in refused(PORT="eighty")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_everything_cleanly(number, astronaut_jpeg):
    with services.running() as service:
        assert service.started_after_s < READY_WITHIN_S
        with httpx.Client(base_url=service.url, timeout=60) as client:
            assert client.post("/v1/parse", content=astronaut_jpeg).status_code == 200
        assert list(Path("/dev/shm").glob(f"triton*_{service.process.pid}_*"))
        below = processes.descendants(service.process.pid)
        assert below
        assert service.stop(number) == 0
        assert not [name for pid, name in below.items() if processes.alive(pid)]
    assert not list(Path("/dev/shm").glob(f"triton*_{service.process.pid}_*"))


def test_in_process_serves_the_same_repository(astronaut_jpeg, service):
    with services.running({"BACKEND": "in-process"}) as alone:
        assert "in process" in "\n".join(alone.announced)
        here = httpx.post(f"{alone.url}/v1/parse", content=astronaut_jpeg, timeout=60).json()
    there = httpx.post(f"{service.url}/v1/parse", content=astronaut_jpeg, timeout=60).json()
    assert here["mask"] == there["mask"]
    assert here["faces"] == there["faces"]


def test_answers_on_a_kept_connection_do_not_wait_for_the_callers_ack(service):
    """Nagle's algorithm against delayed ACKs costs 40 ms a request."""
    with httpx.Client(base_url=service.url) as client:
        client.get("/v1/health/live")
        took = sorted(_timed(lambda: client.get("/v1/health/live")) for _ in range(9))
    assert took[0] < 0.035  # each would take longer


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
