"""A run as one small file: what it holds, and how a run goes on from it where nothing else of it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fpan_training.engine.loop import fit
from fpan_training.engine.resume_point import ResumePoint, bring_resume_point
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from torch import Tensor, nn

from tests.unit.training.small_modules import small

_CONFIG = LoopConfig(
    epochs=4, batch_size=4, lr=3e-3, ema_decay=0.5, validate_every=1, workers=0, precision="32-true", accelerator="cpu",
    rewarm_steps=2,
)  # fmt: skip
"""Two batches an epoch."""


class _PowerCut(Exception):
    pass


def _train(folder: Path, config: LoopConfig = _CONFIG, score: float = 0.0, cut_after: int = -1) -> Run:
    """Scores fall from ``score`` on."""
    module, run, left = small("dom stage 2"), Run(folder), [cut_after]
    train = module.step.train

    class Step:
        def train(self, network: nn.Module, batch: object) -> dict[str, Tensor]:
            if left[0] == 0:
                raise _PowerCut
            left[0] -= 1
            return train(network, batch)

    def validate(average: nn.Module) -> dict[str, float]:
        return {"score": score - len(run.history)}

    return fit(module.network, Step(), module.data, validate, run, config, module.collate, {"note": "small"})


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was cut off after the first of the two batches of its third epoch."""
    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(_PowerCut):
        _train(folder, replace(_CONFIG, checkpoint_minutes=0), cut_after=5)
    return Run(folder)


@pytest.fixture(scope="module")
def point(cut: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ResumePoint(cut.folder, tmp_path_factory.mktemp("point") / "run.pt")()


def test_it_holds_the_averaged_weights_in_float16_and_how_far_the_run_has_come(cut: Run, point: Path) -> None:
    assert torch.serialization.get_unsafe_globals_in_checkpoint(point) == []
    last, kept = (torch.load(path, weights_only=True) for path in (cut.last, point))
    assert (kept["epoch"], kept["step"], kept["note"], kept["history"]) == (2, 1, "small", last["history"])
    assert len(kept["history"]) == 2
    for name, value in kept["network"].items():
        average = last["average"][f"module.{name}"]
        assert value.dtype == (torch.float16 if average.ndim > 1 and average.is_floating_point() else average.dtype)
        assert torch.equal(value, average.to(value.dtype)), name
    assert point.stat().st_size < cut.last.stat().st_size / 5


def test_a_run_goes_on_from_it_with_a_short_warm_up(cut: Run, point: Path, tmp_path: Path) -> None:
    bring_resume_point(point, {"loop": tmp_path})
    run = _train(tmp_path, score=-7.0)
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    assert run.history[:2] == torch.load(cut.last, weights_only=True)["history"]
    # The sixth of eight steps (power 0.9) ends the third epoch; by then the warm-up of two steps is over.
    assert run.history[2]["lr"] == pytest.approx(_CONFIG.lr * (1 - 6 / 8) ** 0.9)
    assert run.history[3]["lr"] == pytest.approx(_CONFIG.lr * (1 / 8) ** 0.9)
    slow = _train_from(point, tmp_path / "slow", replace(_CONFIG, rewarm_steps=200))
    assert slow.history[2]["lr"] == pytest.approx(_CONFIG.lr * (1 - 6 / 8) ** 0.9 * 2 / 200)
    # What was better before has no weights here: the best of these epochs counts.
    assert torch.load(run.best, weights_only=True)["epoch"] == 3
    assert run.best_score == run.history[2]["score"] < run.history[0]["score"]


def _train_from(point: Path, folder: Path, config: LoopConfig = _CONFIG, cut_after: int = -1) -> Run:
    bring_resume_point(point, {"loop": folder})
    return _train(folder, config, cut_after=cut_after)


def test_such_a_run_resumes_exactly_too(point: Path, tmp_path: Path) -> None:
    config = replace(_CONFIG, epochs=6, rewarm_steps=5)
    whole = _train_from(point, tmp_path / "whole", config)
    with pytest.raises(_PowerCut):
        _train_from(point, tmp_path / "again", replace(config, checkpoint_minutes=0), cut_after=2)
    again = _train_from(point, tmp_path / "again", config)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]
    assert [row["lr"] for row in again.history] == [row["lr"] for row in whole.history]
    a, b = (torch.load(run.last, weights_only=True)["network"] for run in (again, whole))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_what_cannot_go_on_is_told(cut: Run, point: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name the folder of a run"):
        ResumePoint(tmp_path)()
    with pytest.raises(ValueError, match="is no resume point: `fpan-train resume-point` makes one"):
        bring_resume_point(cut.best, {"loop": tmp_path})
    with pytest.raises(ValueError, match="another module"):
        bring_resume_point(point, {"landmarks": tmp_path})
    bring_resume_point(point, {"loop": tmp_path})
    with pytest.raises(ValueError, match="of a run that is done: it has 2 of 2 epochs"):
        _train(tmp_path, replace(_CONFIG, epochs=2))
    other = small("dom stage 1")
    with pytest.raises(ValueError, match=r"the weights in .*resume_fp16\.pt are another network's"):
        fit(nn.Linear(1, 1), other.step, other.data, lambda _: {}, Run(tmp_path), _CONFIG, other.collate, {})
