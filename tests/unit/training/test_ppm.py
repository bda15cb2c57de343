"""PPM: bins, losses, what moving a picture does to its pose, sources of true angles, and a training of seconds."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fpan_training.data.folder import DataError
from fpan_training.face3d import pose
from fpan_training.landmarks import SCHEME, FaceRecord, FaceStore
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.ppm import HeadPose, PoseNetwork, PpmConfig
from fpan_training.modules.ppm.data import (
    PoseAugmentConfig,
    PoseData,
    PosedFace,
    collate,
    mirror,
    move,
    repeat_by_yaw,
    turned,
)
from fpan_training.modules.ppm.evaluate import PoseErrors
from fpan_training.modules.ppm.loss import PoseLossConfig, geodesic, hopenet_loss, pose_loss
from fpan_training.modules.ppm.model import BINS, bin_centres, bins_of, expectation, rotation_from_6d
from fpan_training.modules.ppm.predict import crop, crop_matrix
from fpan_training.modules.ppm.report import PpmReport
from fpan_training.modules.ppm.sources import from_aflw, from_fasseg, from_posed, from_store
from fpan_training.modules.ppm.step import PoseBatch, PoseStep
from fpan_training.modules.ppm.train import PpmTraining
from PIL import Image
from scipy.io import savemat

SIDE = 96
"""Of the drawn pictures, in pixels."""
SMALL = PpmConfig(input_size=64, pretrained=False, dropout=0.0)
STILL = PoseAugmentConfig(flip=0, rotation_deg=0, p_large_rotation=0, scale=(1, 1), shift=0)


def _angles(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform((-60, -30, -30), (60, 30, 30), (count, 3))


def _record(angles: np.ndarray) -> FaceRecord:
    """The canonical face at a pose, in the middle of a picture of SIDE pixels, as the teacher would record it."""
    vertices = canonical_mesh().vertices @ pose.rotation(angles).T
    mesh = (vertices - vertices.mean(0)) * (0.6 * SIDE / np.ptp(vertices[:, :2], axis=0).max())
    return record_of((mesh + np.array([SIDE / 2, SIDE / 2, 0])).astype(np.float32))


def _draw(record: FaceRecord) -> np.ndarray:
    """The mesh as dots whose brightness is their nearness."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    depth = record.mesh478[:, 2]
    for (x, y, _), far in zip(record.mesh478, (depth - depth.min()) / np.ptp(depth), strict=True):
        cv2.circle(image, (round(float(x)), round(float(y))), 1, (round(255 - 200 * far),) * 3, -1)
    return image


@pytest.fixture
def write_faces(tmp_path: Path) -> Callable[..., Path]:
    """Writes drawn faces as a data set and its store: ``write_faces(angles by name)`` gives the data set's folder."""

    def write(angles: dict[str, np.ndarray], title: str = "drawn", store: str = "stores") -> Path:
        (tmp_path / title / "images").mkdir(parents=True)
        for name, at in angles.items():
            record = _record(at)
            Image.fromarray(_draw(record)).save(tmp_path / title / "images" / f"{name}.png")
            FaceStore(tmp_path / store / title).put(name, record)
        return tmp_path / title

    return write


# Bins


def test_the_soft_angle_of_a_certain_bin_is_its_centre() -> None:
    certain = torch.eye(BINS) * 1e4
    torch.testing.assert_close(expectation(certain), bin_centres())
    torch.testing.assert_close(bin_centres(), torch.arange(-97.5, 98, 3))


def test_an_angle_lies_within_its_bin() -> None:
    angles = torch.linspace(-98.9, 98.9, 1000)
    assert ((bin_centres()[bins_of(angles)] - angles).abs() <= 1.5 + 1e-4).all()
    assert bins_of(torch.tensor([-500.0, 500.0])).tolist() == [0, BINS - 1]


# Rotations


def test_six_numbers_give_a_rotation() -> None:
    rotations = rotation_from_6d(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(50))


def test_the_columns_of_a_rotation_give_it_back() -> None:
    rotations = torch.from_numpy(pose.rotation(_angles(np.random.default_rng(0), 20)))
    torch.testing.assert_close(rotation_from_6d(rotations[:, :, :2].mT.flatten(1)), rotations)


