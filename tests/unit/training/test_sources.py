"""What a version was made from: data sets, backgrounds and occluders, and the terms of all of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import TrainingData
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import DatasetFile, write_dataset_file
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import SegmConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.sources import Used, read_sources, sources_of
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.unet import UNetConfig
from fpan_training.release.register import Register
from PIL import Image

from tests.unit.training.conftest import SIDE


@pytest.fixture
def training(faces_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmTraining:
    """A training of one epoch with two backgrounds, of which one is for validation, and a hand."""
    monkeypatch.setenv("FPAN_RUNS", str(tmp_path / "runs"))
    backgrounds, hands = tmp_path / "walls", tmp_path / "things" / "hands"
    for folder in (backgrounds, hands):
        folder.mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (32, 32)).save(backgrounds / f"{name}.jpg")
    Image.fromarray(np.full((16, 16, 4), 255, np.uint8)).save(hands / "hand.png")
    return SegmTraining(
        (faces_root,),
        tmp_path / "run",
        settings=SegmSettings(
            segm=SegmConfig("unet", input_size=SIDE, unet=UNetConfig(width=4)),
            loop=LoopConfig.smoke(epochs=1, lr=1e-3, batch_size=16),
        ),
        backgrounds=backgrounds,
        occluders=hands.parent,
    )


def test_backgrounds_and_occluders_are_refused_without_terms_as_data_sets_are(
    training: SegmTraining, tmp_path: Path
) -> None:
    training = replace(training, licences={Path(training.data[0]).name: "CC0"})
    training()
    register = Register(training.run, Path(training.data[0]), str(tmp_path / "models"))
    with pytest.raises(DataError, match="terms of walls, things are not known"):
        register()
    assert training.backgrounds is not None
    write_dataset_file(training.backgrounds / "dataset.json", DatasetFile(name="Walls", licence="MIT"))
    # The run is whole: only what it was made with is written anew.
    replace(training, licences=training.licences | {"things": "Apache-2.0"})()
    assert read_sources(training.run, "", "", 0)[1:] == (
        TrainingData(name="Walls", licence="MIT", pictures=1, note="backgrounds"),
        TrainingData(name="things", licence="Apache-2.0", pictures=1, note="occluders"),
    )


def test_terms_of_what_is_not_used_are_refused(faces_root: Path) -> None:
    with pytest.raises(DataError, match="--licences names walls"):
        sources_of([Used(faces_root, 32)], None, {"walls": "MIT"})


def test_terms_that_a_folder_says_count(tmp_path: Path) -> None:
    write_dataset_file(tmp_path / "dataset.json", DatasetFile(name="Walls", licence="MIT"))
    (source,) = sources_of([Used(tmp_path, 3)], None, {tmp_path.name: "other"})
    assert source == TrainingData(name="Walls", licence="MIT", pictures=3)


def test_what_the_run_was_made_from_that_a_training_starts_from_counts_too(faces_root: Path, tmp_path: Path) -> None:
    faces = TrainingData(name=faces_root.name, licence="CC0", pictures=32)
    before = TrainingData(name="before", licence="MIT", pictures=2)
    (tmp_path / "config.json").write_text(json.dumps({"sources": [s.model_dump() for s in (faces, before)]}))
    found = sources_of([Used(faces_root, 32)], tmp_path / "best.pt", {faces_root.name: "CC0"})
    assert found == (faces, before)
