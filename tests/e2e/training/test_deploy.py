"""`make train-and-deploy PRESET=smoke`: from nothing to traffic, and back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fpan.registry import FolderStore, Registry
from fpan_training.data.folder import FaceFolder
from fpan_training.paper.pipeline import Paper
from fpan_training.release.deploy import SMOKE_GATES, Deploy
from fpan_training.release.gates import GateError
from fpan_training.release.register import Register
from PIL import Image

from tests.support import service as services
from tests.support.callers import asking, champion, settled, wait_for_champion

BACK_WITHIN_S = 60.0
PER_SECOND = 4.0


@pytest.fixture(scope="module")
def registry(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of its own, whose champion is version 1: a network that has trained for an epoch."""
    root = tmp_path_factory.mktemp("registry") / "models"
    Deploy(Paper(smoke_run, preset="smoke"), str(root)).prepare()
    assert FolderStore(root).aliases("segm").aliases == {"champion": 1}
    return root


@pytest.fixture(scope="module")
def service(registry: Path) -> Iterator[services.Service]:
    with services.running({"MODEL_REPOSITORY": str(registry)}) as running:
        yield running


def deploy(run: Path, registry: Path, url: str) -> list[str]:
    """The command; what make would do first is done."""
    flags = (f"RUN={run}", f"REGISTRY={registry}", f"URL={url}", "PRESET=smoke")
    return ["make", "--no-print-directory", "-o", ".venv-test/ready", "train-and-deploy", *flags]


@pytest.mark.timeout(600)
def test_version_2_answers_at_the_end_and_a_rollback_brings_version_1_back(
    smoke_run: Path, registry: Path, service: services.Service
) -> None:
    with asking(service.url, PER_SECOND) as traffic:
        done = subprocess.run(
            deploy(smoke_run, registry, service.url), cwd=services.ROOT, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "segm version 2 is champion, and answers at" in done.stdout
        settled(traffic)
        assert champion(service.url) == 2
        back = [sys.executable, "-m", "fpan.cli", "models", "rollback", "segm", "--repository", str(registry)]
        subprocess.run(back, check=True, timeout=60)
        began = time.monotonic()
        while champion(service.url) != 1:
            assert time.monotonic() - began < BACK_WITHIN_S
            time.sleep(0.02)
        settled(traffic)
    assert traffic.failures == []
    assert {version for _, version in traffic.answers} == {1, 2}


@pytest.mark.timeout(600)
def test_a_version_that_learnt_shuffled_labels_is_refused_and_the_champion_stays(
    smoke_run: Path, registry: Path, service: services.Service, tmp_path: Path
) -> None:
    store = FolderStore(registry)
    Register(
        smoke_run / "segm",
        smoke_run / "rendered",
        str(registry),
        data_licence="none",
        gates=SMOKE_GATES,
        allow_unmeasured=True,
    )()
    Registry(store).promote("segm", 2, "champion", "test")
    wait_for_champion(service.url, 2)
    before, versions, answering = store.aliases("segm"), store.versions("segm"), champion(service.url)
    worse = tmp_path / "worse"
    shutil.copytree(smoke_run, worse)
    for path in (worse / "occluded/masks").glob("*.png"):
        labels = np.array(Image.open(path))
        Image.fromarray(np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)).save(path)
    shutil.rmtree(worse / "segm")
    (worse / "done/segm.json").unlink()
    command = Deploy(Paper(worse, preset="smoke"), str(registry), url=(service.url,))
    with pytest.raises(GateError, match=r"mIoU: -0\.\d+ \(at least -0\.0200\)"):
        command()
    assert (store.aliases("segm"), store.versions("segm")) == (before, versions)
    assert champion(service.url) == answering


@pytest.mark.timeout(600)
def test_a_deployment_that_is_killed_goes_on_where_it_was(
    smoke_run: Path, registry: Path, tmp_path: Path, full: bool
) -> None:
    root = tmp_path / "models"
    shutil.copytree(registry, root)
    store = FolderStore(root)
    if len(store.versions("segm")) > 1:  # as it was before version 2 was published
        Registry(store).promote("segm", 1, "champion", "test")
        shutil.rmtree(root / "segm/2")
        for name in ("aliases.json", "history.jsonl"):
            (root / "segm" / name).unlink()
        Registry(store).promote("segm", 1, "champion", "test")
    (port,) = services.free_ports(1)
    command = deploy(smoke_run, root, f"http://127.0.0.1:{port}")
    steps = (
        lambda: any((root / "segm").glob(".writing-*")) or 2 in store.versions("segm"),
        lambda: store.aliases("segm").aliases == {"champion": 2},
    )
    for reached in steps if full else steps[1:]:  # crashes while a version is written have tests of their own
        process = subprocess.Popen(command, cwd=services.ROOT, start_new_session=True)
        until = time.monotonic() + 240
        while not reached():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with services.running({"MODEL_REPOSITORY": str(root), "PORT": str(port), "BACKEND": "in-process"}) as service:
        subprocess.run(command, cwd=services.ROOT, check=True, timeout=240)
        assert champion(service.url) == 2
        assert store.versions("segm") == [1, 2]
        assert Registry(store).store.leftovers("segm") == []
        Registry(store).rollback("segm", "champion", "test")
        assert store.aliases("segm").aliases == {"champion": 1}


def test_without_a_url_a_service_is_started_and_answers(smoke_run: Path, registry: Path) -> None:
    port, grpc_port = map(str, services.free_ports(2))
    chosen = {**os.environ, "PORT": port, "GRPC_PORT": grpc_port, "BACKEND": "in-process"}
    words = ("deploy", "--run", str(smoke_run), "--preset", "smoke", "--repository", str(registry))
    process = subprocess.Popen(
        [sys.executable, "-m", "fpan_training.cli", *words], env=chosen, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = ""
        while "is champion, and answers at" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert champion(f"http://127.0.0.1:{port}") == 2
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()


def test_the_smoke_data_show_nobody(smoke_run: Path) -> None:
    licence = json.loads((smoke_run / "rendered/dataset.json").read_text())["licence"]
    assert licence
    assert len(FaceFolder.open(smoke_run / "rendered", "val")) > 0
