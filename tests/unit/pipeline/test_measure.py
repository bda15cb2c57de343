"""What is told of a face: counted by hand."""

import tracemalloc

import numpy as np
import pytest
from fpan.serve.pipeline.paste import measure

from tests.support.parsed import SIZE, TAXONOMY, crop, parsed_face


def test_only_parts_that_go_on_in_the_photo_are_cut_by_the_crop():
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[-1, :] = 4  # hair to the bottom of the crop
    labels[:, 0] = 1  # skin to its left border
    inside = crop([[1, 0, -50], [0, 1, -50]])
    assert measure.cut_parts(inside, labels, 300, 300, TAXONOMY) == ("skin", "hair")
    at_left_border = crop([[1, 0, 0], [0, 1, -50]])
    assert measure.cut_parts(at_left_border, labels, 300, 300, TAXONOMY) == ("hair",)
    whole = crop([[1, 0, 0], [0, 1, 0]])
    assert measure.cut_parts(whole, labels, SIZE, SIZE, TAXONOMY) == ()


def test_figures_of_parts_by_hand():
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:9] = 1
    labels[5:7, 3:6] = 5
    face = parsed_face(labels, (40, 30, 60, 40))
    skin, occlusion = face.facts.parts
    assert (skin.name, skin.area, skin.box) == ("skin", 18, (43, 32, 49, 35))
    assert skin.confidence == pytest.approx(128 / 255)
    assert occlusion.area == 6
    assert face.facts.occluded == pytest.approx(6 / 24)


def test_a_face_at_the_photos_border_says_so():
    labels = np.ones((10, 20), np.uint8)
    for window, at_border in (((80, 30, 100, 40), True), ((10, 0, 30, 10), True), ((10, 5, 30, 15), False)):
        assert measure.reaches_border(window, (100, 80), labels, TAXONOMY) is at_border
    labels[:, -1] = 4  # hair
    assert not measure.reaches_border((80, 30, 100, 40), (100, 80), labels, TAXONOMY)


def test_kept_classes_leave_occlusion_told():
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:9] = 1
    labels[5:7, 3:6] = 5
    face = parsed_face(labels, (40, 30, 60, 40), kept=frozenset({1}))
    assert [p.name for p in face.facts.parts] == ["skin"]
    assert face.facts.occluded == pytest.approx(0.25)


def test_sums_by_class_are_those_of_the_pixels(monkeypatch):
    monkeypatch.setattr(measure, "_ROWS_PIXELS", 100)
    random = np.random.default_rng(3)
    labels, confidence = random.integers(0, 19, (2, 57, 31), np.uint8)
    area, sureness = measure.sums_by_class(labels, confidence)
    for c in range(256):
        assert area[c] == (labels == c).sum()
        assert sureness[c] == confidence[labels == c].sum()


def test_figures_of_a_large_face_take_little_memory():
    labels = np.ones((4000, 4000), np.uint8)
    face = parsed_face(labels, (0, 0, 4000, 4000))
    tracemalloc.start()
    figures = face.facts
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert figures.parts[0].area == labels.size
    assert peak < 4 * labels.size


def test_a_label_map_of_one_pixel_has_a_part():
    labels, sure = np.full((1, 1), 1, np.uint8), np.full((1, 1), 100, np.uint8)
    (part,) = measure.part_facts(labels, *measure.sums_by_class(labels, sure), TAXONOMY, (7, 8), None)
    assert (part.id, part.area, part.box) == (1, 1, (7, 8, 8, 9))
