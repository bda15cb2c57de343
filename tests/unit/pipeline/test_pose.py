"""The pose that is solved from five points is the one that they were seen in."""

from dataclasses import astuple

import cv2
import numpy as np
import pytest
from fpan.serve.pipeline.align.pose import FACE, solve
from fpan_training.face3d import pose
from hypothesis import given
from hypothesis import strategies as st


def seen(
    angles: tuple[float, float, float], scale: float = 40.0, at: tuple[float, float] = (200.0, 150.0)
) -> np.ndarray:
    """The five points of the mean head in a pose, from afar."""
    return ((FACE @ pose.rotation(angles).T)[:, :2] * scale + at).astype(np.float32)


@given(st.floats(-60, 60), st.floats(-35, 35), st.floats(-170, 170), st.floats(5, 900))
def test_the_pose_of_the_mean_head_is_found_at_any_size(yaw, pitch, roll, scale):
    found = solve(seen((yaw, pitch, roll), scale))
    assert found is not None
    turn = pose.rotation((yaw, pitch, roll)).T @ pose.rotation(astuple(found))
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(turn)[0])) < 4  # the points are seen from afar, not from 2.5 m


def test_a_mirrored_face_has_the_mirrored_pose():
    points = seen((25.0, -10.0, 15.0))
    mirrored = points[[1, 0, 2, 4, 3]] * (-1, 1) + (400, 0)
    one, other = solve(points), solve(mirrored.astype(np.float32))
    assert one is not None
    assert other is not None
    assert astuple(other) == pytest.approx((-one.yaw, one.pitch, -one.roll), abs=0.01)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.outer(np.arange(5), (3, 4))])
def test_points_without_an_area_have_no_pose(points):
    assert solve(points.astype(np.float32)) is None


def test_signs_are_those_that_the_docs_say():
    straight = seen((0.0, 0.0, 0.0))
    nose = 2
    assert (seen((30.0, 0.0, 0.0)) - straight)[nose, 0] > 0
    assert (seen((0.0, 20.0, 0.0)) - straight)[nose, 1] < 0
    assert solve(seen((30.0, 0.0, 0.0))).yaw == pytest.approx(30, abs=2)
    assert solve(seen((0.0, 20.0, 0.0))).pitch == pytest.approx(20, abs=2)
    assert solve(seen((0.0, 0.0, 40.0))).roll == pytest.approx(40, abs=2)