def test_the_geodesic_distance_is_zero_at_equality_symmetric_and_the_angle_between() -> None:
    rng = np.random.default_rng(1)
    a, b = (pose.rotation(_angles(rng, 30)) for _ in range(2))
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    assert (geodesic(ta, ta) == 0).all()
    torch.testing.assert_close(geodesic(ta, tb), geodesic(tb, ta))
    np.testing.assert_allclose(np.rad2deg(geodesic(ta, tb).numpy()), pose.geodesic(a, b), atol=1e-5)


@pytest.mark.parametrize("turn", [0.0, 1e-4, 180.0])
def test_the_geodesic_loss_has_a_finite_gradient_even_where_nothing_or_everything_is_wrong(turn: float) -> None:
    said = torch.eye(3)[None].requires_grad_()
    geodesic(said, torch.from_numpy(pose.rotation((0, 0, turn))).float()[None]).sum().backward()
    assert said.grad is not None
    assert said.grad.isfinite().all()


# Loss


def test_the_loss_is_least_at_the_truth_and_grows_with_the_error() -> None:
    angles = torch.tensor([[10.5, -1.5, 40.5]])

    def loss_at(guess: torch.Tensor) -> float:
        logits = -((bin_centres() - guess[..., None]) ** 2) / 2
        return float(hopenet_loss(logits, angles, PoseLossConfig())["loss"])

    losses = [loss_at(angles + error) for error in (0, 3, 9, 30)]
    assert losses == sorted(losses)
    assert losses[0] < 0.1 * losses[1]


def test_alpha_weighs_the_squared_error_in_degrees() -> None:
    logits, angles = torch.zeros(2, 3, BINS), torch.full((2, 3), 10.0)
    plain, weighted = (hopenet_loss(logits, angles, PoseLossConfig(alpha)) for alpha in (0.0, 2.0))
    assert float(plain["loss"]) == pytest.approx(3 * np.log(BINS))
    # An even distribution's expectation is 0 degrees.
    assert float(weighted["loss"] - plain["loss"]) == pytest.approx(2 * 3 * 100, rel=1e-4)
    assert float(plain["rmse_yaw"]) == pytest.approx(10, rel=1e-4)


def test_a_face_beyond_the_bins_counts_for_nothing() -> None:
    logits = torch.randn(2, 3, BINS, generator=torch.Generator().manual_seed(0))
    angles = torch.tensor([[1.0, 2.0, 3.0], [4.0, 120.0, 6.0]])
    both, first = (hopenet_loss(logits[:n], angles[:n], PoseLossConfig())["loss"] for n in (2, 1))
    torch.testing.assert_close(both, first)
    assert float(hopenet_loss(logits[1:], angles[1:], PoseLossConfig())["loss"]) == 0


@pytest.mark.parametrize("head", ["bins", "sixd"])
def test_every_head_and_the_backbone_get_a_gradient(head: str) -> None:
    torch.manual_seed(0)
    network = PoseNetwork(replace(SMALL, head=head))
    angles = np.array([[20.0, 10, -5], [-30, 0, 15]])
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    batch = PoseBatch(images, torch.tensor(angles).float(), torch.from_numpy(pose.rotation(angles)).float())
    PoseStep().train(network, batch)["loss"].backward()
    assert {name.split(".")[0] for name in network.heads} == ({"yaw", "pitch", "roll"} if head == "bins" else {"sixd"})
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
    for name, layer in network.heads.items():
        assert layer.weight.grad is not None, name
        assert layer.weight.grad.abs().sum() > 0, name


def test_both_heads_agree_on_what_an_angle_is() -> None:
    angles = np.array([[20.0, -10, 30]])
    six = torch.from_numpy(pose.rotation(angles)[:, :, :2].swapaxes(1, 2).reshape(1, 6))
    np.testing.assert_allclose(pose.angles(rotation_from_6d(six).numpy()), angles, atol=1e-6)
    output = PoseNetwork(replace(SMALL, head="sixd")).eval()(torch.zeros(1, 3, 64, 64))
    assert set(pose_loss(output, torch.zeros(1, 3), torch.eye(3)[None], PoseLossConfig())) == {"loss"}


