"""The shared loop on the tiny data set: resuming, parameter groups, checkpoints, and whether it learns at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fpan_training.data import Augment, AugmentConfig, FaceFolder, SegmentationData, collate
from fpan_training.engine.checkpoint import save
from fpan_training.engine.loop import batches_of, fit
from fpan_training.engine.optimizer import parameter_groups
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.files import write_whole
from fpan_training.modules.segm import SegmConfig, SegmOutput, build
from fpan_training.modules.segm.evaluate import validate as validate_segm
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor, nn

_CLASSES = len(TAXONOMY)
_CONFIG = LoopConfig(
    epochs=4, batch_size=8, lr=3e-3, ema_decay=0.9, validate_every=2, workers=0, precision="32-true", accelerator="cpu"
)
_SMOKE_IOU = 0.7
"""Least validation IoU after the smoke training. It reaches 0.86; what does not learn stays under 0.2."""
_TIMES = {"seconds", "pictures_per_second"}


class _Small(nn.Module):
    """A network whose training draws random numbers and whose batch norm keeps state: all that resuming can lose."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2))
        self.head = nn.Conv2d(8, _CLASSES, 1)

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        return SegmOutput(self.head(self.body(images_bchw)))


class _PowerCut(Exception):
    pass


class _CutStep(SegmStep):
    """Breaks off at the first batch after ``batches``."""

    batches = 0

    def train(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        if self.batches == 0:
            raise _PowerCut
        self.batches -= 1
        return super().train(network, batch)


@pytest.fixture
def data(faces: FaceFolder) -> SegmentationData:
    return SegmentationData(faces, 32, Augment(TAXONOMY, 32), seed=0)


@pytest.fixture
def train(faces_root: Path, data: SegmentationData) -> Callable[..., Run]:
    """Trains the small network: ``train(folder, step, config)``."""
    val = SegmentationData(FaceFolder.open(faces_root, "val"), 32)

    def validate(average: nn.Module) -> dict[str, float]:
        return validate_segm(average, SegmStep(TAXONOMY), val, 19, None)

    def run(folder: Path, step: SegmStep | None = None, config: LoopConfig = _CONFIG, seed: int = 0) -> Run:
        torch.manual_seed(5)
        described = {"note": "small"}
        return fit(_Small(), step or SegmStep(TAXONOMY), data, validate, Run(folder), config, collate, described, seed)

    return run


def _rows(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in _TIMES} for row in run.history]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_continues_the_curve_exactly(train: Callable[..., Run], tmp_path: Path, workers: int) -> None:
    config = replace(_CONFIG, workers=workers)
    whole = train(tmp_path / "whole", config=config)
    cut = _CutStep(TAXONOMY)
    cut.batches = 2 * 4 + 1  # two epochs of four batches, and one batch of the third
    with pytest.raises(_PowerCut):
        train(tmp_path / "cut", cut, config)
    assert torch.load(tmp_path / "cut" / "last.pt", weights_only=True)["epoch"] == 2
    torch.manual_seed(99)  # nothing may hang on what was drawn before
    resumed = train(tmp_path / "cut", config=config)
    assert _rows(resumed) == _rows(whole)
    assert len(whole.history) == 4
    for name in ("last.pt", "best.pt"):
        a, b = (torch.load(tmp_path / folder / name, weights_only=True) for folder in ("whole", "cut"))
        for key, value in a["network"].items():
            assert torch.equal(value, b["network"][key]), (name, key)


def test_a_worker_process_changes_nothing(train: Callable[..., Run], tmp_path: Path) -> None:
    config = replace(_CONFIG, epochs=1)
    assert _rows(train(tmp_path / "0", config=config)) == _rows(
        train(tmp_path / "1", config=replace(config, workers=1))
    )


def test_another_seed_gives_another_curve(train: Callable[..., Run], tmp_path: Path) -> None:
    config = replace(_CONFIG, epochs=1)
    assert _rows(train(tmp_path / "0", config=config)) != _rows(train(tmp_path / "1", config=config, seed=1))


def test_a_finished_run_is_left_as_it_is(train: Callable[..., Run], tmp_path: Path) -> None:
    config = replace(_CONFIG, epochs=1)
    train(tmp_path, config=config)
    before = (tmp_path / "last.pt").read_bytes()
    cut = _CutStep(TAXONOMY)
    assert len(train(tmp_path, cut, config).history) == 1
    assert (tmp_path / "last.pt").read_bytes() == before


def test_the_log_has_a_row_an_epoch_and_figures_where_it_was_validated(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    run = train(tmp_path, config=replace(_CONFIG, epochs=3))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == run.history
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert ["score" in row for row in rows] == [False, True, True]
    assert run.best_score == max(rows[1]["score"], rows[2]["score"])
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "best.pt", "log.jsonl"}


