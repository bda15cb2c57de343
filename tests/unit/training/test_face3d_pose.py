"""What the angles of a head mean."""

import numpy as np
import pytest
from fpan_training.face3d import pose

NOSE = np.array([0.0, 0.0, -1.0])
LEFT_EYE = np.array([1.0, 0.0, 0.0])
"""The person's own left: to the right of the picture."""


def test_positive_yaw_turns_the_nose_to_the_right_of_the_picture():
    x, y, _ = pose.rotation((30, 0, 0)) @ NOSE
    assert x == pytest.approx(0.5)
    assert y == pytest.approx(0)


def test_positive_pitch_lifts_the_nose():
    x, y, _ = pose.rotation((0, 30, 0)) @ NOSE
    assert y == pytest.approx(-0.5)  # y points down
    assert x == pytest.approx(0)


def test_positive_roll_turns_the_head_clockwise():
    x, y, _ = pose.rotation((0, 0, 30)) @ LEFT_EYE
    assert (x, y) == (pytest.approx(np.sqrt(0.75)), pytest.approx(0.5))


def test_angles_give_back_what_the_rotation_was_made_of():
    angles = np.random.default_rng(0).uniform((-89, -179, -179), (89, 179, 179), (200, 3))
    rotations = pose.rotation(angles)
    np.testing.assert_allclose(pose.angles(rotations), angles, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


@pytest.mark.parametrize("yaw", [-90, 90])
def test_a_profile_keeps_its_rotation_though_its_pitch_and_roll_are_not_determined(yaw: float):
    rotation = pose.rotation((yaw, 20, 30))
    assert pose.geodesic(pose.rotation(pose.angles(rotation)), rotation) == pytest.approx(0, abs=1e-4)


def test_a_mirrored_rotation_has_the_mirrored_angles():
    angles = (25, -10, 7)
    flip = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(pose.angles(flip @ pose.rotation(angles) @ flip), pose.mirror(angles), atol=1e-9)


def test_the_geodesic_distance_is_the_angle_between():
    turned = pose.rotation((40, 0, 0)) @ pose.rotation((5, 10, 20))
    assert pose.geodesic(turned, pose.rotation((5, 10, 20))) == pytest.approx(40)


def test_a_pose_with_y_up_is_turned_into_the_frame_of_pictures():
    sin, cos = np.sin(np.deg2rad(30)), np.cos(np.deg2rad(30))
    # With y up and z towards the camera this takes the nose, (0, 0, 1), to +x: the right of the picture.
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    np.testing.assert_allclose(pose.angles(pose.from_y_up(matrix)), (30, 0, 0), atol=1e-9)


def test_aflw_has_pitch_first_and_the_other_sign_of_yaw():
    pose_para = np.array([[np.deg2rad(10), np.deg2rad(-20), np.deg2rad(5), 100, 100, 0, 1e-3]])
    np.testing.assert_allclose(pose.from_aflw(pose_para), (20, 10, 5))
