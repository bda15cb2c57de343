"""Versions are exchanged under a running service, its Triton included, and no request notices."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import GOLDEN_FILE, GoldenPictures
from fpan.registry import FolderStore, Registry
from fpan.registry.replicas import Replicas, promote_everywhere

from tests.support import service as services
from tests.support.callers import asking, capacity, champion, settled, wait_for_champion
from tests.support.networks import SIZE, pictures, publish_saying
from tests.support.processes import descendants

VERSIONS = 3
COUNTS = {False: (3, 1), True: (10, 3)}
"""Swaps and rollbacks under traffic, in short and with ``--full``."""
BACK_WITHIN_S = 60.0
STARTED_WORKERS = 2
"""Of the embedded Triton: for the detector and the champion."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The shipped detector, and three versions of a network that gives every pixel its own version's number."""
    root = tmp_path / "models"
    shutil.copytree(services.ROOT / "model_repository/detector", root / "detector")
    for label in range(1, VERSIONS + 1):
        publish_saying(root, label)
    Registry(FolderStore(root)).promote("segm", 1, "champion", "test")
    return root


def fpan_models(root: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fpan.cli", "models", *map(str, words), "--repository", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_no_request_is_lost_over_swaps_and_rollbacks(root: Path, full: bool) -> None:
    swaps, rollbacks = COUNTS[full]
    with services.running({"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}) as service:
        rate, took = capacity(service.url) / 2, []
        with asking(service.url, rate) as traffic:
            registry, replicas = Registry(FolderStore(root)), Replicas([service.url])
            for swap in range(1, swaps + 1):  # each loads a version that was not, beside two that are
                promote_everywhere(registry, "segm", swap % VERSIONS + 1, "champion", "test", replicas)
                settled(traffic)
            for _ in range(rollbacks):
                before = champion(service.url)
                registry.rollback("segm", "champion", "test")
                began = time.monotonic()
                while champion(service.url) == before:
                    time.sleep(0.01)
                took.append(time.monotonic() - began)
        assert took[0] < BACK_WITHIN_S  # the former champion was loaded; those before it had to be again
        assert traffic.failures == []
        assert len(traffic.answers) > swaps + rollbacks
        assert [told for told in traffic.answers if told[0] != {told[1]}] == []
        assert {version for _, version in traffic.answers} == {1, 2, 3}


def test_a_promotion_waits_for_a_gateway_that_starts_in_the_middle(root: Path) -> None:
    quick = {"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}
    port, grpc_port = map(str, services.free_ports(2))
    with services.running(quick) as first, ThreadPoolExecutor(1) as pool:
        late = f"http://127.0.0.1:{port}"
        promoting = pool.submit(fpan_models, root, "promote", "segm", 2, "--url", first.url, "--url", late)
        wait_for_champion(first.url, 2)
        assert not promoting.done()
        with services.running({**quick, "PORT": port, "GRPC_PORT": grpc_port}):
            done = promoting.result()
            assert (done.returncode, champion(late)) == (0, 2), done.stderr
        assert "champion is version 2, was version 1\nevery gateway has followed" in done.stdout


def test_a_promotion_that_one_gateway_does_not_follow_is_taken_back(root: Path) -> None:
    (port,) = services.free_ports(1)
    nobody = f"http://127.0.0.1:{port}"
    with services.running({"MODEL_REPOSITORY": str(root), "BACKEND": "in-process", "RUNTIME_THREADS": "1"}) as service:
        done = fpan_models(root, "promote", "segm", 2, "--url", service.url, "--url", nobody, "--timeout", 2)
        assert done.returncode == 1
        assert f"{nobody} does not answer" in done.stderr
        assert "It was taken back: champion is version 1 again" in done.stderr
        assert FolderStore(root).aliases("segm").aliases == {"champion": 1}
        wait_for_champion(service.url, 1)
        assert fpan_models(root, "promote", "segm", 2, "--url", service.url).returncode == 0
        again = fpan_models(root, "promote", "segm", 2, "--url", service.url, "--url", nobody, "--timeout", 2)
        assert (again.returncode, "Version 2 was champion already, and stays so" in again.stderr) == (1, True)
        assert FolderStore(root).aliases("segm").aliases == {"champion": 2}


def test_without_a_champion_nothing_moves_unless_every_gateway_says_what_answers(root: Path) -> None:
    (port,) = services.free_ports(1)
    for name in ("aliases.json", "history.jsonl"):
        (root / "segm" / name).unlink()
    with services.running({"MODEL_REPOSITORY": str(root), "BACKEND": "in-process", "RUNTIME_THREADS": "1"}) as service:
        done = fpan_models(root, "promote", "segm", 1, "--url", service.url, "--url", f"http://127.0.0.1:{port}")
        assert (done.returncode, "which version answers now cannot be told" in done.stderr) == (1, True)
        assert FolderStore(root).aliases("segm").aliases == {}
        assert fpan_models(root, "promote", "segm", 1, "--url", service.url).returncode == 0
        assert fpan_models(root, "rollback", "segm", "--url", service.url).returncode == 0
        assert champion(service.url) == VERSIONS


def test_a_promotion_of_a_version_that_fails_its_golden_pictures_is_taken_back(root: Path, tmp_path: Path) -> None:
    path = tmp_path / GOLDEN_FILE
    GoldenPictures(pictures(2), np.full((2, SIZE, SIZE), 7, np.uint8)).write(path)
    failing = publish_saying(root, 4, {GOLDEN_FILE: path})
    with services.running({"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}) as service:
        done = fpan_models(root, "promote", "segm", failing.version, "--url", service.url)
        assert done.returncode == 1
        assert "golden pictures" in done.stderr
        assert "champion is version 1 again" in done.stderr
        wait_for_champion(service.url, 1)


def test_a_gateway_that_is_killed_while_it_loads_a_version_serves_it_when_it_comes_back(root: Path) -> None:
    settings = {"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}
    with services.running(settings) as service:
        Registry(FolderStore(root)).promote("segm", 2, "champion", "test")
        until = time.monotonic() + 60
        while not loading(service):
            assert time.monotonic() < until
            time.sleep(0.002)
        service.kill()
    with services.running(settings) as service:
        assert champion(service.url) == 2
        Registry(FolderStore(root)).rollback("segm", "champion", "test")
        wait_for_champion(service.url, 1)


def loading(service: services.Service) -> bool:
    """Whether the gateway's Triton is at work on another version: it has more than the processes of its start."""
    workers = [name for name in descendants(service.process.pid).values() if name.startswith("triton_python")]
    return len(workers) > STARTED_WORKERS
