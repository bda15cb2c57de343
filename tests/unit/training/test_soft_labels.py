"""What a teacher says: kept, moved with the picture, and learnt from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fpan_training.data import Augment, FaceFolder
from fpan_training.data.folder import DataError, Sample
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.soft_labels import SoftLabelStore, mirror_soft, overwrite, soft_of
from fpan_training.modules.segm import SegmConfig, build
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.loss import PartialLabels, soft_cross_entropy
from fpan_training.modules.segm.soft_labels import SoftLabels
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.taxonomy import TAXONOMY

from tests.unit.training.test_data import STILL

_IGNORE = TAXONOMY.ignore


def _certain(labels: np.ndarray) -> np.ndarray:
    return overwrite(np.zeros((*labels.shape, 3), np.uint8), np.ones(labels.shape, bool), labels)


def test_the_two_most_probable_classes_are_kept() -> None:
    p = np.float32([0.1, 0.7, 0.2]).reshape(3, 1, 1)
    assert soft_of(p)[0, 0].tolist() == [1, 2, round(0.7 * 255)]


def test_a_store_gives_back_what_was_put(tmp_path: Path) -> None:
    store, soft = (
        SoftLabelStore(tmp_path / "soft"),
        np.random.default_rng(0).integers(0, 20, (8, 6, 3)).astype(np.uint8),
    )
    assert store.get("a") is None
    store.put("a", soft)
    found = store.get("a")
    assert found is not None
    assert np.array_equal(found, soft)
    store.path("b").write_bytes(b"no picture")
    with pytest.raises(DataError, match="fpan-train soft-labels"):
        store.get("b")


def test_mirrored_twice_they_are_the_same_and_once_left_is_right() -> None:
    soft = _certain(np.full((4, 4), TAXONOMY.id_of("l_eye"), np.uint8))
    once = mirror_soft(soft, TAXONOMY)
    assert (once[..., :2] == TAXONOMY.id_of("r_eye")).all()
    assert np.array_equal(mirror_soft(once, TAXONOMY), soft)


def test_they_move_with_the_labels(faces: FaceFolder) -> None:
    sample = faces[0]
    sample = replace(sample, soft=_certain(sample.labels))
    config = replace(STILL, flip=0.5, rotation_deg=20, scale=(0.6, 1.3), shift=0.05, p_occluder=0.5)
    augment = Augment(TAXONOMY, 64, config)
    for seed in range(8):
        example = augment.example(sample, np.random.default_rng(seed))
        assert example.soft is not None
        known = example.labels != _IGNORE
        assert np.array_equal(example.soft[..., 2] > 0, known)
        assert np.array_equal(example.soft[..., 0][known], example.labels[known])


def test_a_coarser_map_lies_over_the_same_places(faces: FaceFolder) -> None:
    sample = faces[0]
    coarse = _certain(np.ascontiguousarray(sample.labels[::2, ::2]))
    example = Augment(TAXONOMY, 64, replace(STILL, scale=(1.1, 1.1))).example(
        replace(sample, soft=coarse), np.random.default_rng(0)
    )
    assert example.soft is not None
    assert (example.soft[..., 0] == example.labels).mean() > 0.9


def test_with_certain_soft_labels_it_is_the_cross_entropy() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 20, 8, 8, generator=draw)
    labels = torch.randint(0, 20, (2, 8, 8), generator=draw).to(torch.uint8)
    soft = torch.stack([labels, labels, torch.full_like(labels, 255)], -1)
    loss = soft_cross_entropy(logits, soft, labels, _IGNORE, 0.6)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels.long()))


@pytest.mark.parametrize(
    ("code", "first", "probability", "counts"),
    [
        ("hair", "hair", 0.9, True),
        ("hair", "hat", 0.9, False),  # the label knows better
        ("group", "skin", 0.5, True),
        ("group", "hair", 0.9, False),
        ("nothing", "cloth", 0.9, True),
        ("nothing", "cloth", 0.5, False),  # not sure enough to be believed alone
        ("nothing", "background", 0.0, False),  # outside of the picture
    ],
)
def test_a_teacher_is_believed_within_what_the_label_allows(
    code: str, first: str, probability: float, counts: bool
) -> None:
    space = LabelSpace.from_labels("test", {"0": "rest", "1": ["skin", "nose"], "13": "hair"})
    groups = Groups((space,))
    codes = {"hair": space.encode(np.uint8([[13]]), ""), "group": space.encode(np.uint8([[1]]), "")}
    labels = torch.from_numpy(codes.get(code, np.uint8([[_IGNORE]])))[None]
    soft = torch.tensor([TAXONOMY.id_of(first), TAXONOMY.id_of("neck"), round(255 * probability)], dtype=torch.uint8)
    logits = torch.zeros(1, 20, 1, 1)
    loss = soft_cross_entropy(
        logits, soft.view(1, 1, 1, 3), labels, _IGNORE, 0.6, PartialLabels(groups, torch.zeros(1, dtype=torch.long))
    )
    assert (loss.item() > 0) == counts


def test_a_network_says_what_it_thinks_of_every_picture(faces_root: Path, tmp_path: Path) -> None:
    config = SegmConfig(input_size=64, lite_fpn=LiteFpnConfig((8, 8, 8, 8, 8), pretrained=False))
    described = {
        "architecture": "lite_fpn",
        "classes": 20,
        "input_size": 64,
        "lite_fpn": {"widths": (8, 8, 8, 8, 8), "pretrained": False},
    }
    torch.save({"network": build(config).state_dict(), "segm": described}, tmp_path / "best.pt")
    store = SoftLabels(tmp_path / "best.pt", faces_root, tmp_path / "soft", sizes=(32, 64))()
    names = [path.stem for path in (faces_root / "images").iterdir()]
    maps = [store.get(name) for name in names]
    assert all(soft is not None and soft.shape == (64, 64, 3) and (soft[..., 2] > 0).all() for soft in maps)
    before = store.path(names[0]).stat().st_mtime_ns
    SoftLabels(tmp_path / "best.pt", faces_root, tmp_path / "soft")()
    assert store.path(names[0]).stat().st_mtime_ns == before


def test_without_a_teacher_nothing_is_carried(faces: FaceFolder) -> None:
    sample: Sample = faces[0]
    assert Augment(TAXONOMY, 64, STILL).example(sample, np.random.default_rng(0)).soft is None
