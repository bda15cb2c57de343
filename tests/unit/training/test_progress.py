"""What a run tells of itself while it trains: its pace, its end, and a short line an epoch."""

import re

import pytest
from fpan_training.engine import progress
from fpan_training.engine.progress import RunProgress
from rich.console import Console


class _Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "lr": 1e-3, "loss": 0.41234567, "ce": 0.3, "seconds": 9.0, "pictures_per_second": 12.345}


def test_the_pace_and_the_end_of_the_run_are_told_once_and_every_epoch_in_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = _Clock()
    with RunProgress("runs/mine", epochs=4, steps_per_epoch=15, batch_size=8, done=15, clock=clock) as run:
        for epoch in range(2, 5):
            for _ in range(15):
                clock.now += 3600 if clock.now == 0 else 2  # the first step starts the loaders
                run.step()
            run.epoch(_row(epoch), {"score": 0.5, "miou": 0.25, "f1/nose": 0.1} if epoch == 4 else {})
    first, pace, second, last = capsys.readouterr().out.splitlines()
    assert first == "epoch 2/4  loss 0.4123  12.3 pictures/s  1 min left"
    assert re.fullmatch(
        r"runs/mine: 4 pictures/s, 4 epochs of 15 steps; done in 48 s, at about \d{4}-\d\d-\d\d \d\d:\d\d", pace
    )
    assert second == "epoch 3/4  loss 0.4123  12.3 pictures/s  30 s left"
    assert last == "epoch 4/4  loss 0.4123  score 0.5  miou 0.25  12.3 pictures/s"


def test_in_a_terminal_a_bar_counts_the_steps_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=100))
    clock = _Clock()
    with RunProgress("runs/mine", epochs=200, steps_per_epoch=30, batch_size=8, done=60, clock=clock) as run:
        for _ in range(22):
            clock.now += 10
            run.step()
        assert list(progress.track(range(3), "validating")) == [0, 1, 2]  # a bar of its own beside the run's
    out, bar = capsys.readouterr()
    assert "pictures/s" not in out
    assert "82/6000" in bar
    assert "epoch 3/200" in bar
    assert "16 h 27 min" in bar


def test_nothing_is_told_of_a_finished_run_nor_by_further_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress("runs/mine", epochs=2, steps_per_epoch=2, batch_size=8, done=4):
        pass
    with RunProgress("runs/mine", epochs=2, steps_per_epoch=30, batch_size=8, done=0, shown=False) as run:
        for _ in range(30):
            run.step()
        run.epoch(_row(1), {})
    assert capsys.readouterr() == ("", "")
