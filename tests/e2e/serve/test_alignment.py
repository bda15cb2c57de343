"""The arithmetic of alignment, and the template's fit."""

import json
import math

import cv2
import numpy as np
import pytest
from fpan.client import Client
from fpan.contract import AlignmentTemplate, similarity
from fpan_training.landmarks.alignment import MIRRORED, AlignmentFit, finder, fit, measure, mirror, residual, to_unit
from hypothesis import given
from hypothesis import strategies as st

from tests.support.service import ROOT

TEMPLATE = AlignmentTemplate.model_validate_json(
    (ROOT / "training/fpan_training/landmarks/alignment_celeba.json").read_bytes()
)

coordinate = st.floats(-2000, 2000)
five_points = st.lists(st.tuples(coordinate, coordinate), min_size=5, max_size=5).map(np.array)
spread_points = five_points.filter(lambda p: np.ptp(p, axis=0).max() > 1)
angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.01, 100)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(spread_points, angles, scales, coordinate, coordinate)
def test_a_similarity_is_recovered_exactly(points, angle, scale, x, y):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    truth = np.array([[c, -s, x], [s, c, y]])
    found = similarity(points, moved(points, truth))
    np.testing.assert_allclose(moved(points, found), moved(points, truth), atol=1e-6 * max(1, scale))


@given(spread_points, spread_points)
def test_the_fit_never_reflects_and_scales_evenly(source, target):
    linear = similarity(source, target)[:, :2]
    assert np.linalg.det(linear) >= 0
    np.testing.assert_allclose(
        linear.T @ linear, np.linalg.det(linear) * np.eye(2), atol=1e-6 + 1e-9 * abs(linear).max()
    )


@given(spread_points, spread_points, st.floats(-0.1, 0.1), st.floats(0.9, 1.1), st.floats(-5, 5))
def test_no_other_similarity_fits_better(source, target, angle, scale, shift):
    best = similarity(source, target)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    other = np.column_stack([turn @ best[:, :2], best[:, 2] + shift])
    error = ((moved(source, best) - target) ** 2).sum()
    assert error <= ((moved(source, other) - target) ** 2).sum() * (1 + 1e-9) + 1e-6


@given(coordinate, coordinate)
def test_coincident_points_have_no_similarity(x, y):
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.tile([x, y], (5, 1)), np.arange(10.0).reshape(5, 2))


def test_a_crop_puts_the_template_where_the_template_is():
    at = np.array(TEMPLATE.points) * 512 - 0.5
    np.testing.assert_allclose(TEMPLATE.crop_matrix(at.astype(np.float32), 512), np.eye(2, 3), atol=1e-4)


@given(spread_points, st.integers(1, 4000))
def test_a_mirrored_face_gets_the_mirrored_crop(points, width):
    size = 256
    matrix = TEMPLATE.crop_matrix(points, size)
    turned = points[list(MIRRORED)] * (-1, 1) + (width - 1, 0)
    turned_matrix = TEMPLATE.crop_matrix(turned, size)
    probes = np.array([[0.0, 0.0], [width, 3.0], [-70.0, 200.0]])
    expected = moved(probes, matrix) * (-1, 1) + (size - 1, 0)
    np.testing.assert_allclose(moved(probes * (-1, 1) + (width - 1, 0), turned_matrix), expected, rtol=1e-6, atol=1e-3)


def test_the_shipped_template_is_its_own_mirror_image_and_looks_like_a_face():
    points = np.array(TEMPLATE.points)
    np.testing.assert_allclose(points[list(MIRRORED)] * (-1, 1) + (1, 0), points, atol=1e-5)
    (r_eye, l_eye, nose, r_mouth, l_mouth) = points
    assert r_eye[0] < nose[0] < l_eye[0]
    assert r_mouth[0] < l_mouth[0]
    assert r_eye[1] < nose[1] < r_mouth[1]
    x0, y0, x1, y1 = TEMPLATE.box
    assert x0 + x1 == pytest.approx(1)
    assert (points > (x0, y0)).all()
    assert (points < (x1, y1)).all()
    assert 0 < TEMPLATE.residual < 0.03


def faces(count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        points = np.array(TEMPLATE.points) + rng.normal(0, 0.02, (5, 2))
        rows.append(np.concatenate([TEMPLATE.box, points.ravel(), [0.9]]))
    return np.array(rows)


def test_the_fit_is_the_mean_of_faces_and_their_mirror_images():
    some = faces()
    template = fit(some, "four faces")
    pixels = np.concatenate([some[:, :4] * 100, some[:, 4:14] * 100 - 0.5, some[:, 14:]], 1)
    turned = np.array([to_unit(mirror(face, 100), 100) for face in pixels])
    np.testing.assert_allclose(np.ravel(template.points), np.concatenate([some, turned])[:, 4:14].mean(0), atol=1e-5)
    assert fit(turned, "four faces").points == template.points


def test_the_residual_is_what_no_similarity_takes_away():
    points = np.array(TEMPLATE.points)
    rolled = moved(points, np.array([[0.5, -0.4, 0.1], [0.4, 0.5, 0.3]]))
    face = np.concatenate([TEMPLATE.box, rolled.ravel(), [0.9]])[None]
    assert residual(face, TEMPLATE.points) == pytest.approx(0, abs=1e-12)
    assert residual(faces(), TEMPLATE.points) == pytest.approx(0.02, rel=0.5)


def test_a_fit_on_no_face_says_so():
    with pytest.raises(ValueError, match="no face"):
        fit(np.zeros((0, 15)), "nothing")


def test_pictures_are_measured_and_the_template_written(tmp_path, astronaut, service):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/face.png"), cv2.cvtColor(astronaut[:400, 20:420], cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "images/grey.png"), np.full((400, 400, 3), 128, np.uint8))
    for name in ("face", "grey"):
        cv2.imwrite(str(tmp_path / f"masks/{name}.png"), np.zeros((400, 400), np.uint8))
    out = tmp_path / "alignment.json"
    template = AlignmentFit(tmp_path, url=service.url, out=out, title="one astronaut")()
    assert AlignmentTemplate.model_validate_json(out.read_bytes()) == template
    assert template.fitted_on.startswith("1 pictures of one astronaut")
    assert template.points[0][1] == pytest.approx(103.5 / 400, abs=0.01)


def test_a_picture_that_is_not_square_is_refused(tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "wide.png"), astronaut[:300])
    with pytest.raises(ValueError, match="not square"):
        measure([tmp_path / "wide.png"], lambda path: None)


def test_the_shipped_template_fits_the_validation_pictures(fpan_data, service):
    names = json.loads((fpan_data / "celeba19/split.json").read_text())["val"][:12]
    with Client(service.url) as client:
        found = measure([fpan_data / f"celeba19/images/{name}.jpg" for name in names], finder(client))
    assert len(found) >= 11
    assert residual(found, TEMPLATE.points) < 1.5 * TEMPLATE.residual
