"""The 3D face: model, fit and rasteriser."""

import numpy as np
import pytest
from fpan_training.data.folder import read_rgb
from fpan_training.face3d import pose
from fpan_training.face3d.fit import PIVOT_CM, fit
from fpan_training.face3d.model import MODEL_FILE, FaceModel
from fpan_training.face3d.rasterise import OUTSIDE, rasterise
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.taxonomy import TAXONOMY
from scipy.io import loadmat

MODEL = FaceModel.load()
SCALE, PLACE = 10.0, np.array([128.0, 140.0, 0.0])


def face(angles: tuple[float, float, float], seed: int = 0) -> np.ndarray:
    """The vertices of a face in a picture."""
    rng = np.random.default_rng(seed)
    shape = MODEL.vertices(rng.normal(0, 0.8, 30), MODEL.strengths(jawOpen=0.3, mouthSmile_L=0.5, mouthSmile_R=0.5))
    return shape @ pose.rotation(angles).T * SCALE + PLACE


def part(name: str) -> np.ndarray:
    return MODEL.neutral[MODEL.parts == TAXONOMY.id_of(name)]


def test_the_committed_model_is_small_and_has_its_licence_beside_it():
    assert MODEL_FILE.stat().st_size < 1.2e6
    assert "MIT License" in MODEL_FILE.with_name("ICT_FACEKIT_LICENSE.txt").read_text()


def test_left_parts_lie_on_the_persons_own_left():
    for name in ("eye", "brow", "ear"):
        assert part(f"l_{name}")[:, 0].mean() > 1, name
        assert part(f"r_{name}")[:, 0].mean() < -1, name


def test_parts_lie_in_the_order_of_a_face():
    heights = [
        part(name)[:, 1].mean() for name in ("hair", "l_brow", "l_eye", "nose", "u_lip", "l_lip", "neck", "cloth")
    ]
    assert heights == sorted(heights)


def test_the_face_looks_at_the_camera_and_its_surface_outwards():
    nose = part("nose")
    assert nose[:, 2].min() < part("hair")[:, 2].min()
    normals = MODEL.normals(MODEL.neutral)
    tip = MODEL.mesh_vertices[1][0]
    assert normals[tip, 2] < -0.7


def test_an_expression_moves_what_it_is_named_after():
    rest = MODEL.mesh478(MODEL.neutral)
    opened = MODEL.mesh478(MODEL.vertices([], MODEL.strengths(jawOpen=1)))
    lower_lip, upper_lip = 14, 13
    assert opened[lower_lip, 1] - rest[lower_lip, 1] > 1.5
    assert abs(opened[upper_lip, 1] - rest[upper_lip, 1]) < 0.3


def test_an_unknown_expression_is_named():
    with pytest.raises(ValueError, match="smirk"):
        MODEL.strengths(smirk=1)


def test_the_mesh_on_the_model_resembles_mediapipes_own():
    own, canonical = MODEL.mesh478(MODEL.neutral), canonical_mesh().vertices.astype(float)
    own, canonical = own - own.mean(0), canonical - canonical.mean(0)
    canonical *= np.linalg.norm(own) / np.linalg.norm(canonical)
    assert np.linalg.norm(own - canonical, axis=1).mean() < 0.6


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 10, -15), (-60, -20, 5), (80, 0, 0)])
@pytest.mark.parametrize("kind", ["mesh478", "mesh478 without depth", "264", "68"])
def test_a_fit_finds_the_pose_that_the_landmarks_were_made_with(angles: tuple[float, float, float], kind: str):
    vertices = face(angles)
    mesh = MODEL.mesh478(vertices)
    points = {
        "mesh478": mesh,
        "mesh478 without depth": mesh[:, :2],
        "264": SCHEME.from_mesh(mesh),
        "68": SCHEME.to68(SCHEME.from_mesh(mesh)),
    }[kind]
    found = fit(points)
    tolerance = 2 if kind.startswith("mesh") else 4
    assert pose.geodesic(found.rotation, pose.rotation(angles)) < tolerance
    assert np.abs(found.vertices - vertices)[MODEL.mesh_vertices.ravel(), :2].mean() < 0.25 * SCALE
    assert found.residual < 0.2


