"""The 264 landmarks: their scheme, stores, crops, and the teacher that finds them."""

import json
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data.folder import DataError, read_rgb
from fpan_training.face3d.pose import angles, rotation
from fpan_training.landmarks import POINTS, SCHEME, FaceRecord, FaceStore, face_crop, warp_points
from fpan_training.landmarks.build import LandmarkBuild, list_images
from fpan_training.landmarks.canonical import VERTICES, canonical_mesh
from fpan_training.landmarks.crop import invert
from fpan_training.landmarks.design import design, text
from fpan_training.landmarks.picture import LandmarkScheme
from fpan_training.landmarks.store import read_given
from fpan_training.landmarks.teacher import Teacher, mesh_rotation, record_of, task_bytes
from numpy.typing import NDArray
from PIL import Image

_PARTING = ("outline", "brows", "eyes", "irises", "nose", "lips_outer", "lips_inner", "cheeks", "forehead")
_ASTRONAUT_EYES = ((203.0, 103.0), (243.0, 104.0))
"""Where the detector sees them in the picture, the person's right one first (see the README)."""


def a_mesh(seed: int = 0, turned: tuple[float, float, float] = (0, 0, 0)) -> NDArray[np.float32]:
    """A face mesh in a picture of about 400 pixels."""
    rng = np.random.default_rng(seed)
    mesh = canonical_mesh().vertices @ rotation(turned).T * 15 + [200, 210, 0]
    return (mesh + rng.normal(0, 0.2, mesh.shape)).astype(np.float32)


def test_there_are_264_landmarks_with_names_of_their_own() -> None:
    assert len(SCHEME) == POINTS == 264
    assert len(set(SCHEME.names)) == 264


def test_partners_are_an_involution_and_change_the_side_of_the_name() -> None:
    assert (SCHEME.partner[SCHEME.partner] == np.arange(264)).all()
    for name, partner in zip(SCHEME.names, SCHEME.partner, strict=True):
        other = {"r_": "l_", "l_": "r_"}.get(name[:2])
        assert SCHEME.names[partner] == (name if other is None else other + name[2:])
    middle = set(SCHEME.groups["midline"].tolist())
    assert middle == {i for i, partner in enumerate(SCHEME.partner) if i == partner}


def test_groups_part_the_landmarks() -> None:
    members = np.concatenate([SCHEME.groups[name] for name in _PARTING])
    assert sorted(members.tolist()) == list(range(264))
    assert set(SCHEME.groups["ears"].tolist()) < set(SCHEME.groups["outline"].tolist())


def test_the_committed_scheme_is_what_the_layout_gives() -> None:
    file = resources.files("fpan_training.landmarks").joinpath("scheme264.json")
    assert file.read_text(encoding="utf-8") == text(design())


def test_the_command_draws_the_scheme(tmp_path: Path) -> None:
    LandmarkScheme(tmp_path / "scheme.png", tmp_path / "scheme.json")()
    assert json.loads((tmp_path / "scheme.json").read_text())["points"][0]["name"] == SCHEME.names[0]
    assert cv2.imread(str(tmp_path / "scheme.png")) is not None


def test_every_landmark_is_a_mixture_of_vertices() -> None:
    assert np.allclose(SCHEME.mesh_weights.sum(1), 1, atol=1e-3)
    assert np.allclose(SCHEME.ibug_weights.sum(1), 1, atol=1e-3)


def test_a_mirrored_mesh_gives_mirrored_landmarks() -> None:
    mesh, width = a_mesh(turned=(20, -10, 5)), 400
    mirrored = mesh[canonical_mesh().partner] * np.array([-1, 1, 1], np.float32) + np.array([width - 1, 0, 0])
    assert np.allclose(SCHEME.from_mesh(mirrored), SCHEME.mirror(SCHEME.from_mesh(mesh), width), atol=1e-2)


def test_mirroring_twice_changes_nothing() -> None:
    points = SCHEME.from_mesh(a_mesh())
    assert np.allclose(SCHEME.mirror(SCHEME.mirror(points, 321), 321), points, atol=1e-3)


def test_a_moved_vertex_moves_the_landmarks_that_lie_on_it_and_no_other() -> None:
    mesh = a_mesh()
    moved = mesh.copy()
    moved[1, :2] += 7  # the tip of the nose
    shift = np.linalg.norm(SCHEME.from_mesh(moved) - SCHEME.from_mesh(mesh), axis=1)
    tip = SCHEME.names.index("nose_bridge_8")
    assert shift[tip] == pytest.approx(7 * np.sqrt(2), rel=1e-3)
    assert {SCHEME.names[i] for i in np.flatnonzero(shift > 1e-3)} <= {"nose_bridge_7", "nose_bridge_8"}


