"""Views cover the picture, and lead back into it."""

import cv2
import numpy as np
import pytest
from fpan.serve.pipeline.detect.views import PADDING, ViewPlan, ViewSpec, plan_views, render
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 640
SIZES = ((SIZE, SIZE), (480, 640), (640, 480), (480, 480))
"""Heights and widths."""


def inverse(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T


def test_an_ordinary_photo_is_one_view():
    assert [s.whole for s in plan_views(1632, 1224, SIZES, ViewPlan())] == [True]


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (800, 800, (640, 640)),
        (1600, 1200, (640, 480)),
        (1200, 1600, (480, 640)),
        (1600, 900, (640, 480)),
        (1600, 1203, (640, 640)),
        (1600, 400, (640, 480)),
        (100, 1000, (480, 640)),
        (50, 50, (640, 640)),
    ],
)
def test_the_whole_is_no_larger_than_the_picture_needs(width, height, size):
    (spec,) = plan_views(width, height, SIZES, ViewPlan())
    assert spec.size == size
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    seen = inverse(spec.to_picture(width, height), corners)
    assert (seen >= -0.6).all()
    assert (seen <= np.array(size) - 0.4).all()


def test_a_rolled_whole_has_all_the_room_there_is():
    (spec,) = plan_views(1600, 1200, SIZES, ViewPlan(whole_angles=(45.0,)))
    assert spec.size == (SIZE, SIZE)


def test_a_large_photo_is_the_whole_and_tiles():
    specs = plan_views(4000, 3000, SIZES, ViewPlan())
    assert specs[0].whole
    assert not any(s.whole for s in specs[1:])
    assert len(specs) < 100
    assert {s.size for s in specs} == {(SIZE, SIZE)}


@settings(max_examples=25, deadline=None)
@given(st.integers(1500, 9000), st.integers(1500, 7000), st.sampled_from([(0.0,), (-30.0,), (45.0,)]), st.data())
def test_a_face_as_high_as_the_overlap_is_whole_in_one_tile(width, height, angles, data):
    plan = ViewPlan(fine_angles=angles, fine_side=1600)
    tiles = [s for s in plan_views(width, height, SIZES, plan) if not s.whole]
    radius = plan.overlap / 2 - 1
    scale = min(1, 1600 / max(width, height))
    x = data.draw(st.floats(radius / scale, width - radius / scale))
    y = data.draw(st.floats(radius / scale, height - radius / scale))
    seen = [inverse(s.to_picture(width, height), np.array([[x, y]]))[0] for s in tiles]
    assert any((p >= radius - 1).all() and (p <= SIZE - radius).all() for p in seen)


@pytest.mark.parametrize("angle", [0.0, -30.0, 45.0])
def test_a_dot_is_where_the_map_says(angle):
    picture = np.zeros((900, 1200, 3), np.uint8)
    cv2.circle(picture, (700, 300), 9, (255, 255, 255), -1)
    spec = ViewSpec((640, 480), (319.5, 239.5), (SIZE, SIZE), angle, whole=True)
    (view,) = render(picture, [spec])
    bright = np.argwhere((view > 200).all(-1))[:, ::-1].mean(0)
    at = inverse(spec.to_picture(1200, 900), np.array([[700.0, 300.0]]))[0]
    np.testing.assert_allclose(bright, at, atol=0.3)


def test_a_face_that_leans_clockwise_stands_upright_in_the_view_of_that_angle():
    spec = ViewSpec((640, 640), (319.5, 319.5), (SIZE, SIZE), 30.0, whole=True)
    up = spec.to_picture(640, 640)[:, :2] @ (0, -1)
    assert np.degrees(np.arctan2(up[0], -up[1])) == pytest.approx(30)


@pytest.mark.parametrize("shape", [(1, 1), (20, 10000), (10000, 20), (2, 640)])
def test_odd_shapes_have_views(shape):
    picture = np.full((*shape, 3), 200, np.uint8)
    specs = plan_views(shape[1], shape[0], SIZES, ViewPlan())
    views = list(render(picture, specs))
    assert all(v.shape[:2] in SIZES and v.dtype == np.uint8 for v in views)
    assert any((v != PADDING).any() for v in views)


def test_outside_of_the_picture_is_grey():
    (view,) = render(np.zeros((200, 640, 3), np.uint8), plan_views(640, 200, SIZES, ViewPlan()))
    assert view.shape == (480, 640, 3)
    assert (view[:140] == PADDING).all()
    assert (view[140:340] == 0).all()
    assert (view[340:] == PADDING).all()