def test_a_fit_holds_expressions_within_their_range():
    found = fit(MODEL.mesh478(face((20, 0, 0))))
    assert found.expression.min() >= 0
    assert found.expression.max() <= 1


def test_a_fit_is_moved_as_the_picture_is():
    mesh = MODEL.mesh478(face((20, 5, 0)))[:, :2]
    turn = np.deg2rad(25)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 7], [np.sin(turn), np.cos(turn), -4]])
    matrix[:, :2] *= 1.7
    moved = fit(mesh).moved(matrix)
    again = fit(mesh @ matrix[:, :2].T + matrix[:, 2])
    assert np.abs(moved.vertices - again.vertices)[:, :2].max() < 0.5
    assert pose.geodesic(moved.rotation, again.rotation) < 0.5


def test_a_turned_fit_has_the_angles_asked_for_and_keeps_its_place():
    found = fit(MODEL.mesh478(face((10, 0, 0))))
    turned = found.posed(pose.rotation((55, -10, 5)))
    np.testing.assert_allclose(turned.angles, (55, -10, 5), atol=1e-3)
    pivot = np.array(PIVOT_CM)
    before = found.scale * found.rotation @ pivot + found.translation
    np.testing.assert_allclose(turned.scale * turned.rotation @ pivot + turned.translation, before, atol=1e-2)


def test_a_fit_refuses_what_is_no_set_of_landmarks():
    with pytest.raises(ValueError, match="478, 264, 68"):
        fit(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="finite"):
        fit(np.full((68, 2), np.nan))


def test_the_angles_of_aflw_are_those_of_its_own_landmarks(fpan_data):
    errors = []
    for path in sorted((fpan_data / "photos" / "aflw2000").glob("*.mat")):
        truth = loadmat(path)
        found = fit(truth["pt3d_68"][:2].T)
        errors.append(found.angles - pose.from_aflw(truth["Pose_Para"]))
        assert read_rgb(path.with_suffix(".jpg")).shape == (450, 450, 3)
    yaw, pitch, roll = np.abs(errors).mean(0)
    assert (yaw, roll) < (2.5, 3.5)
    assert pitch < 6


def test_the_nearer_triangle_is_seen():
    vertices = np.array([[0, 0, 5], [9, 0, 5], [0, 9, 5], [0, 0, 2], [5, 0, 2], [0, 5, 2]], float)
    raster = rasterise(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 10, 10)
    assert raster.triangle[1, 1] == 1
    assert raster.triangle[1, 7] == 0
    assert raster.triangle[9, 9] == OUTSIDE
    assert raster.depth[1, 1] == 2
    assert np.isinf(raster.depth[9, 9])


def test_interpolation_gives_the_places_of_the_pixels_themselves():
    vertices = face((30, 10, 5))
    raster = rasterise(vertices, MODEL.triangles, 200, 240)
    places = raster.interpolate(vertices[MODEL.triangles])
    rows, columns = np.nonzero(raster.covered)
    np.testing.assert_allclose(places[:, :2], np.stack([columns, rows], -1), atol=1e-3)
    np.testing.assert_allclose(places[:, 2], raster.depth[raster.covered], atol=1e-3)


def test_triangles_beyond_the_picture_do_no_harm():
    vertices = np.array([[-50, -50, 0], [500, -20, 0], [10, 900, 0]], float)
    assert rasterise(vertices, np.array([[0, 1, 2]]), 20, 30).covered.all()
    assert not rasterise(vertices - 2000, np.array([[0, 1, 2]]), 20, 30).covered.any()


def test_a_mesh_without_numbers_is_refused():
    with pytest.raises(ValueError, match="finite"):
        rasterise(np.full((3, 3), np.nan), np.array([[0, 1, 2]]), 4, 4)
