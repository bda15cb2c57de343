"""Label faults that are put into right labels are found, and right labels have none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fpan_training.audit.command import Audit
from fpan_training.audit.faults import SIDE, Compared, FaultConfig, faults_of, outliers, worst_box
from fpan_training.data.folder import DataError
from fpan_training.data.ignored import Fault, FaultList
from fpan_training.data.label_space import DatasetFile, write_dataset_file
from fpan_training.landmarks import FaceRecord, FaceStore
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.segm import SegmConfig
from fpan_training.modules.segm.model import build
from fpan_training.nets.unet import UNetConfig
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray

from tests.unit.training.conftest import draw_face, write_pair

_ID = {c.name: c.id for c in TAXONOMY.classes}
_CONFIG = FaultConfig()
_DRAWN = ("nose", "l_eye", "r_eye", "u_lip", "hair", "skin")
Labels = NDArray[np.uint8]


def mesh() -> NDArray[np.float32]:
    """A face that fills half of the grid."""
    return (canonical_mesh().vertices * 8 + [SIDE / 2, SIDE / 2, 0]).astype(np.float32)


def right_labels() -> Labels:
    """Skin, eyes and lips of that face."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(labels, cv2.convexHull(np.rint(record_of(mesh()).points264).astype(np.int32)), _ID["skin"])
    labels[100:110, 90:110], labels[100:110, 146:166] = _ID["r_eye"], _ID["l_eye"]
    labels[170:180, 110:146] = _ID["u_lip"]
    return labels


def said(labels: Labels, sure: float = 0.97) -> NDArray[np.float32]:
    """What a network would say that is sure of these labels."""
    rest = (1 - sure) / (len(TAXONOMY) - 1)
    return np.where(labels == np.arange(len(TAXONOMY))[:, None, None], sure, rest).astype(np.float32)


def compared(labels: Labels, truth: Labels) -> Compared:
    return Compared("a", labels, said(truth), record_of(mesh()).points264)


def painted(name: str, rows: slice, columns: slice) -> Labels:
    labels = right_labels()
    labels[rows, columns] = _ID[name]
    return labels


def test_right_labels_have_no_faults() -> None:
    assert faults_of(compared(right_labels(), right_labels()), _CONFIG) == []


@pytest.mark.parametrize("name", ["occlusion", "hair"])
def test_skin_over_what_the_network_surely_sees_is_found_with_its_place(name: str) -> None:
    rows, columns = slice(120, 150), slice(80, 110)
    truth = painted(name, rows, columns)
    (fault,) = faults_of(compared(right_labels(), truth), _CONFIG)
    assert (fault.name, fault.kind) == ("a", name)
    assert fault.box == (80 / SIDE, 120 / SIDE, 110 / SIDE, 150 / SIDE)
    unsure = replace(compared(right_labels(), truth), probabilities=said(truth, 0.6))
    assert faults_of(unsure, _CONFIG) == []
    # A line along a border is no patch.
    assert faults_of(compared(right_labels(), painted(name, slice(60, 200), slice(80, 83))), _CONFIG) == []


def test_skin_far_from_the_face_is_found_though_the_network_agrees() -> None:
    labels = painted("skin", slice(200, 250), slice(5, 45))
    (fault,) = faults_of(compared(labels, labels), _CONFIG)
    assert fault.kind == "outside"
    assert fault.box == (5 / SIDE, 200 / SIDE, 45 / SIDE, 250 / SIDE)
    assert faults_of(replace(compared(labels, labels), points=None), _CONFIG) == []


def test_a_bald_head_is_no_fault() -> None:
    labels = right_labels()
    top = int(np.nonzero(labels)[0].min())
    labels[top - 25 : top, 100:156] = _ID["skin"]
    assert faults_of(compared(labels, labels), _CONFIG) == []


