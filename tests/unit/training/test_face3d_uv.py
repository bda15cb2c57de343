"""UV maps, turned heads, exported faces and rendered pictures."""

import io
import json

import cv2
import numpy as np
import pytest
import trimesh
from fpan_training.data.folder import FaceFolder
from fpan_training.face3d import pose
from fpan_training.face3d.export import PART, glb, vertex_parts
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.rendered import RenderedFace, render_dataset, render_face
from fpan_training.face3d.surroundings import turn
from fpan_training.face3d.uv import UvMap, render, unwrap
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceStore
from fpan_training.taxonomy import TAXONOMY

MODEL = FaceModel.load()


@pytest.fixture(scope="module")
def portrait() -> RenderedFace:
    """A rendered person who looks nearly straight on."""
    return min((render_face((7, i), 256) for i in range(8)), key=lambda face: float(np.abs(face.record.angles).sum()))


@pytest.fixture(scope="module")
def face(portrait: RenderedFace) -> FaceFit:
    return fit(portrait.record.mesh478)


@pytest.fixture(scope="module")
def uv_map(portrait: RenderedFace, face: FaceFit) -> UvMap:
    return unwrap(portrait.image, face, labels=portrait.labels)


def away_from_borders(labels: np.ndarray, pixels: int = 3) -> np.ndarray:
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(labels, kernel) == cv2.erode(labels, kernel)


def test_rendering_at_the_original_pose_gives_the_labels_back(portrait, face, uv_map):
    again = render(uv_map, face, face.angles, portrait.labels.shape)
    where = again.covered & away_from_borders(portrait.labels)
    assert where.mean() > 0.2
    assert (again.labels[where] == portrait.labels[where]).mean() >= 0.99


def test_rendering_at_the_original_pose_gives_the_colours_back(portrait, face, uv_map):
    again = render(uv_map, face, face.angles, portrait.labels.shape)
    where = again.covered & away_from_borders(portrait.labels)
    assert np.abs(again.image[where].astype(float) - portrait.image[where]).mean() < 4


def test_what_is_hidden_or_background_is_not_visible(portrait, face, uv_map):
    back = FaceModel.load().neutral[:, 2] > 4
    at = (MODEL.uv[back[MODEL.triangles].all(1)] * uv_map.size).astype(int).reshape(-1, 2).clip(0, uv_map.size - 1)
    assert uv_map.visible[at[:, 1], at[:, 0]].mean() < 0.05
    assert (uv_map.labels[uv_map.visible] != TAXONOMY.background).all()
    assert (uv_map.labels[~uv_map.visible] == TAXONOMY.ignore).all()