def test_an_input_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32 pixels, not 112"):
        PoseNetwork(replace(SMALL, input_size=112))


# Moving pictures


def test_turning_a_picture_of_a_frontal_face_adds_to_its_roll_alone() -> None:
    for roll in (-20.0, 0.0, 35.0):
        np.testing.assert_allclose(pose.angles(turned(pose.rotation((0, 0, roll)), 15)), (0, 0, roll + 15), atol=1e-9)


def test_turning_a_picture_turns_the_head_by_just_that_and_the_way_back_undoes_it() -> None:
    rotations = pose.rotation(_angles(np.random.default_rng(2), 20))
    for rotation in rotations:
        there = turned(rotation, 25)
        assert pose.geodesic(there, rotation) == pytest.approx(25)
        np.testing.assert_allclose(turned(there, -25), rotation, atol=1e-12)
        # The nose's distance from the line of sight stays: only its direction in the picture changes.
        assert there[2, 2] == pytest.approx(rotation[2, 2])


def test_a_small_turn_of_a_turned_head_goes_mostly_into_its_roll() -> None:
    before = np.array([20.0, 5.0, 0.0])
    change = pose.angles(turned(pose.rotation(before), 5)) - before
    assert change[2] == pytest.approx(5, abs=0.5)
    assert np.abs(change[:2]).max() < 2


def test_a_mirrored_head_has_the_other_yaw_and_roll() -> None:
    for angles in _angles(np.random.default_rng(3), 20):
        np.testing.assert_allclose(pose.angles(mirror(pose.rotation(angles))), angles * (-1, 1, -1), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_moved_crop_shows_the_head_at_the_pose_that_is_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = pose.rotation(_angles(rng, 1)[0])
    half = rng.normal(size=(40, 3))
    head = np.concatenate([half, half * (-1, 1, 1)])  # its own mirror image, as heads are
    seen = (head @ rotation.T)[:, :2] * 30 + 200
    before = crop_matrix(SCHEME.to68(_record(np.zeros(3)).points264), SMALL)
    matrix, after = move(before, rotation, 64, PoseAugmentConfig(flip=0.5, large_rotation_deg=170), rng)
    moved = seen @ matrix[:, :2].T + matrix[:, 2]
    if np.linalg.det(matrix[:, :2]) < 0:
        moved = np.roll(moved, 40, axis=0)  # a point's place is taken by its partner's
    expected = (head @ after.T)[:, :2]
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2]))) * 30
    np.testing.assert_allclose(moved - moved.mean(0), scale * (expected - expected.mean(0)), atol=1e-6)


def test_a_picture_that_is_not_moved_keeps_crop_and_pose(write_faces: Callable[..., Path]) -> None:
    root = write_faces({"a": np.array([10.0, -5, 3])})
    faces = from_store(root, "train", FaceStore(root.parent / "stores" / "drawn"), "teacher").faces
    image, angles, rotation = PoseData(faces, SMALL)[0]
    np.testing.assert_allclose(angles, (10, -5, 3), atol=1e-3)
    np.testing.assert_allclose(rotation, pose.rotation((10, -5, 3)), atol=1e-5)
    matrix, same = move(crop_matrix(faces[0].points, SMALL), faces[0].rotation, 64, STILL, np.random.default_rng(0))
    np.testing.assert_allclose(matrix, crop_matrix(faces[0].points, SMALL), atol=1e-9)
    np.testing.assert_allclose(same, faces[0].rotation)
    assert image.shape == (64, 64, 3)
    assert image.float().mean() > 1  # the face is in the crop


