"""Versions are exchanged under a running service, its Triton included, and no request notices."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from fpan.contract import GOLDEN_FILE, GoldenPictures
from fpan.registry import FolderStore, Registry
from fpan.registry.replicas import Replicas, promote_everywhere

from tests import service as services
from tests.known_face import file_of
from tests.networks import SIZE, pictures, publish_saying

PICTURE = file_of(np.full((64, 64, 3), 90, np.uint8))
VERSIONS = 3
COUNTS = {False: (3, 1), True: (10, 3)}
"""Swaps and rollbacks under traffic, in short and with ``--full``."""
BACK_WITHIN_S = 2.0
CALLERS = 4
MEASURE_S = 2.0


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


@dataclass
class Traffic:
    """What callers were told."""

    answers: list[tuple[int, int]] = field(default_factory=list)
    """The label of the pixels, and the version that the answer names."""
    failures: list[str] = field(default_factory=list)

    def ask(self, client: httpx.Client) -> None:
        """One request: the one class that its one face has, and who says so."""
        try:
            answer = client.post("/v1/parse", params={"faces": "full"}, content=PICTURE)
            answer.raise_for_status()
            told = answer.json()
            ((label,),) = [[part["id"] for part in face["parts"]] for face in told["faces"]]
            self.answers.append((label, told["model"]["version"]))
        except Exception as error:  # whatever goes wrong is a failed request
            self.failures.append(repr(error))


@contextmanager
def asking(url: str, per_second: float) -> Iterator[Traffic]:
    """Sends requests at a rate, whether or not earlier ones have been answered, until the block ends."""
    traffic, over = Traffic(), threading.Event()
    with httpx.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(32) as pool:

        def send() -> None:
            due = time.monotonic()
            while not over.is_set():
                pool.submit(traffic.ask, client)
                due += 1 / per_second
                time.sleep(max(0.0, due - time.monotonic()))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield traffic
        finally:
            over.set()
            sender.join()


def capacity(url: str) -> float:
    """Requests a second that callers get who ask as soon as they are answered."""
    traffic, until = Traffic(), time.monotonic() + MEASURE_S
    with httpx.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(CALLERS) as pool:

        def ask() -> None:
            while time.monotonic() < until:
                traffic.ask(client)

        list(pool.map(lambda _: ask(), range(CALLERS)))
    assert not traffic.failures
    return len(traffic.answers) / MEASURE_S


def test_no_request_is_lost_over_swaps_and_rollbacks(root: Path, full: bool) -> None:
    swaps, rollbacks = COUNTS[full]
    with services.running({"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}) as service:
        rate, took = capacity(service.url) / 2, []
        with asking(service.url, rate) as traffic:
            registry, replicas = Registry(FolderStore(root)), Replicas([service.url])
            for swap in range(1, swaps + 1):  # each loads a version that was not, beside two that are
                promote_everywhere(registry, "segm", swap % VERSIONS + 1, "champion", "test", replicas)
                asked = len(traffic.answers)
                while len(traffic.answers) < asked + CALLERS:
                    time.sleep(0.01)
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
        assert [(label, version) for label, version in traffic.answers if label != version] == []
        assert {version for _, version in traffic.answers} == {1, 2, 3}


def champion(url: str) -> int:
    return int(httpx.get(f"{url}/v1/models/segm").json()["version"])


def test_a_promotion_waits_for_a_gateway_that_starts_in_the_middle(root: Path) -> None:
    quick = {"MODEL_REPOSITORY": str(root), "BACKEND": "triton", "RUNTIME_THREADS": "1"}
    port, grpc_port = map(str, services.free_ports(2))
    with services.running(quick) as first, ThreadPoolExecutor(1) as pool:
        late = f"http://127.0.0.1:{port}"
        promoting = pool.submit(fpan_models, root, "promote", "segm", 2, "--url", first.url, "--url", late)
        while champion(first.url) != 2:
            time.sleep(0.05)
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


def wait_for_champion(url: str, version: int) -> None:
    until = time.monotonic() + 10
    while champion(url) != version:
        assert time.monotonic() < until
        time.sleep(0.05)
