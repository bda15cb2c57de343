"""A run that was cut off goes on to the bit as if it had not been, for every module of the paper."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fpan_training.engine import loop
from fpan_training.engine.loop import Module, fit
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from tests.unit.training.small_modules import MODULES, Noise, small

_CONFIG = LoopConfig(
    epochs=3, batch_size=4, lr=3e-3, ema_decay=0.5, validate_every=1, workers=0, precision="32-true", accelerator="cpu"
)
"""Two batches an epoch."""
_TIMES = {"seconds", "pictures_per_second"}


class _PowerCutError(Exception):
    pass


@dataclass
class _Step:
    """Breaks off once ``batches`` are done."""

    step: Module
    batches: float = float("inf")
    enlarged: float = 1.0
    """Factor on the loss."""

    def train(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        if self.batches == 0:
            raise _PowerCutError
        self.batches -= 1
        losses = self.step.train(network, batch)
        return losses | {"loss": self.enlarged * losses["loss"]}


def _train(name: str, folder: Path, config: LoopConfig = _CONFIG, **options: float) -> Run:
    module = small(name)

    def validate(average: nn.Module) -> dict[str, float]:
        return {"score": -sum(float(p.detach().double().abs().sum()) for p in average.parameters())}

    return fit(
        module.network, _Step(module.step, **options), module.data, validate, Run(folder), config, module.collate, {}
    )


def _rows(run: Run) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in run.history]


def _assert_the_same(resumed: Run, whole: Run) -> None:
    assert len(whole.history) == _CONFIG.epochs
    assert _rows(resumed) == _rows(whole)
    a, b = (torch.load(run.last, weights_only=True) for run in (resumed, whole))
    for part in ("network", "average"):
        assert a[part].keys() == b[part].keys()
        assert all(torch.equal(value, b[part][key]) for key, value in a[part].items())


@pytest.mark.parametrize("name", MODULES)
def test_a_resumed_run_continues_the_curve_exactly(name: str, tmp_path: Path) -> None:
    whole = _train(name, tmp_path / "whole")
    assert len({row["loss"] for row in whole.history}) == _CONFIG.epochs
    every_step = replace(_CONFIG, checkpoint_minutes=0)
    with pytest.raises(_PowerCutError):
        _train(name, tmp_path / "cut", every_step, batches=3)  # in the middle of the second epoch
    kept = torch.load(tmp_path / "cut/last.pt", weights_only=True)
    assert (kept["epoch"], kept["step"]) == (1, 1)
    _assert_the_same(_train(name, tmp_path / "cut"), whole)


def test_without_a_checkpoint_within_it_an_epoch_begins_anew(tmp_path: Path) -> None:
    whole = _train("dom stage 2", tmp_path / "whole")
    with pytest.raises(_PowerCutError):
        _train("dom stage 2", tmp_path / "cut", batches=3)
    kept = torch.load(tmp_path / "cut/last.pt", weights_only=True)
    assert (kept["epoch"], kept["step"], kept["sums"]) == (1, 0, {})
    _assert_the_same(_train("dom stage 2", tmp_path / "cut"), whole)


def test_an_epoch_that_goes_on_in_batches_of_another_size_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(_PowerCutError):
        _train("dom stage 2", tmp_path, replace(_CONFIG, checkpoint_minutes=0), batches=3)
    seen: list[int] = []

    class Data(Noise):
        def __getitem__(self, index: int) -> Any:
            seen.append(index)
            return super().__getitem__(index)

    module = small("dom stage 2")
    config = replace(_CONFIG, batch_size=2, lr=0.5, epochs=2)
    data = Data(module.data.draw)
    fit(module.network, module.step, data, lambda _: {"score": 0}, Run(tmp_path), config, module.collate, {})
    assert sorted(seen) == list(range(8, 16))
    # Rates are those of the new configuration too.
    groups = torch.load(tmp_path / "last.pt", weights_only=True)["optimizer"]["param_groups"]
    assert groups[0]["initial_lr"] == 0.5


def test_checkpoints_hold_tensors_and_plain_data_only(tmp_path: Path) -> None:
    run = _train("dom stage 2", tmp_path, replace(_CONFIG, epochs=1))
    for path in (run.last, run.best):
        assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []


def _in_float16(config: LoopConfig) -> Fabric:
    """What ``16-mixed`` is on a GPU; on CPUs Fabric takes bfloat16 in its place, PyTorch does not."""
    return Fabric(accelerator=config.accelerator, devices=1, plugins=MixedPrecision("16-mixed", "cpu"))


# The first step of all is left out as well, on which PyTorch remarks; the rate goes by batches, whether taken or not.
@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_a_resumed_run_in_float16_goes_on_with_the_scale_of_its_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "launch", _in_float16)
    whole = _train("segm", tmp_path / "whole", enlarged=100)
    with pytest.raises(_PowerCutError):
        _train("segm", tmp_path / "cut", batches=3, enlarged=100)
    kept = torch.load(tmp_path / "cut/last.pt", weights_only=True)["precision"]
    # Float16 has no room for the gradients times 2 ** 16, the first scale: steps were left out, and the run went on.
    assert kept["scale"] < 2.0**16
    _assert_the_same(_train("segm", tmp_path / "cut", enlarged=100), whole)


def test_a_loss_that_is_no_number_stops_a_run_in_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "launch", _in_float16)
    with pytest.raises(RuntimeError, match="epoch 1 is non-finite: lower `lr`"):
        _train("segm", tmp_path, enlarged=float("nan"))
    assert not (tmp_path / "last.pt").exists()


def test_a_run_can_go_on_in_another_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _train("segm", tmp_path, replace(_CONFIG, epochs=1))
    with monkeypatch.context() as changed:
        changed.setattr(loop, "launch", _in_float16)
        _train("segm", tmp_path, replace(_CONFIG, epochs=2))
    assert len(_train("segm", tmp_path).history) == 3