def test_a_crop_beyond_the_picture_goes_on_with_its_mirror_image_and_keeps_the_rest() -> None:
    image = np.random.default_rng(0).integers(1, 256, (40, 40, 3), np.uint8)
    matrix = np.array([[1.0, 0, 8], [0, 1, -4]])  # 8 pixels beyond the left, 4 beyond the bottom
    black, mirrored = (crop(image, matrix, 40, mirrored_edges=edges) for edges in (False, True))
    assert (black[:, :8] == 0).all()
    np.testing.assert_array_equal(mirrored[:36, 8:], image[4:, :32])
    np.testing.assert_array_equal(mirrored[:36, 7], image[4:, 1])
    np.testing.assert_array_equal(mirrored[36, 8:], image[38, :32])
    np.testing.assert_array_equal(black[:36, 8:], mirrored[:36, 8:])


def test_the_same_pass_gives_the_same_bytes_and_another_pass_others(write_faces: Callable[..., Path]) -> None:
    root = write_faces({"a": np.zeros(3), "b": np.array([20.0, 0, 0])})
    faces = from_store(root, "train", FaceStore(root.parent / "stores" / "drawn"), "teacher").faces
    data = PoseData(faces, SMALL, PoseAugmentConfig())
    again = PoseData(faces, SMALL, PoseAugmentConfig())
    assert all(torch.equal(a, b) for a, b in zip(data[1], again[1], strict=True))
    assert not torch.equal(data[1][1], data[3][1])
    batch = collate([data[0], data[1]])
    np.testing.assert_allclose(pose.rotation(batch.angles.numpy()), batch.rotation.numpy(), atol=1e-4)


def test_rare_yaws_come_more_often() -> None:
    faces = [PosedFace(str(yaw), Path(), np.zeros((68, 2)), pose.rotation((yaw, 0, 0))) for yaw in [0.0] * 9 + [50.0]]
    repeats = repeat_by_yaw(faces, 0.4)
    assert repeats.tolist() == pytest.approx([1.0] * 9 + [2.0])
    assert repeat_by_yaw(faces, 0).tolist() == [1.0] * 10


# Sources


def test_pictures_without_a_face_are_counted_and_none_at_all_is_an_error(write_faces: Callable[..., Path]) -> None:
    root = write_faces({"a": np.zeros(3)})
    store = FaceStore(root.parent / "stores" / "drawn")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "images" / "empty.png")
    store.put("empty", FaceRecord.nothing())
    found = from_store(root, "train", store, "teacher")
    assert [face.name for face in found.faces] == ["a"]
    assert found.missing == 1
    with pytest.raises(DataError, match="fpan-train landmarks"):
        from_store(root, "train", FaceStore(root / "nothing"), "teacher")


