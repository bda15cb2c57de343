"""Several data sets as one, on faces drawn in code."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import Taxonomy
from fpan_training.data import Augment, AugmentConfig, EpochSampler, FaceFolder, SegmentationData
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.loader import repeat_factors
from fpan_training.data.mixture import MixedData, Part, collate_mixed
from fpan_training.taxonomy import TAXONOMY

SIDE = 64


@pytest.fixture
def sided_root(tmp_path: Path, make_pair: Callable[..., None]) -> Path:
    """Pictures whose masks tell a left part (value 1: left eye and brow), and what is around it, value 0."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[10:20, 40:56] = 1
    rng = np.random.default_rng(0)
    for i in range(6):
        make_pair(tmp_path / "sided", f"s{i}", rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), labels)
    declared = {"labels": {"0": "rest", "1": ["l_eye", "l_brow"]}}
    (tmp_path / "sided" / "dataset.json").write_text(json.dumps(declared))
    return tmp_path / "sided"


def _flip(taxonomy: Taxonomy) -> Augment:
    still = dict.fromkeys(("rotation_deg", "p_large_rotation", "aspect", "shift", "contrast", "brightness"), 0.0)
    still |= dict.fromkeys(("saturation", "tint", "p_grey", "p_low_resolution", "p_noise", "p_jpeg"), 0.0)
    return Augment(taxonomy, SIDE, AugmentConfig(flip=1.0, scale=(1, 1), gamma=(1, 1), **still))


def test_one_full_part_is_the_plain_data_set_to_the_byte(faces_root: Path) -> None:
    folder = FaceFolder.open(faces_root, "train")
    plain = SegmentationData(folder, SIDE, Augment(TAXONOMY, SIDE), 3)
    mixed = MixedData((Part.open(faces_root, "train"),), SIDE, lambda taxonomy: Augment(taxonomy, SIDE), 3)
    assert len(mixed) == len(plain)
    assert mixed.repeats is None
    for index in (0, 5, len(plain) + 5, 7 * len(plain) - 1):
        image, labels, space = mixed[index]
        assert np.array_equal(image, plain[index][0])
        assert np.array_equal(labels, plain[index][1])
        assert space == 0


def test_each_part_has_its_share_of_every_epoch(faces_root: Path, sided_root: Path) -> None:
    mixed = MixedData((Part.open(faces_root, "train", 0.5), Part.open(sided_root, "train", 3)), SIDE)
    assert len(mixed) == 32 + 6
    sampler = EpochSampler(len(mixed), 0, mixed.repeats)
    seen = []
    for sampler.epoch in range(4):
        items = np.array(list(sampler)) % len(mixed)
        parts = np.array([mixed.where(item)[0] for item in items])
        assert np.bincount(parts).tolist() == [16, 18]
        seen += items[parts == 0].tolist()
    # Of a part of which an epoch has half, two epochs or a few more have everything.
    assert len(set(seen)) > 24


def test_rare_pictures_of_a_part_come_more_often_still(faces_root: Path, sided_root: Path) -> None:
    own = np.linspace(1, 2, 6)
    parts = (
        Part.open(faces_root, "train"),
        Part(FaceFolder.open(sided_root, "a"), LabelSpace.of_folder(sided_root), 2, own),
    )
    repeats = MixedData(parts, SIDE).repeats
    assert repeats is not None
    assert repeats[:32].tolist() == [1] * 32
    assert repeats[32:] == pytest.approx(2 * own)


def test_spaces_are_numbered_once_and_travel_with_their_pictures(faces_root: Path, sided_root: Path) -> None:
    parts = [Part.open(root, "train") for root in (sided_root, faces_root, sided_root)]
    mixed = MixedData(tuple(parts), SIDE)
    assert [space.name for space in mixed.spaces] == [str(sided_root / "dataset.json"), "full"]
    images, labels, spaces = collate_mixed([mixed[i] for i in (0, 10, len(mixed) - 1)])
    assert spaces.tolist() == [0, 1, 0]
    assert images.shape == (3, SIDE, SIDE, 3)
    assert np.unique(labels[0]).tolist() == [20, 21]


def test_a_mirrored_group_of_one_side_is_the_group_of_the_other(sided_root: Path) -> None:
    part = Part.open(sided_root, "train")
    mixed = MixedData((part,), SIDE, _flip)
    labels = mixed[0][1].numpy()
    rest, left, right = (part.space.code_of(g) for g in (part.space.merged[0], (4, 6), (5, 7)))
    assert (labels[10:20, SIDE - 56 : SIDE - 40] == right).all()
    # The rest is all but the left side: its mirror image is all but the right side.
    outside = part.space.groups[int(labels[0, 0])]
    assert set(outside) == set(range(20)) - {5, 7}
    assert left not in labels
    assert rest not in labels


def test_occluders_that_are_pasted_are_told_in_every_space(sided_root: Path) -> None:
    part = Part.open(sided_root, "train")
    mixed = MixedData((part,), SIDE, lambda taxonomy: Augment(taxonomy, SIDE, AugmentConfig(p_occluder=1.0)))
    pasted = {TAXONOMY.id_of("occlusion"), TAXONOMY.id_of("eye_g")}
    known = {0, *pasted, *range(len(TAXONOMY), len(part.space.groups)), TAXONOMY.ignore}
    seen = {int(v) for i in range(30) for v in np.unique(mixed[i][1])}
    assert TAXONOMY.id_of("occlusion") in seen
    # What comes from outside of the picture is background, surely.
    assert seen <= known


def test_unknown_values_are_refused_where_the_picture_is_read(faces_root: Path) -> None:
    part = Part.open(faces_root, "train", space=LabelSpace.preset("celeba_hair"))
    with pytest.raises(DataError, match=r"face\d+: its mask has values 1, 2.*celeba_hair"):
        MixedData((part,), SIDE)[0]


def test_a_mixture_of_nothing_is_refused(faces_root: Path) -> None:
    with pytest.raises(ValueError, match="one part or more"):
        MixedData((), SIDE)
    with pytest.raises(ValueError, match="above 0"):
        MixedData((Part.open(faces_root, "train", 0),), SIDE)


def test_repeats_by_class_are_read_from_folders_of_any_kind(faces: FaceFolder) -> None:
    assert repeat_factors(faces, 1.0, 20).min() >= 1
