"""The recipe of weights that may be sold learns from EasyPortrait and rendered faces, and from nothing else."""

from pathlib import Path
from typing import cast

import pytest
from fpan_training.data.check import problems
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import DatasetFile, LabelSpace
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.recipes.context import Context
from fpan_training.recipes.portrait import LICENCE, MODEL, Portrait, prepare, stages
from fpan_training.release.gates.licence import Licence
from fpan_training.release.register import Register


def test_its_photos_come_in_the_published_form_and_tell_their_terms(tmp_path: Path) -> None:
    context = Context(tmp_path, None, "smoke", str(tmp_path / "models"), 0)
    prepare(context)
    photos = tmp_path / "data" / "easyportrait"
    assert problems(photos) == []
    assert DatasetFile.read(photos / "dataset.json").licence == LICENCE
    space = LabelSpace.of_folder(photos)
    assert not space.plain
    assert sorted(value for value, _ in space.declared) == list(range(9))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    context = Context(tmp_path / "run", tmp_path, "full", str(tmp_path / "models"), 0)
    with pytest.raises(DataError, match="EasyPortrait"):
        prepare(context)


def test_nothing_of_other_terms_plays_a_part(tmp_path: Path) -> None:
    context = Context(tmp_path / "run", tmp_path, "full", str(tmp_path / "models"), 0)
    _, first, last, register = stages(context)
    for stage in (first, last):
        training = cast(SegmTraining, stage.work)
        names = {Path(str(each)).name for each in training.data}
        assert names == {"easyportrait", "easyportrait_wide", "rendered"}
        assert training.backgrounds is training.occluders is training.parts is training.soft is None
    assert cast(SegmTraining, last.work).start_from == cast(SegmTraining, first.work).run / "best.pt"
    published = cast(Register, register.work)
    assert published.name == MODEL != "segm"
    # After hours of training nothing is refused for want of pictures that are known to show occluded faces.
    assert published.allow_unmeasured
    # The gate refuses the weights if any other data set comes to it.
    assert published.gates.licence == Licence(Portrait.under(context).gates.licence.allowed)
    assert LICENCE in published.gates.licence.allowed
