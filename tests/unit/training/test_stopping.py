"""Ctrl-C and SIGTERM end a run after the batch at work, with a checkpoint, one line and the status of the signal."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fpan_training import cli
from fpan_training.engine.loop import fit
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stopping import StopRequest, TrainingStopped
from torch import Tensor, nn

from tests.unit.training.small_modules import small

_CONFIG = LoopConfig(
    epochs=3, batch_size=4, lr=3e-3, ema_decay=0.5, validate_every=1, workers=0, precision="32-true", accelerator="cpu"
)
"""Two batches an epoch."""
_LONG = (
    "--loop.epochs=100000 --loop.batch-size=16 --loop.workers=1 --loop.precision=32-true --loop.accelerator=cpu"
    " --segm.input-size=32 --segm.lite-fpn.widths 8 8 8 8 8 --segm.lite-fpn.no-pretrained"
)
Call = Callable[[], None]


def _nothing() -> None:
    pass


class _Step:
    """Calls ``before`` ahead of the batch of this number."""

    def __init__(self, step: Any, batch: int, before: Call) -> None:
        self.step, self.left, self.before = step, batch, before

    def train(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        if self.left == 0:
            self.before()
        self.left -= 1
        return self.step.train(network, batch)


def _train(folder: Path, batch: int = -1, before: Call = _nothing, validating: Call = _nothing) -> Run:
    module = small("dom stage 2")

    def validate(average: nn.Module) -> dict[str, float]:
        validating()
        return {"score": float(sum(p.detach().double().abs().sum() for p in average.parameters()))}

    step = _Step(module.step, batch, before)
    return fit(module.network, step, module.data, validate, Run(folder), _CONFIG, module.collate, {})


def _send(number: int) -> Call:
    return lambda: os.kill(os.getpid(), number)


def _weights(run: Run) -> dict[str, Tensor]:
    return torch.load(run.last, weights_only=True)["network"]


@pytest.fixture
def handlers() -> Iterator[None]:
    """No handler of a test is left behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _train(tmp_path_factory.mktemp("whole"))


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("batch", "where"), [(2, "epoch 2/3, step 1"), (3, "epoch 2/3, step 2")], ids=["within an epoch", "at its end"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_batch_is_finished_and_the_run_goes_on_from_there(
    tmp_path: Path, whole: Run, number: int, batch: int, where: str
) -> None:
    with pytest.raises(TrainingStopped) as stopped:
        _train(tmp_path, batch, _send(number))
    assert stopped.value.number == number
    assert str(stopped.value) == f"stopped at {where}: the same command goes on from there"
    resumed = _train(tmp_path)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert [row["score"] for row in resumed.history] == [row["score"] for row in whole.history]
    assert all(torch.equal(value, _weights(whole)[name]) for name, value in _weights(resumed).items())


@pytest.mark.usefixtures("handlers")
def test_a_validation_is_not_waited_for_and_repeated_later(tmp_path: Path, whole: Run) -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the validation went on")

    with pytest.raises(TrainingStopped, match="epoch 1/3, step 2"):
        _train(tmp_path, validating=interrupted)
    validations: list[None] = []
    resumed = _train(tmp_path, validating=lambda: validations.append(None))
    assert len(validations) == 3
    assert [row["score"] for row in resumed.history] == [row["score"] for row in whole.history]


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_ends_the_batch_as_well(tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the batch went on")

    with pytest.raises(KeyboardInterrupt) as caught:
        _train(tmp_path, 0, twice)
    assert type(caught.value) is KeyboardInterrupt
    assert not (tmp_path / "last.pt").exists()


def test_a_signal_that_is_ignored_stays_so_and_other_threads_train_without(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest.listening() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.number == 0
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere() -> None:
        with StopRequest.listening() as stop:
            numbers.append(stop.number)

    numbers: list[int] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert numbers == [0]


def test_the_command_tells_in_one_line_and_ends_with_the_signals_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(error: BaseException) -> tuple[object, str]:
        def command() -> None:
            raise error

        monkeypatch.setattr(cli, "read", lambda words: command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    assert run(TrainingStopped(signal.SIGTERM, "stopped at epoch 1")) == (143, "fpan-train: stopped at epoch 1\n")
    assert run(TrainingStopped(signal.SIGTERM, "")) == (0, "")
    assert run(KeyboardInterrupt()) == (130, "fpan-train: stopped\n")


def test_ctrl_c_ends_a_training_and_its_loader_with_one_line(faces_root: Path, tmp_path: Path) -> None:
    words = ["train", "segm", "--data", str(faces_root), "--run", str(tmp_path / "run"), *_LONG.split()]
    training = subprocess.Popen(
        [sys.executable, "-m", "fpan_training.cli", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert training.stdout is not None
    assert any("epoch 1/" in line for line in training.stdout)
    os.killpg(training.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 130, errors
    (line,) = errors.splitlines()
    assert line.startswith("fpan-train: stopped at ")
    assert line.endswith(": the same command goes on from there")
    assert (tmp_path / "run/last.pt").is_file()


def test_a_process_that_loads_outlives_a_signal_to_all_but_not_its_run() -> None:
    code = (
        "import os, signal, sys, time; from importlib.util import *\n"
        f"spec = spec_from_file_location('stopping', {sys.modules[StopRequest.__module__].__file__!r})\n"
        "stopping = module_from_spec(spec); sys.modules['stopping'] = stopping; spec.loader.exec_module(stopping)\n"
        "stopping._WORKER_GRACE_S = 1; stopping.outlive_signals(0)\n"
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM); print('on'); sys.stdout.flush()\n"
        "time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n"), done.stderr
