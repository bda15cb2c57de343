"""Folder, augmentation and sampling, on faces drawn in code."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data import Augment, AugmentConfig, EpochSampler, FaceFolder, Sample, SegmentationData, collate
from fpan_training.data.assets import Assets
from fpan_training.data.augment import face_centre, resize_pair, warp_pair
from fpan_training.data.cutout import Cutout, read_rgba
from fpan_training.data.folder import DataError, read_labels
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.occlusion import OcclusionConfig
from fpan_training.taxonomy import TAXONOMY
from PIL import Image

STILL = AugmentConfig(
    **dict.fromkeys(("flip", "rotation_deg", "p_large_rotation", "aspect", "shift", "p_background", "p_occluder"), 0.0),
    **dict.fromkeys(("contrast", "brightness", "saturation", "tint", "p_grey"), 0.0),
    **dict.fromkeys(("p_low_resolution", "p_noise", "p_jpeg"), 0.0),
    scale=(1, 1),
    gamma=(1, 1),
)
"""Nothing happens."""
_OCCLUSION = TAXONOMY.id_of("occlusion")
_SQUARES = OcclusionConfig(
    hand=0, blob=0, mask=0, microphone=0, glasses=0, p_shadow=0, p_jpeg=0, p_light=0, share=(0.2, 0.5)
)
"""Of opaque objects alone, nothing but what covers changes the picture."""
MakePair = Callable[..., None]


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def sample(faces: FaceFolder) -> Sample:
    return faces[0]


# Taxonomy


def test_partners_of_the_taxonomy_are_left_and_right_of_the_same_part() -> None:
    pairs = {(c.name, TAXONOMY.classes[c.partner].name) for c in TAXONOMY.classes if c.partner != c.id}
    assert pairs == {
        (f"{a}_{part}", f"{b}_{part}") for part in ("eye", "brow", "ear") for a, b in (("l", "r"), ("r", "l"))
    }


def test_the_order_of_bisenet_is_a_permutation_that_names_its_classes() -> None:
    order = TAXONOMY.remaps["bisenet"]
    assert sorted(order) == [*range(19), 255]
    known = {"skin": 1, "l_brow": 2, "r_eye": 5, "eye_g": 6, "nose": 10, "l_lip": 13, "neck": 14, "hair": 17, "hat": 18}
    assert {name: order[TAXONOMY.id_of(name)] for name in known} == known


# Folder


def test_the_colours_of_a_palette_mask_play_no_part(tmp_path: Path) -> None:
    labels = _rng().integers(0, 20, (8, 9), np.uint8)
    grey, palette = Image.fromarray(labels), Image.fromarray(labels)
    palette.putpalette(_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    grey.save(tmp_path / "grey.png")
    palette.save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as image:
        assert image.mode == "P"
    assert np.array_equal(read_labels(tmp_path / "grey.png"), labels)
    assert np.array_equal(read_labels(tmp_path / "palette.png"), labels)


def test_a_colour_mask_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="RGB"):
        read_labels(tmp_path / "mask.png")


def test_all_missing_files_are_named_at_once(tmp_path: Path, make_pair: MakePair, sample: Sample) -> None:
    for name in ("a", "b", "c"):
        make_pair(tmp_path, name, sample.image, sample.labels)
    (tmp_path / "images" / "a.png").unlink()
    (tmp_path / "masks" / "b.png").unlink()
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b", "c", "d"]}))
    with pytest.raises(DataError) as caught:
        FaceFolder.open(tmp_path, "train")
    assert caught.value.args[0].splitlines()[1:] == [
        "  a: no picture in images/",
        "  d: no picture in images/",
        "  b: no mask in masks/",
        "  d: no mask in masks/",
    ]


def test_an_unknown_split_is_refused_with_the_known_ones(faces_root: Path) -> None:
    with pytest.raises(DataError, match="'test'; it has: train, val"):
        FaceFolder.open(faces_root, "test")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        FaceFolder.open(tmp_path, "train")


def test_without_a_split_file_every_picture_is_in_every_split(
    tmp_path: Path, make_pair: MakePair, sample: Sample
) -> None:
    for name in ("b", "a"):
        make_pair(tmp_path, name, sample.image, sample.labels)
    assert FaceFolder.open(tmp_path, "anything").names == ("a", "b")


def test_a_picture_of_another_size_than_its_mask_is_refused(
    tmp_path: Path, make_pair: MakePair, sample: Sample
) -> None:
    make_pair(tmp_path, "a", sample.image[:, ::2], sample.labels)
    folder = FaceFolder.open(tmp_path, "train")
    with pytest.raises(DataError, match="32 x 64 and 64 x 64"):
        folder[0]


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, make_pair: MakePair, sample: Sample) -> None:
    make_pair(tmp_path, "a", sample.image, sample.labels)
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    folder = FaceFolder.open(tmp_path, "train")
    with pytest.raises(DataError, match=r"a\.png is not a readable image"):
        folder[0]


# Augmentation


def test_mirroring_reverses_columns_and_exchanges_partners_and_undoes_itself(sample: Sample) -> None:
    mirrored = TAXONOMY.mirror(sample.labels)
    assert np.array_equal(mirrored, TAXONOMY.partner_table[sample.labels][:, ::-1])
    assert np.array_equal(TAXONOMY.mirror(mirrored), sample.labels)
    # The person's left eye is on the picture's right, in the mirrored picture too.
    for labels in (sample.labels, mirrored):
        left, right = (np.nonzero(labels == TAXONOMY.id_of(name))[1].mean() for name in ("l_eye", "r_eye"))
        assert left > right


def test_an_augmentation_of_nothing_gives_the_picture_back(sample: Sample) -> None:
    image, labels = Augment(TAXONOMY, 64, STILL)(sample, _rng())
    assert np.array_equal(image, sample.image)
    assert np.array_equal(labels, sample.labels)


def test_flipping_twice_gives_the_picture_back(sample: Sample) -> None:
    flip = Augment(TAXONOMY, 64, replace(STILL, flip=1.0))
    once = Sample("once", *flip(sample, _rng(1)))
    assert np.array_equal(once.image, sample.image[:, ::-1])
    assert np.array_equal(once.labels, TAXONOMY.mirror(sample.labels))
    image, labels = flip(once, _rng(2))
    assert np.array_equal(image, sample.image)
    assert np.array_equal(labels, sample.labels)


def test_the_same_generator_state_gives_the_same_bytes(sample: Sample) -> None:
    augment = Augment(TAXONOMY, 64, assets=_assets())
    for seed in range(8):
        first, second = augment(sample, _rng(seed)), augment(sample, _rng(seed))
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])
    assert not np.array_equal(augment(sample, _rng(0))[0], augment(sample, _rng(1))[0])


def test_labels_move_with_the_picture() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[20:40, 10:30] = TAXONOMY.id_of("skin")
    labels[24:30, 14:20] = TAXONOMY.id_of("l_eye")
    sample = Sample("painted", TAXONOMY.palette[labels], labels)
    augment = Augment(TAXONOMY, 64, replace(STILL, rotation_deg=20, scale=(0.7, 1.4), shift=0.05))
    for seed in range(6):
        image, moved = augment(sample, _rng(seed))
        known = (moved > 0) & (moved != TAXONOMY.ignore)
        ids = np.unique(labels)
        # By the nearest of the colours: at the borders they are blended.
        distance = np.abs(image[..., None, :].astype(int) - TAXONOMY.palette[ids]).sum(-1)
        agree = (ids[distance.argmin(-1)] == moved)[known].mean()
        assert agree > 0.9
        assert known.sum() > 100


def test_the_face_turns_and_grows_about_its_centre(sample: Sample) -> None:
    before = face_centre(sample.labels, TAXONOMY)
    augment = Augment(TAXONOMY, 64, replace(STILL, scale=(0.8, 1.2)))
    for seed in range(4):
        after = face_centre(augment(sample, _rng(seed))[1], TAXONOMY)
        assert np.abs(after - before).max() <= 1


def test_what_comes_from_outside_is_unknown() -> None:
    labels = np.full((8, 8), 1, np.uint8)
    image = np.full((8, 8, 3), 200, np.uint8)
    moved, where = warp_pair(image, labels, np.array([[1, 0, 4], [0, 1, 0]], float), 8, (1, 2, 3))
    assert (where[:, :4] == 255).all()
    assert (where[:, 4:] == 1).all()
    assert (moved[:, :4] == (1, 2, 3)).all()


def test_nothing_is_said_of_what_lies_outside_of_a_turned_or_shrunk_picture(sample: Sample) -> None:
    for config in (replace(STILL, scale=(0.5, 0.5)), replace(STILL, p_context=1.0, context_scale=(0.5, 0.5))):
        labels = Augment(TAXONOMY, 64, config)(sample, _rng())[1]
        outside = labels == TAXONOMY.ignore
        assert abs(outside.mean() - 0.75) < 0.05
        assert np.isin(labels[~outside], np.unique(sample.labels)).all()


def test_a_picture_of_twice_the_width_shows_its_face_at_the_size_of_the_aligned_frame(sample: Sample) -> None:
    wide = Sample(
        "wide", *(cv2.copyMakeBorder(m, *[32] * 4, cv2.BORDER_REPLICATE) for m in (sample.image, sample.labels)), 2.0
    )
    image, labels = Augment(TAXONOMY, 64, STILL)(wide, _rng())
    assert np.array_equal(image, sample.image)
    assert np.array_equal(labels, sample.labels)


def test_a_replaced_background_leaves_the_head_alone(sample: Sample) -> None:
    augment = Augment(TAXONOMY, 64, replace(STILL, p_background=1.0), _assets())
    image, labels = augment(sample, _rng())
    assert np.array_equal(labels, sample.labels)
    deep = _inside(labels > 0)
    assert np.array_equal(image[deep], sample.image[deep])
    outside = _inside(labels == 0)
    assert (image[outside] == (0, 255, 0)).all()


def test_an_occluder_is_labelled_where_it_covers_and_nowhere_else(sample: Sample) -> None:
    black = replace(sample, image=np.zeros_like(sample.image))
    augment = Augment(TAXONOMY, 64, replace(STILL, p_occluder=1.0, occlusion=_SQUARES), _assets())
    for seed in range(6):
        image, labels = augment(black, _rng(seed))
        # On black the picture is alpha times the occluder's colour; its edge is blurred once more after pasting.
        alpha = image[..., 0] / image[..., 0].max()
        occluded = labels == _OCCLUSION
        assert occluded.sum() > 20
        assert occluded[alpha > 0.7].all()
        assert not occluded[alpha < 0.3].any()
        assert np.array_equal(labels[~occluded], sample.labels[~occluded])


def test_an_example_is_the_plain_pair_and_what_lies_beneath(sample: Sample) -> None:
    augment = Augment(TAXONOMY, 64, replace(AugmentConfig(), p_occluder=1.0, occlusion=_SQUARES), _assets())
    bare = Augment(TAXONOMY, 64, replace(AugmentConfig(), p_occluder=0.0), _assets())
    for seed in range(6):
        example = augment.example(sample, _rng(seed))
        image, labels = augment(sample, _rng(seed))
        assert np.array_equal(example.image, image)
        assert np.array_equal(example.labels, labels)
        assert np.array_equal(example.amodal, bare(sample, _rng(seed))[1])
        assert np.array_equal(example.labels == _OCCLUSION, example.mask)
        assert np.array_equal(example.labels[~example.mask], example.amodal[~example.mask])


def test_landmarks_move_with_the_picture() -> None:
    rng = _rng(3)
    points = rng.uniform(20, 44, (264, 2)).astype(np.float32)
    # One pixel is white, and the landmark that is its own partner lies on it.
    middle = int(np.flatnonzero(SCHEME.partner == np.arange(264))[0])
    points[middle] = (25, 38)
    image = np.zeros((64, 64, 3), np.uint8)
    image[37:40, 24:27] = 255
    augment = Augment(TAXONOMY, 64, replace(STILL, flip=0.5, rotation_deg=20, scale=(1, 1.4), shift=0.05))
    flipped = set()
    for seed in range(8):
        example = augment.example(Sample("dot", image, np.zeros((64, 64), np.uint8)), _rng(seed), points)
        assert example.points is not None
        # What comes from outside may have any colour, but is hardly as white.
        rows, columns = np.nonzero((example.image > 180).all(2))
        assert np.hypot(*(example.points[middle] - (columns.mean(), rows.mean()))) < 0.7
        flipped.add(bool(example.points[middle, 0] > 32))
    assert flipped == {False, True}


def test_a_picture_without_a_face_is_not_occluded() -> None:
    empty = Sample("empty", np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8))
    _, labels = Augment(TAXONOMY, 64, replace(STILL, p_occluder=1.0), _assets())(empty, _rng())
    assert not labels.any()


def test_light_and_quality_change_the_picture_and_not_its_labels(sample: Sample) -> None:
    bad = replace(AugmentConfig(), p_noise=1, p_jpeg=1, p_low_resolution=1)
    still = {
        name: getattr(STILL, name) for name in ("flip", "rotation_deg", "p_large_rotation", "aspect", "shift", "scale")
    }
    image, labels = Augment(TAXONOMY, 64, replace(bad, **still))(sample, _rng())
    assert np.array_equal(labels, sample.labels)
    assert np.abs(image.astype(int) - sample.image).mean() > 2


def test_resizing_keeps_label_values(sample: Sample) -> None:
    image, labels = resize_pair(sample.image, sample.labels, 32)
    assert image.shape == (32, 32, 3)
    assert labels.shape == (32, 32)
    assert set(np.unique(labels)) <= set(np.unique(sample.labels))
    same = resize_pair(sample.image, sample.labels, 64)
    assert np.array_equal(same[0], sample.image)


def test_cut_outs_are_cropped_to_what_is_opaque(tmp_path: Path) -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[5:10, 12:20] = (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    assert (read_rgba(tmp_path / "cut.png") == (10, 20, 30, 255)).all()
    assert read_rgba(tmp_path / "cut.png").shape == (5, 8, 4)


def test_cut_outs_that_cover_nothing_are_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4)).save(tmp_path / "clear.png")
    with pytest.raises(DataError, match="transparent"):
        read_rgba(tmp_path / "clear.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "opaque.png")
    with pytest.raises(DataError, match="alpha"):
        read_rgba(tmp_path / "opaque.png")


# Loader


def test_an_epoch_has_every_picture_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(10, seed=3)
    orders = []
    for sampler.epoch in range(3):
        indices = list(sampler)
        assert len(sampler) == 10
        assert {i // 10 for i in indices} == {sampler.epoch}
        orders.append([i % 10 for i in indices])
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_resumed_sampler_goes_on_with_the_same_order() -> None:
    whole, resumed = EpochSampler(10, seed=3), EpochSampler(10, seed=3)
    for whole.epoch in range(3):
        last = list(whole)
    resumed.epoch = 2
    assert list(resumed) == last
    assert list(EpochSampler(10, seed=4)) != list(EpochSampler(10, seed=3))


def test_a_picture_is_augmented_otherwise_in_another_epoch_and_alike_in_a_repeated_one(faces: FaceFolder) -> None:
    data = SegmentationData(faces, 64, Augment(TAXONOMY, 64), seed=1)
    again = SegmentationData(faces, 64, Augment(TAXONOMY, 64), seed=1)
    in_epoch_2 = 2 * len(faces) + 5
    assert data[in_epoch_2][0].equal(again[in_epoch_2][0])
    assert data[in_epoch_2][1].equal(again[in_epoch_2][1])
    assert not data[5][0].equal(data[in_epoch_2][0])
    assert not data[5][0].equal(SegmentationData(faces, 64, Augment(TAXONOMY, 64), seed=2)[5][0])


def test_batches_are_bytes(faces: FaceFolder) -> None:
    data = SegmentationData(faces, 32)
    images, labels = collate([data[i] for i in range(3)])
    assert (images.shape, images.dtype) == ((3, 32, 32, 3), data[0][0].dtype)
    assert (labels.shape, str(labels.dtype)) == ((3, 32, 32), "torch.uint8")


def _assets() -> Assets:
    """A green scene and an opaque red square."""
    return Assets(
        (np.full((80, 80, 3), (0, 255, 0), np.uint8),),
        (Cutout(np.full((40, 40, 4), (200, 60, 40, 255), np.uint8)),),
    )


def _inside(mask: np.ndarray) -> np.ndarray:
    """What is four pixels or more away from the mask's border."""
    padded = np.pad(mask, 4, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    return np.asarray(windows.all((2, 3)))
