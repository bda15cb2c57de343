"""What covers faces: where it lies, what it does to labels, and how much it covers."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fpan_training.data.cutout import Cutout, bleed
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.occlusion import Assets, Occluded, OcclusionConfig, OcclusionGenerator, shapes
from fpan_training.occlusion.frame import frame_of
from fpan_training.occlusion.generator import KINDS
from fpan_training.occlusion.layer import Layer, cast_shadow, move
from fpan_training.occlusion.place import align, hand_from
from fpan_training.taxonomy import TAXONOMY

from tests.unit.training.occluded_faces import SIDE, face

_OCCLUSION, _GLASSES = TAXONOMY.id_of("occlusion"), TAXONOMY.id_of("eye_g")
_ANCHORED = {"mask", "microphone", "glasses"}
"""Kinds whose size the face gives."""


def _only(kind: str, **changes: object) -> OcclusionConfig:
    """One kind and no shadow."""
    weights = {name: float(name == kind) for name in KINDS}
    return replace(OcclusionConfig(p_shadow=0, **weights), **changes)


def _cover(config: OcclusionConfig, seed: int, assets: Assets | None = None, points: bool = True) -> Occluded:
    image, labels, landmarks = face()
    generator = OcclusionGenerator(config, assets or _assets(), TAXONOMY)
    return generator(image, labels, landmarks if points else None, np.random.default_rng(seed))


def _assets() -> Assets:
    """One object, besides what is drawn in code."""
    rgba = np.full((50, 40, 4), (30, 200, 60, 255), np.uint8)
    rgba[:10, :10, 3] = 0
    return Assets(occluders=(Cutout(rgba, "object", "things/box.webp"),))


def _at(mask: np.ndarray, group: str) -> np.ndarray:
    points = np.rint(face()[2][SCHEME.groups[group]]).astype(int)
    return np.asarray(mask[points[:, 1], points[:, 0]])


# Any kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("points", [True, False])
def test_only_what_is_covered_changes_and_what_lies_beneath_is_what_came_in(kind: str, points: bool) -> None:
    image, labels, _ = face()
    kept = image.copy(), labels.copy()
    for seed in range(3):
        result = _cover(_only(kind), seed, points=points)
        assert result.kind == kind
        assert np.array_equal(result.amodal, labels)
        # The band along the edge that is blurred once more is a pixel wider than what covers.
        touched = cv2.dilate((result.alpha > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        changed = (result.image != image).any(2)
        assert not changed[~touched].any()
        assert changed[result.mask].mean() > 0.97
        assert result.mask.any()
        assert np.array_equal(kept[0], image)
        assert np.array_equal(kept[1], labels)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_state_gives_the_same_bytes(kind: str) -> None:
    first, again, other = (_cover(replace(_only(kind), p_shadow=1), seed) for seed in (5, 5, 6))
    for name in ("image", "labels", "amodal", "mask", "alpha"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "glasses"])
def test_what_is_covered_is_labelled_occlusion_and_the_rest_as_before(kind: str) -> None:
    labels = face()[1]
    result = _cover(_only(kind), 2)
    assert result.labels is not None
    assert np.array_equal(result.labels == _OCCLUSION, result.mask)
    assert np.array_equal(result.labels[~result.mask], labels[~result.mask])


def test_the_share_is_that_of_the_face() -> None:
    labels = face()[1]
    for seed in range(4):
        result = _cover(OcclusionConfig(), seed)
        assert result.share == pytest.approx((result.mask & (labels > 0)).sum() / (labels > 0).sum())


def test_shares_spread_over_the_range_that_is_asked_for() -> None:
    config = OcclusionConfig(mask=0, microphone=0, glasses=0)
    shares = np.array([_cover(config, seed).share for seed in range(120)])
    assert ((shares > 0.02) & (shares < 0.66)).all()
    # Every fifth of the range has some.
    counts, _ = np.histogram(shares, np.linspace(0.05, 0.6, 6))
    assert counts.min() >= 6


@pytest.mark.parametrize("wanted", [0.08, 0.3, 0.55])
def test_a_wanted_share_is_met(wanted: float) -> None:
    for kind in ("hand", "object", "blob"):
        shares = [_cover(_only(kind, share=(wanted, wanted)), seed).share for seed in range(8)]
        assert np.median(shares) == pytest.approx(wanted, rel=0.25)


def test_without_a_face_nothing_happens() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    empty = np.zeros((64, 64), np.uint8)
    result = OcclusionGenerator(OcclusionConfig(), Assets(), TAXONOMY)(image, empty, None, np.random.default_rng(0))
    assert result.kind == "none"
    assert np.array_equal(result.image, image)
    assert result.labels is not None
    assert not result.labels.any()
    assert not result.mask.any()


def test_landmarks_alone_do_for_a_picture_without_labels() -> None:
    image, _, points = face()
    generator = OcclusionGenerator(_only("mask"), Assets(), TAXONOMY)
    result = generator(image, None, points, np.random.default_rng(0))
    assert result.labels is None
    assert result.amodal is None
    assert result.mask.any()
    with pytest.raises(ValueError, match="labels or 264 landmarks"):
        generator(image, None, None, np.random.default_rng(0))
    with pytest.raises(ValueError, match="NaN"):
        generator(image, None, np.full((264, 2), np.nan, np.float32), np.random.default_rng(0))


def test_kinds_without_a_weight_or_anything_to_draw_never_come() -> None:
    generator = OcclusionGenerator(_only("object"), Assets(), TAXONOMY)
    assert generator.kinds == ()
    with pytest.raises(ValueError, match="nothing to cover faces with"):
        generator(*face()[:2], None, np.random.default_rng(0))
    held = OcclusionGenerator(OcclusionConfig(), replace(_assets(), procedural=False), TAXONOMY)
    assert held.kinds == ("object",)
    sources = {held(*face()[:2], None, np.random.default_rng(seed)).source for seed in range(10)}
    assert sources == {"things/box.webp"}


# By landmarks


@pytest.mark.parametrize("points", [True, False])
def test_a_mask_covers_mouth_nostrils_and_chin_and_leaves_the_eyes_free(points: bool) -> None:
    for seed in range(10):
        mask = _cover(_only("mask"), seed, points=points).mask
        assert _at(mask, "lips_outer").all()
        assert _at(mask, "nose").mean() > 0.5
        assert not _at(mask, "eyes").any()
        assert not _at(mask, "brows").any()


def test_a_mask_follows_a_turned_face() -> None:
    image, labels, points = face()
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 35, 1)
    turned = np.asarray(points @ turn[:, :2].T + turn[:, 2], np.float32)
    labels = np.asarray(cv2.warpAffine(labels, turn, (SIDE, SIDE), flags=cv2.INTER_NEAREST), np.uint8)
    result = OcclusionGenerator(_only("mask"), Assets(), TAXONOMY)(image, labels, turned, np.random.default_rng(1))
    for group, covered in (("lips_outer", True), ("eyes", False)):
        at = np.rint(turned[SCHEME.groups[group]]).astype(int)
        assert (result.mask[at[:, 1], at[:, 0]] == covered).all()


@pytest.mark.parametrize("points", [True, False])
def test_a_microphone_is_before_the_mouth_and_not_the_eyes(points: bool) -> None:
    for seed in range(8):
        mask = _cover(_only("microphone"), seed, points=points).mask
        assert _at(mask, "lips_outer").mean() > 0.2
        assert not _at(mask, "eyes").any()


@pytest.mark.parametrize("points", [True, False])
def test_sunglasses_cover_the_eyes_and_not_the_mouth_and_are_glasses(points: bool) -> None:
    for seed in range(6):
        result = _cover(_only("glasses", p_dark=1), seed, points=points)
        assert result.labels is not None
        assert _at(result.mask, "irises").all()
        assert not _at(result.mask, "lips_outer").any()
        assert (result.labels[result.mask] == _GLASSES).all()
        assert not (result.labels == _OCCLUSION).any()


def test_eyes_are_seen_through_clear_glasses() -> None:
    labels = face()[1]
    eyes = np.isin(labels, [TAXONOMY.id_of("l_eye"), TAXONOMY.id_of("r_eye")])
    for seed in range(6):
        result = _cover(_only("glasses", p_dark=0), seed)
        assert result.labels is not None
        assert np.array_equal(result.labels[eyes & ~result.mask], labels[eyes & ~result.mask])
        assert not _at(result.mask, "irises").any()
        # The skin behind a lens is glasses, though the lens covers nothing.
        assert (result.labels == _GLASSES).sum() > result.mask.sum()


def test_frames_by_labels_and_by_landmarks_agree() -> None:
    _, labels, points = face()
    by_points = frame_of(None, points, labels.shape, TAXONOMY)
    by_labels = frame_of(labels, None, labels.shape, TAXONOMY)
    assert by_points is not None
    assert by_labels is not None
    for name in ("eyes", "bridge", "mouth", "chin", "nose"):
        distance = np.abs(getattr(by_points, name) - getattr(by_labels, name)).max()
        assert distance < 0.08 * by_points.size, name


def test_a_frame_without_parts_assumes_their_usual_places() -> None:
    labels = face()[1]
    bare = np.where(labels > 0, TAXONOMY.id_of("skin"), 0).astype(np.uint8)
    whole, guess = (frame_of(values, None, labels.shape, TAXONOMY) for values in (labels, bare))
    assert whole is not None
    assert guess is not None
    for name in ("eyes", "mouth", "chin", "nose"):
        assert np.abs(getattr(whole, name) - getattr(guess, name)).max() < 0.2 * whole.size, name


# Hands


@pytest.mark.parametrize("turns", range(4))
def test_a_hand_points_away_from_where_it_was_cut_off(turns: int) -> None:
    drawn = shapes.hand(np.random.default_rng(4))
    upright = Cutout(np.ascontiguousarray(np.rot90(drawn.rgba, -turns)), "hand")
    # Drawn with its fingers up, and then turned clockwise.
    angle = np.deg2rad(90 * turns)
    assert upright.pointing @ (np.sin(angle), -np.cos(angle)) > 0.9


def test_fingers_point_at_the_centre_of_the_face() -> None:
    drawn = shapes.hand(np.random.default_rng(4))
    for degrees in range(0, 360, 45):
        direction = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        placed = hand_from(direction, drawn, np.eye(2), np.array([50.0, 60.0]), 0.2)
        assert np.allclose(placed.matrix[:, :2] @ drawn.pointing, direction)
        assert np.allclose(placed.matrix @ [*placed.pin, 1], (50, 60))
    quarter = align(np.array([1.0, 0]), np.array([0, 1.0]))
    assert np.allclose(quarter @ [1, 0], (0, 1))


def test_a_microphone_points_to_its_head() -> None:
    for seed in range(4):
        assert shapes.microphone(np.random.default_rng(seed)).pointing[1] < -0.9


# Blobs, layers and shadows


def test_blobs_are_closed_and_some_are_translucent() -> None:
    opaque = _cover(_only("blob", p_translucent=0), 1)
    clear = _cover(_only("blob", p_translucent=1), 1)
    assert opaque.alpha.max() > 0.99
    assert 0.4 <= clear.alpha.max() <= 0.7
    # What lies beneath is covered, though it shines through.
    assert clear.mask.any()
    for seed in range(10):
        alpha = shapes.blob(np.random.default_rng(seed)).rgba[..., 3]
        assert cv2.connectedComponents((alpha > 127).astype(np.uint8))[0] == 2


def test_a_curve_passes_through_its_points() -> None:
    points = np.random.default_rng(0).uniform(0, 10, (7, 2))
    curve = shapes.bezier(points, 0.2)
    nearest = np.linalg.norm(curve[None] - points[:, None], axis=-1).min(1)
    assert nearest.max() < 1e-9


def test_colours_beneath_transparent_pixels_never_come_through() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[10:30, 10:30] = (200, 0, 0, 255)
    assert (bleed(rgba)[8:32, 8:32, :3] == (200, 0, 0)).all()
    assert np.array_equal(bleed(rgba)[..., 3], rgba[..., 3])
    for zoom in (0.5, 1.3):
        layer = move(bleed(rgba), np.array([[zoom, 0, 10.3], [0, zoom, 8.6]]), (80, 80))
        assert layer is not None
        assert layer.colour[layer.alpha > 0.02, 1].max() < 2


def test_a_cut_out_lies_where_the_matrix_puts_it() -> None:
    rgba = np.full((20, 30, 4), 255, np.uint8)
    for zoom in (0.4, 1.0, 1.7):
        layer = move(rgba, np.array([[zoom, 0, 30], [0, zoom, 25]]), (100, 100))
        assert layer is not None
        rows, columns = np.nonzero(layer.alpha > 0.5)
        assert columns.mean() + layer.x == pytest.approx(30 + zoom * 14.5, abs=0.6)
        assert rows.mean() + layer.y == pytest.approx(25 + zoom * 9.5, abs=0.6)
        assert len(rows) == pytest.approx(600 * zoom**2, rel=0.15)
    assert move(rgba, np.array([[1.0, 0, 300], [0, 1, 300]]), (100, 100)) is None


def test_a_shadow_darkens_beside_what_casts_it_and_only_where_it_can_fall() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    layer = Layer(np.zeros((30, 30, 3), np.float32), np.ones((30, 30), np.float32), 30, 30)
    onto = np.ones((100, 100), np.uint8)
    onto[:, 50:] = 0
    shaded = cast_shadow(image, layer, onto, np.array([-10.0, 0]), 2, 0.5)
    assert shaded[45, 25].max() < 130
    assert (shaded[:, 50:] == 200).all()
    assert (shaded[45, :10] == 200).all()
    assert (shaded <= image).all()


def test_kinds_of_their_own_size_do_not_follow_the_wanted_share() -> None:
    for kind in _ANCHORED:
        small, large = (_cover(_only(kind, share=(share, share)), 3) for share in (0.05, 0.6))
        assert np.array_equal(small.mask, large.mask)
