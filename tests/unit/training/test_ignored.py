"""Lists of faulty labels: what trainings leave out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data import FaceFolder
from fpan_training.data.folder import DataError
from fpan_training.data.ignored import Fault, FaultList, trusted
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import Part
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import SegmConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.unet import UNetConfig

from tests.unit.training.conftest import SIDE


@pytest.fixture
def part(faces: FaceFolder) -> Part:
    return Part(faces, LabelSpace.full())


def write(path: Path, *faults: Fault, data: str = "faces") -> Path:
    path.write_text(FaultList(data=data, faults=faults).model_dump_json())
    return path


def test_pictures_without_a_box_are_left_out(part: Part, tmp_path: Path) -> None:
    listed = write(tmp_path / "a.json", Fault(name="face00", kind="loss"), Fault(name="not there"))
    (left,) = trusted([part], ["faces"], [listed])
    assert left.pictures.names == part.pictures.names[1:]
    assert len(left.pictures) == len(part.pictures) - 1
    assert (left.pictures[0].image == part.pictures[1].image).all()
    assert (left.pictures.labels(0) == part.pictures.labels(1)).all()


def test_boxes_are_unknown_and_all_else_as_it_was(part: Part, tmp_path: Path) -> None:
    listed = [
        write(tmp_path / "a.json", Fault(name="face01", box=(0.25, 0.5, 0.5, 1))),
        write(tmp_path / "b.json", Fault(name="face01", box=(0, 0, 0.01, 0.01))),
    ]
    (left,) = trusted([part], ["faces"], listed)
    labels, expected = left.pictures[1].labels, part.pictures[1].labels.copy()
    expected[SIDE // 2 :, SIDE // 4 : SIDE // 2] = 255
    expected[0, 0] = 255
    assert (labels == expected).all()
    assert (left.pictures.labels(1) == expected).all()
    assert (left.pictures[0].labels == part.pictures[0].labels).all()
    assert (part.pictures[1].labels != 255).all()


def test_a_list_counts_for_its_own_data_set_alone(part: Part, tmp_path: Path) -> None:
    listed = write(tmp_path / "a.json", Fault(name="face00"), data="others")
    mine, others = trusted([part, part], ["faces", "others"], [listed])
    assert len(mine.pictures) == len(others.pictures) + 1
    with pytest.raises(DataError, match=r"a\.json is of 'others', and the data sets are faces"):
        trusted([part], ["faces"], [listed])


def test_a_list_of_another_form_is_refused(part: Part, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"data": "faces", "faults": [{"nme": "x"}]}))
    with pytest.raises(DataError, match=r"a\.json is no list of faults: faults\.0"):
        trusted([part], ["faces"], [tmp_path / "a.json"])
    with pytest.raises(DataError, match="cannot be read"):
        trusted([part], ["faces"], [tmp_path / "none.json"])


def test_something_must_be_left(part: Part, tmp_path: Path) -> None:
    listed = write(tmp_path / "a.json", *(Fault(name=name) for name in part.pictures.names))
    with pytest.raises(DataError, match="nothing is left of faces"):
        trusted([part], ["faces"], [listed])


def test_a_training_leaves_out_what_the_list_names(faces_root: Path, tmp_path: Path) -> None:
    listed = write(
        tmp_path / "audit.json",
        Fault(name="face00", kind="sides"),
        Fault(name="face01", kind="hair", box=(0, 0, 1, 1)),
        data=faces_root.name,
    )
    training = SegmTraining(
        (faces_root,),
        tmp_path / "run",
        settings=SegmSettings(
            segm=SegmConfig("unet", input_size=SIDE, unet=UNetConfig(width=4)),
            loop=LoopConfig.smoke(epochs=1, lr=1e-3, batch_size=31),
        ),
        ignore_list=(listed,),
    )
    run = training.fit()
    assert len(run.history) == 1
    (source,) = json.loads((run.folder / "config.json").read_text())["sources"]
    assert source["pictures"] == 31
    loop = replace(training.settings.loop, batch_size=32)
    larger = replace(training, run=tmp_path / "other", settings=replace(training.settings, loop=loop))
    with pytest.raises(ValueError, match="31 pictures do not fill a batch of 32"):
        larger.fit()


def test_the_smallest_box_covers_the_pixels_that_it_touches(part: Part, tmp_path: Path) -> None:
    ten = replace(part, pictures=_Ten())
    listed = write(tmp_path / "a.json", Fault(name="ten", box=(0.3, 0.1, 0.45, 0.2)))
    (left,) = trusted([ten], ["faces"], [listed])
    assert np.argwhere(left.pictures.labels(0) == 255).tolist() == [[1, 3], [1, 4]]


class _Ten:
    """One mask of ten pixels a side."""

    names = ("ten",)

    def __len__(self) -> int:
        return 1

    def labels(self, _: int) -> np.ndarray:
        return np.zeros((10, 10), np.uint8)
