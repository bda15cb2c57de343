"""Crops: where a face comes to lie, and the way back."""

import numpy as np
import pytest
from fpan.serve.api.errors import Impossible
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.types import Photo

from tests.support.parsed import TEMPLATE

SIZE = 64


def gradient(width: int, height: int) -> Photo:
    """A photo whose red is its x and whose green is its y, as shares of 255."""
    x = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    y = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Photo(np.stack([x, y, x * 0], 2).round().astype(np.uint8), "png")


def face(scale: float, angle: float, at: tuple[float, float]) -> np.ndarray:
    """The template's points as a face of that size, roll and place would have them."""
    points = np.asarray(TEMPLATE.points) * SIZE - 0.5
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return (points @ np.array([[cos, sin], [-sin, cos]]) + at).astype(np.float32)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5, 7.3])
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_landmarks_come_to_lie_on_the_template(scale, angle):
    landmarks = face(scale, angle, (300, 280))
    crop = align.crop_by_landmarks(gradient(600, 500), landmarks, TEMPLATE, SIZE)
    moved = landmarks @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert np.allclose(moved, np.asarray(TEMPLATE.points) * SIZE - 0.5, atol=1e-3)
    assert crop.enlargement == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5, 7.3])
def test_a_crops_pixels_are_the_photos_at_the_matrix(scale):
    photo = gradient(800, 700)
    crop = align.crop_by_landmarks(photo, face(scale, 0.3, (300, 160)), TEMPLATE, SIZE)
    inverse = np.linalg.inv(np.vstack([crop.matrix, [0, 0, 1]]))
    for x, y in [(20, 20), (31, 40), (45, 12)]:
        px, py, _ = inverse @ (x, y, 1)
        if 5 < px < 795 and 5 < py < 695:
            expected = (255 * px / 799, 255 * py / 699)
            assert np.allclose(crop.pixels[y, x, :2], expected, atol=1.5)


def test_a_box_comes_to_lie_on_the_templates_box():
    crop = align.crop_by_box(gradient(400, 400), (100, 120, 200, 260), TEMPLATE, SIZE)
    x0, y0, x1, y1 = (v * SIZE for v in TEMPLATE.box)
    corners = np.array([(99.5, 119.5), (199.5, 259.5)]) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert np.allclose(corners, [(x0 - 0.5, y0 - 0.5), (x1 - 0.5, y1 - 0.5)], atol=1e-6)


@pytest.mark.parametrize("box", [(500, 10, 600, 90), (-90, 10, -5, 90), (10, 401, 50, 480)])
def test_a_box_outside_the_photo_is_refused(box):
    with pytest.raises(Impossible, match="outside"):
        align.crop_by_box(gradient(400, 400), box, TEMPLATE, SIZE)


@pytest.mark.parametrize(
    ("width", "height"), [(512, 512), (300, 100), (100, 300), (64, 64), (20, 10), (1, 1), (5000, 3)]
)
def test_the_whole_photo_is_letterboxed(width, height):
    crop = align.crop_whole(gradient(width, height), SIZE)
    corners = np.array([(-0.5, -0.5), (width - 0.5, height - 0.5)]) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    low, high = corners
    assert (low >= -1).all()
    assert (high <= SIZE).all()
    assert max(high - low) == pytest.approx(SIZE)


def test_a_crop_beyond_the_photo_is_black_there():
    crop = align.crop_by_landmarks(gradient(100, 100), face(1.0, 0, (80, 80)), TEMPLATE, SIZE)
    assert (crop.pixels[40:, 40:] == 0).all()


def test_a_photo_wider_than_opencv_can_warp_is_cut_all_the_same():
    photo = Photo(np.full((40, 40_000, 3), 9, np.uint8), "png")
    crop = align.crop_by_landmarks(photo, face(0.5, 0, (39_000, 5)), TEMPLATE, SIZE)
    assert crop.pixels.any()


@pytest.mark.parametrize(("width", "height"), [(4000, 2990), (2990, 4000), (1300, 77)])
def test_the_whole_photos_edges_come_to_lie_where_its_pixels_were_put(width, height):
    photo = Photo(np.full((height, width, 3), 255, np.uint8), "png")
    crop = align.crop_whole(photo, 512)
    rows, columns = np.nonzero(crop.pixels[:, :, 0])
    corners = np.array([(-0.5, -0.5), (width - 0.5, height - 0.5)]) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert np.allclose(corners[0], (columns.min() - 0.5, rows.min() - 0.5), atol=1e-9)
    assert np.allclose(corners[1], (columns.max() + 0.5, rows.max() + 0.5), atol=1e-9)
    back = crop.corners @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert np.allclose(back[[0, 2]], [(-0.5, -0.5), (511.5, 511.5)])


def test_enlargement_is_that_of_areas_where_both_sides_differ():
    crop = align.Crop(np.zeros((SIZE, SIZE, 3), np.uint8), np.array([[0.25, 0, 3], [0, 0.16, 5]]))
    assert crop.enlargement == pytest.approx(5)


def test_a_box_that_leaves_the_photo_is_taken_as_far_as_it_goes():
    photo = gradient(400, 400)
    beyond = align.crop_by_box(photo, (-5000, 10, 20, 200), TEMPLATE, SIZE)
    assert np.allclose(beyond.matrix, align.crop_by_box(photo, (0, 10, 20, 200), TEMPLATE, SIZE).matrix)
    assert beyond.pixels.any()
