"""Label maps as polygons: true to the mask within the tolerance, holes and all."""

import cv2
import numpy as np
import pytest
from fpan import rle
from fpan.serve.api.errors import TooLarge
from fpan.serve.pipeline.encode import check_outlines, class_polygons
from fpan.serve.pipeline.settings import PipelineSettings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

NAMES = {1: "skin", 4: "l_eye", 13: "hair"}
RULES = PipelineSettings()
MAPS = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 4, 13, 255])
)


def head() -> np.ndarray:
    """Hair around skin around an eye, and a hole through all of them to the background."""
    labels = np.zeros((160, 140), np.uint8)
    cv2.ellipse(labels, (70, 80), (60, 70), 8, 0, 360, 13, -1)
    cv2.ellipse(labels, (70, 90), (40, 48), 8, 0, 360, 1, -1)
    cv2.ellipse(labels, (85, 80), (9, 5), 8, 0, 360, 4, -1)
    cv2.ellipse(labels, (60, 110), (12, 6), 8, 0, 360, 0, -1)
    return labels


def rasterised(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By pycocotools, whose coordinates are corners of pixels too."""
    runs = coco_mask.merge(coco_mask.frPyObjects([ring.astype(float).ravel().tolist()], *size))
    return rle.decode(runs["counts"].decode(), size)


def drawn(labels: np.ndarray, tolerance: float) -> dict[int, np.ndarray]:
    """The mask of each class, painted from its polygons."""
    masks = {}
    for one in class_polygons(labels, NAMES, tolerance):
        mask = np.zeros(labels.shape, np.bool_)
        for polygon in one.polygons:
            inside = rasterised(polygon.outline, labels.shape)
            for hole in polygon.holes:
                inside &= ~rasterised(hole, labels.shape)
            mask |= inside
        masks[one.id] = mask
    return masks


@given(MAPS)
@settings(max_examples=150, deadline=None)
def test_polygons_of_tolerance_zero_are_the_mask(labels):
    masks = drawn(labels, 0.0)
    assert set(masks) == set(np.unique(labels).tolist()) & set(NAMES)
    for number, mask in masks.items():
        assert np.array_equal(mask, labels == number)


def largest_error(mask: np.ndarray, truth: np.ndarray) -> float:
    """How far from the true border the farthest pixel lies that is on the wrong side of it, in pixels."""
    edge = np.pad(truth, 1, mode="edge").astype(np.uint8)
    border = (cv2.dilate(edge, np.ones((3, 3))) != cv2.erode(edge, np.ones((3, 3))))[1:-1, 1:-1]
    apart = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(apart[mask != truth].max(initial=0))


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_simplified_polygons_agree_with_the_mask_within_the_tolerance(tolerance):
    labels = head()
    masks = drawn(labels, tolerance)
    for number in NAMES:
        # The ring of border pixels is one wide on either side.
        assert largest_error(masks[number], labels == number) <= tolerance


def test_a_larger_tolerance_takes_fewer_corners():
    def corners(tolerance: float) -> int:
        found = class_polygons(head(), NAMES, tolerance)
        return sum(len(p.outline) + sum(map(len, p.holes)) for one in found for p in one.polygons)

    assert corners(0.0) > 2 * corners(1.0) > 2.5 * corners(3.0)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 3.0])
def test_holes_survive(tolerance):
    polygons = {one.name: one.polygons for one in class_polygons(head(), NAMES, tolerance)}
    assert [len(p.holes) for p in polygons["skin"]] == [2]
    assert [len(p.holes) for p in polygons["hair"]] == [1]
    assert [len(p.holes) for p in polygons["l_eye"]] == [0]


def test_a_window_lies_where_its_origin_says():
    labels = head()
    for one, moved in zip(
        class_polygons(labels, NAMES, 1.0), class_polygons(labels[5:, 3:], NAMES, 1.0, (3, 5)), strict=True
    ):
        for a, b in zip(one.polygons, moved.polygons, strict=True):
            assert np.array_equal(a.outline, b.outline)


def test_a_part_at_the_edge_of_the_picture_reaches_it():
    labels = np.full((5, 7), 13, np.uint8)
    [hair] = class_polygons(labels, NAMES, 1.0)
    assert sorted(map(tuple, hair.polygons[0].outline.tolist())) == [(0, 0), (0, 5), (7, 0), (7, 5)]


def test_nothing_to_outline_has_no_polygons():
    assert class_polygons(np.zeros((5, 7), np.uint8), NAMES, 1.0) == ()


def test_borders_that_are_too_long_are_refused_before_they_are_followed():
    noise = np.random.default_rng(0).integers(0, 2, (100, 100), np.uint8)
    check_outlines([noise], RULES)
    with pytest.raises(TooLarge, match="10000 that one answer"):
        check_outlines([noise], RULES.model_copy(update={"max_outline_steps": 10_000}))
