"""Eq. 2's pixel weights against brute force, and the loss under them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fpan_training.data import Augment, AugmentConfig
from fpan_training.data.augment import Example
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import Part
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.modules.predictions import FacePrediction, PredictionStore
from fpan_training.modules.segm import SegmOutput
from fpan_training.modules.segm.data import SegmData, allocate, collate_segm, open_stores, weights_of
from fpan_training.modules.segm.draw_weights import DrawWeights
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.loss import LossConfig, PartialLabels, segm_loss
from fpan_training.modules.segm.weights import WeightConfig, face_size, large_pose, nearness, pixel_weights
from torch import Tensor

_CONFIG = WeightConfig(lambda_o=2, lambda_p=3)
_FRONTAL = np.zeros(3, np.float32)
_CLASSES = 6


@pytest.fixture
def points() -> np.ndarray:
    """Landmarks in a box of 40 x 40 pixels."""
    drawn = np.random.default_rng(0).uniform(20, 60, (264, 2))
    drawn[:2] = [[20, 20], [60, 60]]
    return drawn.astype(np.float32)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, _CLASSES, 16, 16, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def labels() -> Tensor:
    drawn = torch.randint(0, _CLASSES, (2, 16, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    drawn[1, :3] = 255
    return drawn


def _visible_but(*hidden: int) -> np.ndarray:
    visibility = np.full(264, 0.9, np.float32)
    visibility[list(hidden)] = 0.1
    return visibility


def test_weights_are_those_of_the_formula_worked_out_pixel_by_pixel(points: np.ndarray) -> None:
    hidden = [3, 70, 200]
    weights = pixel_weights(points, _visible_but(*hidden), _FRONTAL, (80, 90), _CONFIG)
    tau = 0.08 * face_size(points)
    rows, columns = np.mgrid[:80, :90]
    away = np.min([np.hypot(columns - x, rows - y) for x, y in np.rint(points[hidden])], axis=0)
    expected = 1 + 2 * np.where(away <= 3 * tau, np.exp(-away / tau), 0)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, atol=2e-3)


def test_weight_lies_about_hidden_landmarks_and_nowhere_else(points: np.ndarray) -> None:
    at = np.rint(points[5]).astype(int)
    weights = pixel_weights(points, _visible_but(5), _FRONTAL, (80, 80), _CONFIG)
    assert weights.max() == weights[at[1], at[0]] == pytest.approx(3)
    rows, columns = np.mgrid[:80, :80]
    beyond = np.hypot(columns - at[0], rows - at[1]) > 3 * 0.08 * face_size(points) + 1
    assert (weights[beyond] == 1).all()


def test_a_face_without_hidden_landmarks_weighs_one_everywhere(points: np.ndarray) -> None:
    assert (pixel_weights(points, _visible_but(), _FRONTAL, (80, 80), _CONFIG) == 1).all()


def test_weights_move_with_the_picture(points: np.ndarray) -> None:
    here = pixel_weights(np.rint(points), _visible_but(9), _FRONTAL, (100, 100), _CONFIG)
    there = pixel_weights(np.rint(points) + np.float32([7, 4]), _visible_but(9), _FRONTAL, (100, 100), _CONFIG)
    np.testing.assert_allclose(there[4:, 7:], here[:-4, :-7], atol=1e-5)


def test_weights_of_a_picture_twice_as_large_reach_twice_as_far(points: np.ndarray) -> None:
    small = pixel_weights(np.rint(points), _visible_but(9), _FRONTAL, (100, 100), _CONFIG)
    large = pixel_weights(np.rint(points) * 2, _visible_but(9), _FRONTAL, (200, 200), _CONFIG)
    # The face's box is that of rounded points in both, so the maps differ by the sampling alone.
    np.testing.assert_allclose(large[::2, ::2], small, atol=1e-4)


def test_a_hidden_landmark_outside_of_the_picture_reaches_into_it() -> None:
    inside = nearness(np.float32([[-2, 10]]), 4, 3, (20, 20))
    assert inside[10, 0] == pytest.approx(np.exp(-2 / 4), abs=1e-3)
    assert not nearness(np.float32([[-50, 10]]), 4, 3, (20, 20)).any()


@pytest.mark.parametrize(
    ("angles", "expected"),
    [((0, 0, 0), 0), ((30, -30, 30), 0), ((45, 0, 0), 0.5), ((0, -45, 10), 0.5), ((0, 0, 60), 1), ((-90, 0, 0), 1)],
)
def test_a_pose_counts_as_large_from_theta_on(angles: tuple[float, ...], expected: float) -> None:
    assert large_pose(np.array(angles, np.float32), 30) == pytest.approx(expected)


def test_pose_raises_the_whole_picture(points: np.ndarray) -> None:
    turned = pixel_weights(points, _visible_but(), np.float32([45, 0, 0]), (8, 8), _CONFIG)
    assert (turned == 1 + 3 * 0.5).all()


def test_impossible_settings_and_answers_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="lambda_o"):
        WeightConfig(lambda_o=-1)
    with pytest.raises(ValueError, match="tau"):
        WeightConfig(tau=0)
    with pytest.raises(ValueError, match="264 points have 3 visibilities"):
        pixel_weights(points, np.ones(3, np.float32), _FRONTAL, (8, 8), _CONFIG)


def test_zero_lambdas_give_the_plain_loss_to_the_bit(points: np.ndarray, logits: Tensor, labels: Tensor) -> None:
    assert WeightConfig().plain
    weights = pixel_weights(points, _visible_but(1, 2), np.float32([80, 0, 0]), (16, 16), WeightConfig())
    of_batch = torch.from_numpy(weights).expand(2, -1, -1)
    config = LossConfig(class_weights=(1, 2, 1, 0.5, 1, 3))
    output = SegmOutput(logits, (logits[..., ::2, ::2],))
    plain, weighted = segm_loss(output, labels, config), segm_loss(output, labels, config, weights_bhw=of_batch)
    assert {name: value.item() for name, value in plain.items()} == {n: v.item() for n, v in weighted.items()}


def test_the_loss_is_eq_2_over_the_whole_batch(logits: Tensor, labels: Tensor) -> None:
    weights = torch.ones(2, 16, 16)
    weights[0] = 4  # a large pose: were it a mean over pictures it would cancel
    found = segm_loss(SegmOutput(logits), labels, LossConfig(dice=0), weights_bhw=weights)["loss"]
    ce = F.cross_entropy(logits, labels.long(), ignore_index=255, reduction="none")
    valid = labels != 255
    expected = (weights * ce)[valid].sum() / weights[valid].sum()
    torch.testing.assert_close(found, expected)
    plain = segm_loss(SegmOutput(logits), labels, LossConfig(dice=0))["loss"]
    assert abs(found.item() - plain.item()) > 1e-4


def test_the_gradient_grows_where_the_weight_does(logits: Tensor, labels: Tensor) -> None:
    logits.requires_grad_()
    weights = torch.ones(2, 16, 16)
    weights[:, 4:8, 4:8] = 5
    gradients = []
    for each in (None, weights):
        (gradient,) = torch.autograd.grad(
            segm_loss(SegmOutput(logits), labels, LossConfig(dice=0), weights_bhw=each)["loss"], logits
        )
        gradients.append(gradient)
    share = gradients[1].abs().sum(1) / gradients[0].abs().sum(1).clamp(min=1e-12)
    inside, outside = share[0, 4:8, 4:8], share[0, 10:, 10:]
    torch.testing.assert_close(inside / 5, inside.new_full((4, 4), outside.mean()), rtol=1e-3, atol=1e-3)


def test_auxiliary_heads_are_weighted_alike(logits: Tensor, labels: Tensor) -> None:
    weights = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(5)) + 1
    coarse = logits[..., ::4, ::4]
    found = segm_loss(SegmOutput(logits, (coarse,)), labels, LossConfig(), weights_bhw=weights)["auxiliary"]
    thinned, w = labels[:, 2::4, 2::4].long(), weights[:, 2::4, 2::4]
    ce = F.cross_entropy(coarse, thinned, ignore_index=255, reduction="none")
    valid = thinned != 255
    torch.testing.assert_close(found, (w * ce)[valid].sum() / w[valid].sum())


def test_labels_that_tell_all_apart_give_the_plain_loss_to_the_bit() -> None:
    space = LabelSpace.full()
    classes = len(space.taxonomy)
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(2, classes, 16, 16, generator=draw)
    labels = torch.randint(0, classes, (2, 16, 16), generator=draw, dtype=torch.uint8)
    labels[0, :4] = 255
    config = LossConfig(class_weights=tuple(1 + i / 10 for i in range(classes)))
    partial = PartialLabels(Groups((space,)), torch.zeros(2, dtype=torch.long))
    output = SegmOutput(logits, (logits[..., ::2, ::2],))
    plain, grouped = segm_loss(output, labels, config), segm_loss(output, labels, config, partial=partial)
    assert {name: value.item() for name, value in plain.items()} == {n: v.item() for n, v in grouped.items()}


def test_merged_classes_cost_what_their_summed_probability_says_and_weights_hold() -> None:
    space = LabelSpace.preset("celeba_hair")
    groups = Groups((LabelSpace.full(), space))
    labels = torch.from_numpy(space.encode(np.array([[[0, 13], [13, 0]]], np.uint8)[0], "x"))[None]
    logits = torch.randn(1, len(space.taxonomy), 2, 2, generator=torch.Generator().manual_seed(4))
    weights = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    config = replace(LossConfig(), dice=0)
    partial = PartialLabels(groups, torch.ones(1, dtype=torch.long))
    found = segm_loss(SegmOutput(logits), labels, config, weights_bhw=weights, partial=partial)["loss"]
    hair = logits.softmax(1)[0, 13]
    truth = torch.stack([torch.stack([1 - hair[0, 0], hair[0, 1]]), torch.stack([hair[1, 0], 1 - hair[1, 1]])])
    torch.testing.assert_close(found, -(weights[0] * truth.log()).sum() / weights.sum())


def _faces(root: Path, draw: Callable[..., None]) -> PredictionStore:
    """Two faces, whose landmarks of the right half of the picture are hidden."""
    store = PredictionStore(root / "predictions" / "faces")
    for name in ("a", "b"):
        image, labels = np.full((64, 64, 3), 128, np.uint8), np.ones((64, 64), np.uint8)
        draw(root / "faces", name, image, labels)
        points = np.random.default_rng(0).uniform(12, 52, (264, 2)).astype(np.float32)
        # Partners mirror each other, as they do in a face that looks straight ahead.
        points = (points + SCHEME.mirror(points, 64)) / 2
        store.put(name, FacePrediction(points, (points[:, 0] < 32).astype(np.float32), np.float32([45, 0, 0])))
    return store


_STILL = AugmentConfig(
    **dict.fromkeys(("flip", "rotation_deg", "p_large_rotation", "aspect", "shift", "p_background", "p_occluder"), 0),
    scale=(1, 1),
)


def _data(root: Path, config: AugmentConfig, weights: WeightConfig) -> SegmData:
    parts = (Part.open(root / "faces", "train"),)
    return SegmData(
        parts,
        64,
        lambda taxonomy: Augment(taxonomy, 64, config),
        0,
        weights,
        (PredictionStore(root / "predictions" / "faces"),),
    )


def test_weights_follow_the_mirrored_picture(tmp_path: Path, make_pair: Callable[..., None]) -> None:
    _faces(tmp_path, make_pair)
    still = _data(tmp_path, _STILL, _CONFIG)[0].weights
    mirrored = _data(tmp_path, replace(_STILL, flip=1), _CONFIG)[0].weights
    assert still is not None
    assert mirrored is not None
    assert still[:, 40:].mean() > still[:, :24].mean() + 0.1  # hidden on the right
    torch.testing.assert_close(mirrored, still.flip(1), atol=0.35, rtol=0)
    assert (mirrored - still.flip(1)).abs().mean() < 0.02  # but for landmarks that fall between pixels
    assert still.min() >= 1 + 3 * 0.5  # the pose weighs everywhere


def test_what_augmentation_lays_over_a_face_hides_its_landmarks(tmp_path: Path, make_pair: Callable[..., None]) -> None:
    store = _faces(tmp_path, make_pair)
    prediction = store.get("a")
    assert prediction is not None
    mask = np.zeros((64, 64), np.bool_)
    mask[:, :32] = True
    image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    covered = weights_of(Example(image, labels, labels, mask, prediction.points, False), prediction, _CONFIG)
    free = weights_of(Example(image, labels, labels, ~mask & mask, prediction.points, False), prediction, _CONFIG)
    assert covered[:, :24].mean() > free[:, :24].mean() + 0.1
    np.testing.assert_array_equal(covered[:, 50:], free[:, 50:])
    unknown = weights_of(Example(image, labels, labels, mask, None, False), None, _CONFIG)
    assert (unknown == 1).all()


def test_under_plain_weights_the_data_are_those_without(tmp_path: Path, make_pair: Callable[..., None]) -> None:
    _faces(tmp_path, make_pair)
    config = AugmentConfig(p_occluder=0)
    plain, weighted = (_data(tmp_path, config, weights) for weights in (WeightConfig(), _CONFIG))
    for index in range(4):
        assert plain[index].weights is None
        assert torch.equal(plain[index].images, weighted[index].images)
        assert torch.equal(plain[index].labels, weighted[index].labels)
        assert torch.equal(plain[index].images, plain.mixed[index][0])
    batch = collate_segm([weighted[0], weighted[1]])
    assert batch.weights is not None
    assert batch.weights.shape == (2, 64, 64)
    assert collate_segm([plain[0], plain[1]]).weights is None


def test_missing_answers_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fpan-train predictions --data some/faces"):
        open_stores(tmp_path, ["some/faces"])
    with pytest.raises(ValueError, match="1 data sets have 0 stores"):
        SegmData((cast(Part, None),), 64, cast(Any, None), weights=_CONFIG)


def _part(count: int) -> Part:
    return Part(cast(Any, [None] * count), LabelSpace.full())


def test_an_epoch_has_the_pictures_that_were_asked_for_and_every_set_its_share() -> None:
    parts = allocate([_part(10), _part(40), _part(5)], (0.25, 0.15), 200, np.ones(10))
    data = SegmData(parts, 8, cast(Any, None))
    assert data.repeats is not None
    assert data.repeats.sum() == pytest.approx(200)
    sums = [data.repeats[:10].sum(), data.repeats[10:50].sum(), data.repeats[50:].sum()]
    assert sums == pytest.approx([120, 50, 30])


def test_without_shares_every_picture_comes_once_and_rare_ones_more_often() -> None:
    once = allocate([_part(4), _part(3)], (), 0, np.ones(4))
    assert SegmData(once, 8, cast(Any, None)).repeats is None
    rare = allocate([_part(4), _part(3)], (), 0, np.array([1, 1, 1, 3.0]))
    assert SegmData(rare, 8, cast(Any, None)).repeats == pytest.approx([1, 1, 1, 3, 1, 1, 1])


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.5), (0.5, 0.0)])
def test_shares_that_leave_nothing_or_do_not_match_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares"):
        allocate([_part(4), _part(3), _part(2)], shares, 0, np.ones(4))


def test_the_weights_are_drawn_over_pictures(tmp_path: Path, make_pair: Callable[..., None]) -> None:
    _faces(tmp_path, make_pair)
    store = tmp_path / "predictions" / "faces"
    drawn = DrawWeights(tmp_path / "faces", store, tmp_path / "out" / "weights.png", 2)()
    assert drawn.stat().st_size > 0
    with pytest.raises(DataError, match="fpan-train predictions"):
        DrawWeights(tmp_path / "faces", tmp_path, tmp_path / "weights.png")()