def test_a_face_seen_from_one_side_hides_the_other():
    seen = min((render_face((11, i), 192) for i in range(12)), key=lambda face: abs(face.record.angles[0] - 50))
    found = fit(seen.record.mesh478)
    visible = unwrap(seen.image, found, labels=seen.labels).visible
    height = round(0.86 * len(visible))
    left, right = visible[:height, len(visible) // 2 :].mean(), visible[:height, : len(visible) // 2].mean()
    # The nose points to the right of the picture: the person's right half, on the left of the map, is seen.
    assert right > 1.5 * left


@pytest.mark.parametrize("yaw", [-60, -30, 30, 60])
def test_a_rendered_yaw_is_measured_again_by_refitting(face, yaw):
    turned = face.posed(pose.rotation((yaw, 0, 0)))
    again = fit(SCHEME.from_mesh(MODEL.mesh478(turned.vertices)))
    assert again.angles[0] == pytest.approx(yaw, abs=2)


def test_mirroring_a_map_twice_gives_it_back_and_once_swaps_left_and_right(uv_map):
    once, twice = uv_map.mirror(), uv_map.mirror().mirror()
    np.testing.assert_array_equal(twice.labels, uv_map.labels)
    left, right = TAXONOMY.id_of("l_eye"), TAXONOMY.id_of("r_eye")
    columns = np.nonzero(once.labels == left)[1]
    assert np.mean(columns > 0.5 * uv_map.size) == 1
    assert np.count_nonzero(once.labels == left) == np.count_nonzero(uv_map.labels == right)


def test_turning_a_head_nowhere_leaves_the_picture_as_it_is(portrait, face, uv_map):
    turned = turn(portrait.image, portrait.labels, face, uv_map, face.angles)
    inside = away_from_borders(portrait.labels) & ~turned.hole
    assert inside.mean() > 0.7
    assert (turned.labels[inside] == portrait.labels[inside]).mean() > 0.98


def test_turning_a_head_moves_the_nose_and_leaves_the_picture_filled(portrait, face, uv_map):
    turned = turn(portrait.image, portrait.labels, face, uv_map, (40, 0, 0))
    nose = TAXONOMY.id_of("nose")
    assert np.nonzero(turned.labels == nose)[1].mean() > np.nonzero(portrait.labels == nose)[1].mean() + 5
    assert turned.hole.mean() < 0.2
    assert (turned.labels[turned.hole] == TAXONOMY.ignore).all()
    corner = portrait.image[:8, :8].astype(float)
    assert np.abs(turned.image[:8, :8] - corner).mean() < 12  # the border stays


def test_an_exported_face_has_a_part_for_every_vertex(face, uv_map):
    scene = trimesh.load(io.BytesIO(glb(face, uv_map)), file_type="glb")
    assert set(scene.geometry) == {"parts", "photo"}
    for mesh in scene.geometry.values():
        parts = mesh.vertex_attributes[PART]
        assert len(parts) == len(mesh.vertices)
        assert len(mesh.faces) == len(MODEL.triangles)
        assert 0.2 < mesh.extents[1] < 0.5  # metres: head and shoulders
    left = scene.geometry["parts"].vertices[scene.geometry["parts"].vertex_attributes[PART].ravel() == 4]
    assert left[:, 0].min() > 0
    coloured = scene.geometry["parts"].visual.vertex_colors[:, :3]
    expected = TAXONOMY.palette[scene.geometry["parts"].vertex_attributes[PART].ravel().astype(int)]
    np.testing.assert_array_equal(coloured, expected)
    assert scene.metadata["classes"]["4"]["name"] == "l_eye"


def test_vertices_take_the_parts_that_the_picture_shows(portrait, face, uv_map):
    hat = np.full_like(uv_map.labels, TAXONOMY.id_of("hat"))
    shown = vertex_parts(UvMap(uv_map.texture, hat, uv_map.visible))
    assert (shown == TAXONOMY.id_of("hat")).all()
    assert (vertex_parts(None) == MODEL.parts).all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    a, b, other = (render_face((seed, 0), 64) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.record.mesh478, b.record.mesh478)
    assert (a.image != other.image).mean() > 0.5


def test_rendered_people_show_every_class_of_celebamask_hq():
    shown = np.zeros(len(TAXONOMY.classes), int)
    for i in range(40):
        shown[np.unique(render_face((0, i), 96).labels)] += 1
    assert (shown[:19] > 0).all(), shown
    assert shown[19] == 0


def test_landmarks_of_rendered_people_lie_on_the_parts_that_they_are_of():
    hits = {name: [] for name in ("l_iris_0", "nose_bridge_8", "r_brow_upper_4")}
    allowed = {"l_iris_0": {3, 4}, "nose_bridge_8": {2}, "r_brow_upper_4": {1, 7, 13, 14, 3}}
    for i in range(12):
        face = render_face((5, i), 128)
        if np.abs(face.record.angles[0]) > 30:
            continue
        for name, seen in hits.items():
            x, y = np.rint(face.record.points264[SCHEME.names.index(name)]).astype(int)
            seen.append(int(face.labels[y, x]) in allowed[name])
    assert np.mean(hits["nose_bridge_8"]) == 1
    assert np.mean(hits["r_brow_upper_4"]) > 0.8
    assert np.mean(hits["l_iris_0"]) > 0.5  # eyes may be closed


def test_a_rendered_data_set_can_be_opened_as_any_other(tmp_path):
    folder = render_dataset(tmp_path, 10, seed=1, size=64)
    train, val = FaceFolder.open(folder, "train"), FaceFolder.open(folder, "val")
    assert (len(train), len(val)) == (8, 2)
    sample = val[0]
    record = FaceStore(folder / "faces").get(sample.name)
    assert record is not None
    found = fit(record.mesh478)
    assert pose.geodesic(found.rotation, record.rotation) < 2
    assert json.loads((folder / "dataset.json").read_text())["labels"] == "celeba19"
    assert (folder / "contact.png").is_file()