def test_checkpoints_say_how_to_build_the_network_again(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train(tmp_path, config=replace(_CONFIG, epochs=1))
    best = torch.load(run.best, weights_only=True)
    assert best["note"] == "small"
    assert best["epoch"] == 1
    _Small().load_state_dict(best["network"])


def test_the_rate_warms_up_and_decays_to_almost_nothing(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train(tmp_path, config=replace(_CONFIG, validate_every=9))
    rates = [row["lr"] for row in run.history]
    assert rates == sorted(rates, reverse=True)
    # After the first of four epochs, power 0.9; the last step's rate is that of one step before the end.
    assert rates[0] == pytest.approx(_CONFIG.lr * (1 - 4 / 16) ** 0.9)
    assert rates[-1] == pytest.approx(_CONFIG.lr * (1 / 16) ** 0.9)


def test_too_few_pictures_for_a_batch_are_refused(train: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 pictures do not fill a batch of 64"):
        train(tmp_path, config=replace(_CONFIG, batch_size=64))


def test_a_loss_that_is_no_number_stops_the_run(train: Callable[..., Run], tmp_path: Path) -> None:
    class Broken(SegmStep):
        def train(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            return {"loss": super().train(network, batch)["loss"] * float("nan")}

    with pytest.raises(RuntimeError, match="non-finite"):
        train(tmp_path, Broken(TAXONOMY))
    assert not (tmp_path / "last.pt").exists()


def test_a_score_that_is_no_number_stops_the_run_and_says_where_to_look(data: SegmentationData, tmp_path: Path) -> None:
    def train(score: float, first_weight: float = 0.0) -> Run:
        def validate(network: nn.Module) -> dict[str, float]:
            next(network.parameters()).data[0] += first_weight
            return {"score": score, "auc": score}

        config = replace(_CONFIG, epochs=2)
        return fit(_Small(), SegmStep(TAXONOMY), data, validate, Run(tmp_path), config, collate, {})

    for score in ("nan", "-inf"):
        with pytest.raises(
            RuntimeError, match=rf"after epoch 2 is {score}.*look at the validation pictures.*'auc': {score}"
        ):
            train(float(score))
    with pytest.raises(RuntimeError, match=r"body\.0\.weight first: look at the losses in log\.jsonl"):
        train(float("nan"), float("inf"))
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1
    # Once the pictures are mended the run goes on.
    assert [row["epoch"] for row in train(0.5).history] == [1, 2]
    assert (tmp_path / "best.pt").is_file()


def test_groups_hold_every_parameter_once_with_its_rate_and_decay() -> None:
    network = build(SegmConfig(lite_fpn=LiteFpnConfig(widths=(8, 8, 8, 8, 8), pretrained=False)))
    groups = parameter_groups(network, LoopConfig(lr=1e-3, pretrained_lr=0.3, weight_decay=0.02))
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        rate = 3e-4 if name.startswith("encoder.") else 1e-3
        assert found[id(parameter)] == pytest.approx((rate, 0.02 if parameter.ndim > 1 else 0)), name


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    save(tmp_path / "last.pt", {"epoch": 1})
    with pytest.raises(AttributeError):
        save(tmp_path / "last.pt", {"epoch": 2, "unwritable": lambda: None})
    assert torch.load(tmp_path / "last.pt", weights_only=True) == {"epoch": 1}


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "log.jsonl", b"one\n")
    write_whole(tmp_path / "log.jsonl", b"two\n")
    assert (tmp_path / "log.jsonl").read_bytes() == b"two\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_batches_keep_order_and_the_rest() -> None:
    assert list(batches_of(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches_of(iter(()), 2)) == []


def test_a_smoke_training_learns_the_tiny_faces(faces_root: Path, tmp_path: Path) -> None:
    """The whole command, as it is run on real data: to a stated IoU."""
    settings = SegmSettings(
        segm=SegmConfig("lite_fpn", input_size=64, lite_fpn=LiteFpnConfig((16, 16, 16, 32, 32), dropout=0)),
        augment=AugmentConfig(p_large_rotation=0, rotation_deg=4, p_low_resolution=0, p_background=0),
        loop=replace(_CONFIG, epochs=9, batch_size=4, lr=1.5e-2, validate_every=3),
    )
    training = SegmTraining(data=(faces_root,), run=tmp_path, settings=settings)
    run = training()
    assert run.history[-1]["miou"] >= _SMOKE_IOU, run.history[-1]
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    best: dict[str, Any] = torch.load(run.best, weights_only=True)
    assert best["segm"]["architecture"] == "lite_fpn"
    assert best["segm"]["lite_fpn"]["pretrained"] is True