def test_the_usual_68_are_in_their_usual_places() -> None:
    points = SCHEME.to68(SCHEME.from_mesh(canonical_mesh().vertices))
    x, y = points.T
    assert points.shape == (68, 2)
    # The jaw from the person's right ear over the chin, the lowest, to the left ear.
    assert (np.diff(x[:17]) > 0).sum() >= 14
    assert y[:17].argmax() == 8
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) > 0).all()
    assert (np.diff(x[31:36]) > 0).all()
    for eye in (points[36:42], points[42:48]):
        assert eye[:, 0].argmin() == 0
        assert eye[:, 0].argmax() == 3
        assert eye[1:3, 1].max() < eye[4:6, 1].min()
    assert x[36:42].max() < x[42:48].min()
    assert y[17:27].max() < y[36:48].min() < y[30] < y[48:68].min()
    outer, inner = points[48:60], points[60:68]
    for lips, corner in ((outer, 6), (inner, 4)):
        assert lips[:, 0].argmin() == 0
        assert lips[:, 0].argmax() == corner
    assert inner[2, 1] < inner[6, 1]
    assert outer[3, 1] < inner[2, 1]
    assert inner[6, 1] < outer[9, 1]


def test_the_wrong_number_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match="478"):
        SCHEME.from_mesh(np.zeros((468, 3)))
    with pytest.raises(ValueError, match="264"):
        SCHEME.to68(np.zeros((68, 2)))


def test_the_pose_of_a_turned_mesh_is_found_again() -> None:
    said = angles(mesh_rotation(a_mesh(turned=(30, -15, 10))))
    assert np.allclose(said, (30, -15, 10), atol=1)


def test_a_crop_frames_the_points_with_its_margin() -> None:
    points = np.array([[30.0, 40], [70, 60]], np.float32)
    at = warp_points(points, face_crop(points, 100, 0.25))
    # The box's longer side, 40 pixels, becomes 100 / 1.5; its middle is the middle of the crop.
    assert np.allclose(at.mean(0), 49.5)
    assert np.ptp(at[:, 0]) == pytest.approx(100 / 1.5, rel=1e-5)


