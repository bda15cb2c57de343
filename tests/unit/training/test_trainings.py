"""What the training of every module does alike: files, resuming, resume points, presets and options."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from fpan_training import cli
from fpan_training.commands import COMMANDS
from fpan_training.data.folder import DataError
from fpan_training.engine.resume_point import ResumePoint
from fpan_training.engine.run import Run
from fpan_training.face3d.rendered import Render
from fpan_training.modules.lom.clean import CleanConfig
from fpan_training.modules.training import Training

MODULES = ("segm", "lom", "dom", "uvm", "ppm")
NEED_LANDMARKS = ("lom", "uvm", "ppm")
ASK_FOR_CLEAN = ("lom", "dom")
_TIMES = {"seconds", "pictures_per_second"}


class _PowerCut(Exception):
    pass


@dataclass(frozen=True)
class _Trained:
    name: str
    training: Training
    run: Run


def _kind(name: str) -> type[Training]:
    return COMMANDS[f"train {name}"].load()


def _rows(run: Run) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in run.history]


def _longer(training: Training, epochs: int) -> Training:
    """With so many epochs in the last stage."""
    stage = training.stages[-1]
    loop = replace(getattr(training.settings, stage), epochs=epochs)
    return replace(training, settings=replace(training.settings, **{stage: loop}))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of rendered faces, 10 to train on; ``faces/`` beside it has their landmarks."""
    root = Render(tmp_path_factory.mktemp("rendered") / "people", 12, seed=1, size=64)()
    (root.parent / "faces").mkdir()
    (root / "faces").rename(root.parent / "faces" / root.name)
    return root


@pytest.fixture(scope="module", params=MODULES)
def trained(request: pytest.FixtureRequest, rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> _Trained:
    """A training of two epochs a stage, done."""
    kind = _kind(request.param)
    settings = kind.presets["smoke"]
    short = {
        stage: replace(getattr(settings, stage), epochs=2, batch_size=4, validate_every=1) for stage in kind.stages
    }
    training = kind(
        (rendered,),
        tmp_path_factory.mktemp(request.param) / "run",
        rendered.parent / "faces",
        settings=replace(settings, **short),
        # The labels of rendered people do not tell.
        **({"clean": CleanConfig(clean_data=(rendered.name,))} if request.param in ASK_FOR_CLEAN else {}),
    )
    return _Trained(request.param, training, training())


def test_it_leaves_checkpoints_log_curve_contact_sheet_and_configuration(trained: _Trained) -> None:
    for stage in trained.training.stages:
        folder = trained.training.folder(stage)
        for name in ("best.pt", "last.pt", "log.jsonl", "curve.png", "contact.png"):
            assert (folder / name).stat().st_size > 0, (stage, name)
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == [1, 2]
        assert all(torch.isfinite(torch.tensor(list(row.values()))).all() for row in rows)
        described = torch.load(folder / "best.pt", weights_only=True)
        assert (described["stage"], trained.name in described) == (stage, True)
    assert trained.run.folder == trained.training.run


def test_its_configuration_has_options_and_settings_and_no_place_of_this_machine(trained: _Trained) -> None:
    text = (trained.training.run / "config.json").read_text()
    config = json.loads(text)
    assert (config["data"], config["run"], config["faces"]) == (["people"], "run", "faces")
    assert (config["preset"], config["seed"]) == ("smoke", 0)
    assert {trained.name, *trained.training.stages} - {"dom"} <= config.keys()
    assert str(trained.training.run.parent) not in text


def test_a_second_call_changes_nothing(trained: _Trained) -> None:
    files = [trained.training.folder(stage) / "last.pt" for stage in trained.training.stages]
    before = [file.read_bytes() for file in files]
    assert _rows(trained.training()) == _rows(trained.run)
    assert [file.read_bytes() for file in files] == before


def test_one_that_was_cut_off_ends_as_if_it_had_not_been(
    trained: _Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained.training.folder(trained.training.stages[0])
    optimizer = torch.load(first / "last.pt", weights_only=True)["optimizer"]["state"]
    left = [int(next(iter(optimizer.values()))["step"]) - 1]  # to the last batch of the first stage
    training, whole = replace(trained.training, run=tmp_path / "run"), torch.optim.AdamW.step

    def cut(self: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        if left[0] == 0:
            raise _PowerCut
        left[0] -= 1
        return whole(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", cut)
        with pytest.raises(_PowerCut):
            training()
    torch.manual_seed(99)  # nothing may hang on what was drawn before
    resumed = training()
    assert _rows(resumed) == _rows(trained.run)
    a, b = (torch.load(run.last, weights_only=True)["network"] for run in (resumed, trained.run))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_it_goes_on_elsewhere_from_a_resume_point_and_needs_no_earlier_stage(trained: _Trained, tmp_path: Path) -> None:
    file = ResumePoint(trained.training.run, tmp_path / "point.pt")()
    there = replace(trained.training, run=tmp_path / "there", resume_from=file)
    moved = _longer(there, 3)()
    assert moved.history[:2] == trained.run.history
    assert len(moved.history) == 3
    assert not any((there.folder(stage) / "last.pt").exists() for stage in there.stages[:-1])
    assert moved.best.is_file()


@pytest.mark.parametrize("name", MODULES)
def test_presets_give_all_options_their_defaults(name: str) -> None:
    kind = _kind(name)
    assert list(kind.presets) == ["smoke", "cpu", *(["full"] if name == "lom" else []), "paper"]
    assert kind((Path("a"),), Path("r")).settings == kind.presets["cpu"]
    stage = kind.stages[-1]
    for preset, settings in kind.presets.items():
        assert settings.preset == preset
        words = f"train {name} --data a --run r --preset {preset} --{stage}.epochs 7 --seed 3".split()
        read = cli.read(words)
        assert read.settings == _longer(kind(("a",), Path("r"), settings=settings), 7).settings
        assert (read.seed, read.run) == (3, Path("r"))


@pytest.mark.parametrize("name", NEED_LANDMARKS)
def test_landmarks_that_are_needed_are_asked_for(name: str, rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--faces is needed"):
        _kind(name)((rendered,), tmp_path / "run", settings=_kind(name).presets["smoke"])()


@pytest.mark.parametrize("name", ["lom", "dom", "uvm", "ppm"])
def test_another_modules_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    torch.save({"segm": {}, "network": {}}, tmp_path / "best.pt")
    model = import_module(f"fpan_training.modules.{name}.model")
    with pytest.raises(DataError, match=f"no checkpoint of {name.upper()}: .*`fpan-train train {name}`"):
        model.load(tmp_path / "best.pt")