def test_angles_of_aflw_are_read_in_this_projects_signs(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(10, 80, (3, 68))
    for name, angles in {"a": (5, -30, 10), "far": (0, 110, 0)}.items():  # pitch, yaw, roll
        Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
        savemat(tmp_path / f"{name}.mat", {"Pose_Para": np.deg2rad([[*angles, 0, 0, 0, 0]]), "pt3d_68": points})
    found = from_aflw(tmp_path)
    assert [face.name for face in found.faces] == ["a"]
    assert found.missing == 1
    np.testing.assert_allclose(found.faces[0].angles, (30, 5, 10), atol=1e-9)
    np.testing.assert_allclose(found.faces[0].points, points[:2].T - 1, rtol=1e-6)
    (tmp_path / "a.mat").unlink()
    with pytest.raises(DataError, match=r"no \.mat file of a"):
        from_aflw(tmp_path)


def test_fasseg_names_give_the_yaw_alone(write_faces: Callable[..., Path]) -> None:
    root = write_faces({"person_yaw-45": np.zeros(3), "person_yaw+30": np.zeros(3), "person_yaw0": np.zeros(3)})
    found = from_fasseg(root, FaceStore(root.parent / "stores" / "drawn"))
    assert {face.name: round(float(face.angles[0])) for face in found.faces} == {
        "person_yaw-45": 45,
        "person_yaw+30": -30,
        "person_yaw0": 0,
    }
    assert found.axes == ("yaw",)
    errors = PoseErrors("x", np.array([[45.0, 0, 0]]), np.array([[40.0, 33, 33]]), found.axes)
    assert errors.mean() == 5
    assert np.isnan(errors.geodesic())


def test_posed_renders_bring_their_own_pose_and_all_that_lack_it_are_named(write_faces: Callable[..., Path]) -> None:
    root = write_faces({"a": np.array([70.0, 0, 0]), "b": np.zeros(3), "c": np.zeros(3)})
    (root / "landmarks").mkdir()
    points = _record(np.array([70.0, 0, 0])).points264.tolist()
    (root / "landmarks" / "a.json").write_text(json.dumps({"points": points, "angles": [70, 0, 0]}))
    (root / "landmarks" / "b.json").write_text(json.dumps({"angles": [70, 0, 0]}))
    with pytest.raises(DataError, match=r"(?s)b: points and angles.*c\.json|c\.json.*b: points and angles"):
        from_posed(root)
    for name in "bc":
        (root / "images" / f"{name}.png").unlink()
    np.testing.assert_allclose(from_posed(root).faces[0].angles, (70, 0, 0), atol=1e-6)


# Errors


def test_errors_are_counted_by_axis_and_yaw() -> None:
    truth = np.array([[10.0, 0, 0], [-40, 0, 0], [70, 0, 0]])
    errors = PoseErrors("x", truth, truth + np.array([[1, 2, 3], [3, 2, -1], [8, 2, 1]]))
    assert errors.mae("yaw") == 4
    assert errors.mae("yaw", (30, 60)) == 3
    assert errors.mae("roll", (0, 30)) == 3
    assert errors.bias("roll") == 1
    assert errors.mean((60, 99)) == pytest.approx((8 + 2 + 1) / 3)
    assert np.isnan(errors.mae("yaw", (80, 99)))


# Training and report


@pytest.mark.parametrize("head", ["bins", "sixd"])
def test_a_smoke_training_can_be_loaded_and_reported(
    write_faces: Callable[..., Path], tmp_path: Path, head: str
) -> None:
    angles = _angles(np.random.default_rng(0), 20)
    root = write_faces({f"f{i:02}": at for i, at in enumerate(angles)})
    names = [f"f{i:02}" for i in range(20)]
    (root / "masks").mkdir()
    for name in names:
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(root / "masks" / f"{name}.png")
    (root / "split.json").write_text(json.dumps({"train": names[:16], "val": names[16:]}))
    smoke = PpmTraining.presets["smoke"]
    settings = replace(smoke, ppm=replace(smoke.ppm, head=head), loop=replace(smoke.loop, epochs=1))
    run = PpmTraining((root,), tmp_path / "run", tmp_path / "stores", settings=settings)()
    assert run.history[-1]["score"] == pytest.approx(
        -np.mean([run.history[-1][f"mae_{axis}"] for axis in ("yaw", "pitch", "roll")])
    )
    predict = HeadPose.load(run.best)
    assert not predict.network.training
    record = FaceStore(tmp_path / "stores" / "drawn").get("f00")
    assert record is not None
    image = _draw(record)
    said = predict(image, record.points264)
    assert said.shape == (3,)
    np.testing.assert_array_equal(said, predict(image, record.points264))
    fasseg = write_faces({"person_yaw-45": np.array([45.0, 0, 0])}, "fasseg")
    page = PpmReport(run.folder, root, tmp_path / "report", tmp_path / "stores", fasseg=fasseg)()
    assert "What this does not say" in page.read_text()
    rows = list(csv.DictReader((tmp_path / "report" / "ppm.csv").read_text().splitlines()))
    assert [row["set"] for row in rows] == ["drawn val, fit"] * 4 + ["drawn val, teacher"] * 4 + ["fasseg"]
    assert (rows[-1]["true_yaw"], rows[-1]["true_pitch"]) == ("45.000", "")
    assert (tmp_path / "report" / "ppm.png").is_file()


def test_it_learns_the_pose_of_drawn_faces(write_faces: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    root = write_faces({f"f{i}": at for i, at in enumerate(_angles(np.random.default_rng(5), 8))})
    faces = from_store(root, "train", FaceStore(root.parent / "stores" / "drawn"), "teacher").faces
    data = PoseData(faces, SMALL)
    batch = collate([data[i] for i in range(8)])
    network, step = PoseNetwork(SMALL), PoseStep()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(15):
        loss = step.train(network, batch)["loss"]
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