def test_crops_and_points_agree_to_the_pixel() -> None:
    image = np.zeros((90, 120), np.uint8)
    image[31, 77] = 255
    matrix = face_crop(np.array([[60.0, 20], [90, 50]]), 310, 0.0)
    moved = cv2.warpAffine(image, matrix, (310, 310), flags=cv2.INTER_LINEAR).astype(float)
    y, x = np.indices(moved.shape)
    centre = np.array([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
    assert np.allclose(centre, warp_points(np.array([[77.0, 31]]), matrix)[0], atol=0.3)


def test_the_way_back_from_a_crop() -> None:
    points = np.random.default_rng(0).uniform(0, 300, (5, 2))
    matrix = face_crop(points, 112, 0.1)
    assert np.allclose(warp_points(warp_points(points, matrix), invert(matrix)), points, atol=1e-2)


def test_a_store_gives_back_what_was_put(tmp_path: Path) -> None:
    store, record = FaceStore(tmp_path / "faces"), record_of(a_mesh(turned=(12, 0, 0)))
    store.put("one", record)
    found = store.get("one")
    assert found is not None
    assert (found.points264 == record.points264).all()
    assert (found.mesh478 == record.mesh478).all()
    assert found.angles[0] == pytest.approx(12, abs=1)
    assert store.names() == ("one",)


def test_a_store_tells_no_face_from_never_looked_at(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    store.put("empty", FaceRecord.nothing())
    assert store.get("empty") is None
    assert store.read("empty") is not None
    assert store.read("unknown") is None


def test_a_broken_record_is_reported_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "one.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="fpan-train landmarks"):
        FaceStore(tmp_path).get("one")


def test_given_landmarks_take_the_place_of_the_teachers(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (264, 2)).round(2)
    named = dict(zip(SCHEME.names, points.tolist(), strict=True))
    for content in ({"points": points.tolist()}, {"points": named, "angles": [10, 0, 0]}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        given = read_given(tmp_path / "a.json", SCHEME.names)
        record = given.over(FaceRecord.nothing())
        assert record.found
        assert np.allclose(record.points264, points)
    assert np.allclose(record.rotation, rotation((10, 0, 0)), atol=1e-6)


@pytest.mark.parametrize("content", ["{", '{"points": [[1, 2]]}', '{"points": {"chin": [1, 2]}}', "{}", "[]"])
def test_landmarks_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json"):
        read_given(tmp_path / "a.json", SCHEME.names)


def test_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    for ending in ("png", "jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"twice.{ending}")
    with pytest.raises(DataError, match="twice"):
        list_images(tmp_path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.task").write_bytes(b"other")
    with pytest.raises(DataError, match="sha256"):
        task_bytes(tmp_path / "other.task")


@pytest.fixture(scope="module")
def task(fpan_data: Path) -> Path:
    return fpan_data / "models" / "face_landmarker_v2.task"


@pytest.fixture(scope="module")
def teacher(task: Path) -> Teacher:
    return Teacher(task_bytes(task))


def eyes(record: FaceRecord) -> NDArray[np.float32]:
    return record.points264[[SCHEME.names.index(f"{side}_iris_centre") for side in "rl"]]


def test_the_teacher_finds_the_astronauts_eyes(teacher: Teacher, astronaut: NDArray[np.uint8]) -> None:
    record = teacher(astronaut)
    assert record.found
    assert np.allclose(eyes(record), _ASTRONAUT_EYES, atol=4)
    assert record.mesh478.shape == (VERTICES, 3)


def test_the_teacher_follows_a_picture_that_is_moved_and_turned(teacher: Teacher, astronaut: NDArray[np.uint8]) -> None:
    matrix = cv2.getRotationMatrix2D((223, 120), -20, 1.2) + np.array([[0, 0, 40], [0, 0, 60]])
    straight, moved = teacher(astronaut), teacher(np.asarray(cv2.warpAffine(astronaut, matrix, (560, 560)), np.uint8))
    error = np.linalg.norm(moved.points264 - warp_points(straight.points264, matrix), axis=1)
    assert error.mean() < 0.04 * np.ptp(straight.points264[:, 0]) * 1.2
    assert moved.angles[2] - straight.angles[2] == pytest.approx(20, abs=4)


def test_a_mirrored_picture_turns_the_other_way(teacher: Teacher, astronaut: NDArray[np.uint8]) -> None:
    record, mirrored = teacher(astronaut), teacher(np.ascontiguousarray(astronaut[:, ::-1]))
    assert np.allclose(mirrored.angles[[0, 2]], -record.angles[[0, 2]], atol=4)
    assert np.allclose(mirrored.points264, SCHEME.mirror(record.points264, astronaut.shape[1]), atol=4)


def test_a_picture_without_a_face_has_none(teacher: Teacher) -> None:
    assert not teacher(np.full((120, 160, 3), 128, np.uint8)).found


def test_yaw_has_the_sign_that_the_posed_faces_show(teacher: Teacher, fpan_data: Path) -> None:
    # The names count the other way round: at yaw-30 the nose points to the right of the picture.
    folder = fpan_data / "fasseg_posed" / "images"
    found = {yaw: teacher(read_rgb(next(folder.glob(f"*_yaw{yaw}.jpg")))).angles[0] for yaw in ("-30", "0", "+30")}
    assert found["-30"] > 15
    assert abs(found["0"]) < 12
    assert found["+30"] < -15


def test_the_command_fills_a_store_and_does_nothing_twice(
    task: Path, tmp_path: Path, astronaut: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "faces"
    (data / "images").mkdir(parents=True)
    (data / "landmarks").mkdir()
    Image.fromarray(astronaut).save(data / "images" / "astronaut.png")
    Image.new("RGB", (64, 64)).save(data / "images" / "nobody.png")
    (data / "landmarks" / "nobody.json").write_text(json.dumps({"points": [[1, 2]] * 264}))
    build = LandmarkBuild(data, tmp_path / "store", task, processes=1)
    store = build()
    first = {name: store.path(name).stat().st_mtime_ns for name in store.names()}
    assert set(first) == {"astronaut", "nobody"}
    given, seen = store.get("nobody"), store.get("astronaut")
    assert given is not None
    assert seen is not None
    assert (given.points264 == [1, 2]).all()
    assert np.allclose(eyes(seen), _ASTRONAUT_EYES, atol=4)
    build()
    assert {name: store.path(name).stat().st_mtime_ns for name in store.names()} == first
    assert "2 with a face" in capsys.readouterr().out