def test_an_open_mouth_without_an_inner_mouth_is_found() -> None:
    truth = painted("mouth", slice(173, 183), slice(115, 141))
    (fault,) = faults_of(compared(right_labels(), truth), _CONFIG)
    assert fault.kind == "mouth"
    some = truth.copy()
    some[180:183] = right_labels()[180:183]
    assert faults_of(compared(some, truth), _CONFIG) == []


def test_sides_that_are_exchanged_are_found_and_the_picture_is_to_be_left_out() -> None:
    exchanged = TAXONOMY.partner_table[right_labels()]
    (fault,) = faults_of(compared(np.asarray(exchanged, np.uint8), right_labels()), _CONFIG)
    assert (fault.kind, fault.box) == ("sides", None)


def test_outliers_are_those_far_above_the_median() -> None:
    losses = [0.10, 0.11, 0.12, 0.09, 0.10, 0.11, 0.9, 0.0]
    found = outliers([str(i) for i in range(8)], losses, [None] * 8, _CONFIG)
    assert [(fault.name, fault.kind) for fault in found] == [("6", "loss")]


def test_the_worst_box_is_about_the_largest_patch_and_none_if_it_is_everywhere() -> None:
    labels = painted("cloth", slice(30, 60), slice(40, 90))
    labels[200:210, 200:210] = _ID["cloth"]
    assert worst_box(compared(labels, right_labels())) == (40 / SIDE, 30 / SIDE, 90 / SIDE, 60 / SIDE)
    assert worst_box(compared(np.full_like(labels, _ID["cloth"]), right_labels())) is None
    unknown = np.full_like(labels, 255)
    assert worst_box(compared(unknown, right_labels())) is None


@pytest.fixture
def audited(tmp_path: Path) -> Callable[..., FaultList]:
    """Drawn faces, one of which is another's labels, held against a network that has learnt nothing."""
    data, rng = tmp_path / "faces", np.random.default_rng(0)
    store = FaceStore(tmp_path / "store")
    for name in "abcd":
        write_pair(data, name, *draw_face(rng))
        store.put(name, FaceRecord.nothing())
    torch.manual_seed(0)
    config = SegmConfig("unet", input_size=64, unet=UNetConfig(width=4))
    stored = {"architecture": "unet", "classes": config.classes, "input_size": 64, "unet": {"width": 4}}
    (tmp_path / "run").mkdir()
    torch.save({"network": build(config).state_dict(), "segm": stored}, tmp_path / "run" / "best.pt")
    return lambda **options: Audit(data, tmp_path / "out", faces=store.folder, **options)()


def test_the_command_writes_a_list_that_trainings_read_and_sheets(
    audited: Callable[..., FaultList], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = audited(run=tmp_path / "run", config=FaultConfig(outlier=-1))
    assert FaultList.read(tmp_path / "out" / "audit.json") == listed
    assert listed.data == "faces"
    assert {fault.kind for fault in listed.faults} == {"loss"}
    assert (tmp_path / "out" / "contact-loss.png").is_file()
    assert "loss: " in capsys.readouterr().out


def test_what_cannot_be_audited_is_refused(audited: Callable[..., FaultList], tmp_path: Path) -> None:
    merged: dict[str, str | list[str]] = {"0": "rest", **{str(_ID[n]): ["skin", n] for n in _DRAWN}}
    with pytest.raises(ValueError, match="--model"):
        audited()
    with pytest.raises(DataError, match="does not exist"):
        audited(model=tmp_path / "none.onnx")
    with pytest.raises(DataError, match=r"no best\.pt"):
        audited(run=tmp_path)
    write_dataset_file(tmp_path / "faces" / "dataset.json", DatasetFile(labels=merged))
    with pytest.raises(DataError, match="merge classes"):
        audited(run=tmp_path / "run")


def test_a_fault_needs_no_more_than_a_name() -> None:
    assert Fault(name="a").box is None


def test_a_tongue_that_looks_like_an_object_is_no_fault() -> None:
    rows, columns = slice(170, 190), slice(115, 141)
    assert faults_of(compared(painted("mouth", rows, columns), painted("occlusion", rows, columns)), _CONFIG) == []
