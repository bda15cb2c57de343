"""How sharp a face is: what the published measure says, whatever the size of the picture; less when it is blurred."""

import cv2
import numpy as np
import pytest
from fpan.serve.pipeline.align.crop import Crop
from fpan.serve.pipeline.paste.measure import sharpness
from skimage.measure import blur_effect

from tests.support.parsed import TEMPLATE


def crop(pixels: np.ndarray) -> Crop:
    return Crop(np.ascontiguousarray(pixels), np.eye(2, 3))


@pytest.fixture(scope="module")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    """A sharp portrait whose face lies where the template has it, uint8 (256, 256, 3)."""
    return cv2.resize(astronaut[0:256, 96:352], (256, 256))


def test_it_is_the_published_measure_across_the_faces_box(portrait):
    small = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (round(side * 128) for side in TEMPLATE.box)
    face = cv2.cvtColor(small[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY).astype(float)
    assert max(face.shape) <= 96  # so that it is measured as it is
    assert sharpness(crop(small), TEMPLATE) == pytest.approx(1 - blur_effect(face), abs=1e-4)


def test_the_more_a_face_is_blurred_the_less_sharp_it_is(portrait):
    values = [sharpness(crop(portrait), TEMPLATE)]
    values += [sharpness(crop(cv2.GaussianBlur(portrait, None, sigma)), TEMPLATE) for sigma in (2, 4, 8, 16)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[3]


def test_motion_along_one_axis_blurs_too(portrait):
    moved = cv2.blur(portrait, (25, 1))
    assert sharpness(crop(moved), TEMPLATE) < 0.7 * sharpness(crop(portrait), TEMPLATE)


def test_a_face_of_few_pixels_is_not_sharp(portrait):
    few = cv2.resize(cv2.resize(portrait, (24, 24), interpolation=cv2.INTER_AREA), (256, 256))
    assert sharpness(crop(few), TEMPLATE) < 0.6 * sharpness(crop(portrait), TEMPLATE)


def test_a_larger_picture_of_the_same_face_is_as_sharp(portrait):
    large = cv2.resize(portrait, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    assert sharpness(crop(large), TEMPLATE) == pytest.approx(sharpness(crop(portrait), TEMPLATE), abs=0.03)


def test_nothing_at_all_is_not_sharp_and_noise_is():
    assert sharpness(crop(np.zeros((64, 64, 3), np.uint8)), TEMPLATE) == 0
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert 0.7 < sharpness(crop(noise), TEMPLATE) <= 1
