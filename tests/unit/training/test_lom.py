"""LOM: the network's size, its two stages, losses, labels of what is covered, figures and export."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan_training.data.folder import DataError
from fpan_training.engine.settings import LoopConfig
from fpan_training.face3d.pose import rotation
from fpan_training.landmarks import SCHEME, FaceStore
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.lom import INPUT_SIZE, Lom, LomConfig, load
from fpan_training.modules.lom.clean import CleanConfig, CleanFaces
from fpan_training.modules.lom.data import (
    CLASSES,
    EYE_CORNERS,
    LomAugmentConfig,
    LomData,
    MarkedFace,
    collate,
    covered,
    marked_faces,
    mean_shape,
)
from fpan_training.modules.lom.evaluate import (
    alarms_at,
    f1,
    ibug_errors,
    point_errors,
    predict_crops,
    roc_auc,
    visibility_figures,
)
from fpan_training.modules.lom.export import DeployedLom, export_lom
from fpan_training.modules.lom.int8 import parity, quantise_lom
from fpan_training.modules.lom.loss import LomLossConfig, class_rarity, landmark_loss, visibility_loss
from fpan_training.modules.lom.model import deployed_parameters
from fpan_training.modules.lom.pictures import draw_landmarks
from fpan_training.modules.lom.predict import FaceLandmarks
from fpan_training.modules.lom.settings import LomSettings
from fpan_training.modules.lom.step import LomBatch, LomStep
from fpan_training.modules.lom.train import LomTraining, start_from_mean
from fpan_training.modules.lom.youtube import read_youtube
from fpan_training.modules.segm.cost import macs
from fpan_training.release.cost import Cost
from fpan_training.release.export.onnx_file import INPUT, open_session
from numpy.typing import NDArray
from PIL import Image

_PARAMETERS, _MMAC = 1_370_296, 387
"""Of PFLD with 264 points and 264 logits, without the pose branch."""
_SIDE = 160
_QUICK = LoopConfig(
    epochs=2, batch_size=4, lr=1e-3, workers=0, precision="32-true", accelerator="cpu", validate_every=1, ema_decay=0.5
)


@dataclass(frozen=True)
class _Patched:
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class _Patch:
    """Stands in for the occlusion generator: a green square somewhere."""

    side: int = 40

    def __call__(
        self,
        image: NDArray[np.uint8],
        labels: NDArray[np.uint8] | None,
        points: NDArray[np.float32] | None,
        rng: np.random.Generator,
    ) -> _Patched:
        top, left = rng.integers(0, image.shape[0] - self.side, 2)
        mask = np.zeros(image.shape[:2], bool)
        mask[top : top + self.side, left : left + self.side] = True
        return _Patched(np.where(mask[..., None], np.array((0, 220, 0), np.uint8), image), mask)


def draw(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A drawn face, uint8 (_SIDE, _SIDE, 3)."""
    return draw_landmarks(np.full((_SIDE, _SIDE, 3), 60, np.uint8), points, np.ones(264, np.float32), zoom=1)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[MarkedFace]:
    """Drawn faces of many poses, with their landmarks in a store."""
    root = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    store = FaceStore(root / "faces" / "data")
    (root / "data").mkdir()
    for i in range(16):
        turned = rotation(rng.uniform((-30, -15, -10), (30, 15, 10)))
        mesh = canonical_mesh().vertices @ turned.T * rng.uniform(5, 6) + [*rng.uniform(70, 90, 2), 0]
        record = record_of(mesh.astype(np.float32))
        Image.fromarray(draw(record.points264)).save(root / "data" / f"{i:02d}.png")
        store.put(f"{i:02d}", record)
    return list(CleanFaces(CleanConfig(clean_data=("data",))).faces(root / "data", "train", store))


def a_batch(faces: list[MarkedFace], occluder: _Patch | None = None) -> LomBatch:
    return collate([LomData(faces, 0.1, occluder)[i] for i in range(4)])


def test_the_network_has_the_published_size() -> None:
    network = Lom(LomConfig())
    assert deployed_parameters(network) == _PARAMETERS
    assert round(macs(network.eval(), INPUT_SIZE) / 1e6) == _MMAC


def test_the_pose_branch_works_in_training_only() -> None:
    network, x = Lom(LomConfig(width=0.25)), torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    assert network.train()(x).angles.shape == (2, 3)
    assert network.eval()(x).angles is None


def test_a_face_of_no_class_and_right_pose_still_teaches() -> None:
    points = torch.full((1, 264, 2), 0.4, requires_grad=True)
    angles = torch.zeros(1, 3)
    landmark_loss(points, torch.full((1, 264, 2), 0.5), angles, angles, torch.zeros(1), LomLossConfig()).backward()
    assert points.grad is not None
    assert (points.grad != 0).all()


def test_a_wrong_pose_and_a_rare_class_weigh_more() -> None:
    squared = LomLossConfig(linear_beyond=None)
    points, truth, right = torch.zeros(1, 264, 2), torch.ones(1, 264, 2), torch.zeros(1, 3)
    plain = landmark_loss(points, truth, right, right, torch.zeros(1), squared)
    assert plain == 2 * 264
    turned = torch.tensor([[torch.pi / 2, 0.0, torch.pi]])
    assert landmark_loss(points, truth, turned, right, torch.zeros(1), squared).item() == pytest.approx(
        plain.item() * 4
    )
    assert landmark_loss(points, truth, right, right, torch.tensor([5.0]), squared) == plain * 6


def test_rare_classes_count_the_reciprocal_of_their_share() -> None:
    flags = torch.tensor([[True, True, False], [False, True, False], [False, True, False], [False, True, False]])
    assert class_rarity(flags, LomLossConfig(rarity_limit=10)).tolist() == [4.0, 1.0, 10.0]


def test_visibility_of_unknown_landmarks_has_no_gradient() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = visibility_loss(logits, torch.tensor([[0.0, 1.0, torch.nan]]), LomLossConfig(occluded_weight=3))
    loss.backward()
    assert logits.grad is not None
    visible, hidden, unknown = logits.grad[0].tolist()
    assert visible < 0 < hidden
    assert hidden == pytest.approx(-3 * visible)
    assert unknown == 0


def test_an_occluder_covers_the_landmarks_where_it_lies_and_no_others() -> None:
    points = np.array([[10, 10], [19.4, 10], [19.6, 10], [40, 40], [-1, 5]], np.float32)
    mask = np.zeros((50, 50), bool)
    mask[5:15, 5:20] = True
    assert np.array_equal(covered(points, mask), [1, 1, 0, 0, np.nan], equal_nan=True)
    assert np.nansum(covered(points, np.zeros_like(mask))) == 0


def test_labels_say_what_the_patch_hides(faces: list[MarkedFace]) -> None:
    item = LomData(faces, 0.1, _Patch())[3]
    green = (item.images.numpy() == (0, 220, 0)).all(-1)
    assert np.array_equal(item.covered.numpy(), covered(item.points.numpy(), green), equal_nan=True)
    assert 0 < np.nansum(item.covered.numpy()) < 264


def test_landmarks_outside_the_picture_are_neither_visible_nor_covered(faces: list[MarkedFace]) -> None:
    half = replace(faces[0], points=faces[0].points - np.array([80, 0], np.float32))
    outside = half.points[:, 0] < -1
    assert outside.any()
    assert np.array_equal(LomData([half], 0.1)[0].covered.isnan().numpy()[outside], np.ones(outside.sum(), bool))


def test_a_mirrored_item_is_the_mirrored_face(faces: list[MarkedFace]) -> None:
    move = replace(LomAugmentConfig().move, rotation_deg=0, p_large_rotation=0, scale=(1, 1), shift=0, flip=1)
    mirrored = LomData(faces, 0.1, augment=LomAugmentConfig(move, p_occluded=0))[2]
    plain = LomData(faces, 0.1)[2]
    assert np.allclose(mirrored.points.numpy(), SCHEME.mirror(plain.points.numpy(), INPUT_SIZE), atol=1e-3)
    assert mirrored.angles[0] == pytest.approx(-plain.angles[0].item(), abs=1e-3)
    assert mirrored.angles[1] == pytest.approx(plain.angles[1].item(), abs=1e-3)


def test_augmented_points_stay_on_what_they_mark(faces: list[MarkedFace]) -> None:
    light = replace(LomAugmentConfig().move.light, gamma=(1, 1), contrast=0, brightness=0, saturation=0, tint=0)
    light = replace(light, p_grey=0, p_low_resolution=0, p_noise=0, p_jpeg=0)
    move = replace(LomAugmentConfig().move, light=light)
    data = LomData(faces, 0.1, augment=LomAugmentConfig(move, p_occluded=0))
    for index in range(16):
        item = data[index]
        x, y = np.rint(item.points.numpy()[SCHEME.groups["irises"]]).astype(int).T
        inside = (x > 0) & (x < INPUT_SIZE - 1) & (y > 0) & (y < INPUT_SIZE - 1)
        # Landmarks are drawn in green and white on grey.
        assert (item.images.numpy()[y[inside], x[inside], 1] > 100).mean() > 0.9


def test_the_same_index_gives_the_same_bytes_and_another_pass_others(faces: list[MarkedFace]) -> None:
    data = LomData(faces, 0.1, _Patch(), LomAugmentConfig(), seed=5)
    once, again, later = data[3], data[3], data[3 + len(faces)]
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.points, again.points)
    assert not torch.equal(once.points, later.points)


def test_classes_tell_turned_faces_from_straight_ones() -> None:
    def of(*turned: float) -> set[str]:
        mesh = (canonical_mesh().vertices @ rotation(turned).T * 10).astype(np.float32)
        record = record_of(mesh)
        face = MarkedFace("a", Path("a"), record.points264, record.rotation.astype(np.float64))
        return {name for name, flag in zip(CLASSES, face.classes, strict=True) if flag}

    assert of(0, 0, 0) == set()
    assert of(-40, 0, 0) == {"profile"}
    assert of(0, 30, 0) == {"up"}
    assert of(0, -30, 25) == {"down", "tilted"}


def test_a_new_network_says_the_mean_face(faces: list[MarkedFace]) -> None:
    torch.manual_seed(0)
    network, shape = Lom(LomConfig(width=0.25)), mean_shape(faces, 0.1)
    start_from_mean(network, shape)
    said = LomStep().predict(network.eval(), a_batch(faces).images).points
    assert np.abs(said - (shape * INPUT_SIZE - 0.5)).max() < 3
    assert np.allclose(SCHEME.mirror(said[0], INPUT_SIZE), said[0], atol=6)


def test_the_visibility_stage_changes_no_landmark(faces: list[MarkedFace]) -> None:
    torch.manual_seed(0)
    network = Lom(LomConfig(width=0.25))
    images = a_batch(faces).images
    before = LomStep().predict(network.eval(), images)
    network.freeze_landmarks()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 0.1, weight_decay=0.1)
    for _ in range(3):
        LomStep("visibility").train(network, a_batch(faces, _Patch()))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    after = LomStep().predict(network.eval(), images)
    assert np.array_equal(before.points, after.points)
    assert not np.array_equal(before.visibility, after.visibility)


@pytest.fixture(scope="module")
def overfitted(faces: list[MarkedFace]) -> Lom:
    """A narrow network that knows a drawn face with a patch at any of many places by heart."""
    torch.manual_seed(0)
    network = Lom(LomConfig(width=0.25))
    start_from_mean(network, mean_shape(faces, 0.1))
    data = LomData(faces[:1], 0.1, _Patch(44))
    batches = [collate([data[16 * i + j] for j in range(16)]) for i in range(6)]
    step = LomStep(loss=LomLossConfig(linear_beyond=None, joint=1.0))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    network.train()
    for turn in range(60):
        step.train(network, batches[turn % len(batches)])["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval()


def test_an_occluder_lowers_visibility_where_it_lies_and_nowhere_else(overfitted: Lom, faces: list[MarkedFace]) -> None:
    data = LomData(faces[:1], 0.1, _Patch(44), seed=77)
    batch = collate([data[i] for i in range(12)])
    visibility = LomStep().predict(overfitted, batch.images).visibility
    hidden = batch.covered.numpy() == 1
    figures = visibility_figures(visibility, batch.covered.numpy())
    assert figures.auc > 0.9
    assert visibility[hidden].mean() < 0.5 < visibility[~hidden].mean()


def test_figures_of_perfect_and_of_blind_answers() -> None:
    hidden = np.array([True, False, True, False])
    assert roc_auc(hidden, np.array([0.9, 0.1, 0.8, 0.2])) == 1
    assert roc_auc(hidden, np.array([0.1, 0.9, 0.2, 0.8])) == 0
    assert roc_auc(hidden, np.zeros(4)) == 0.5
    assert np.isnan(roc_auc(np.zeros(4, bool), np.zeros(4)))
    assert f1(hidden, hidden) == 1
    assert f1(hidden, np.ones(4, bool)) == pytest.approx(2 / 3)


def test_false_alarms_are_counted_where_nine_of_ten_covered_landmarks_are_found() -> None:
    hidden = np.arange(20) < 10
    score = np.concatenate([np.linspace(1, 0.1, 10), np.full(5, 0.3), np.full(5, 0.0)])
    assert alarms_at(hidden, score) == 0.5  # the ninth covered one scores 0.2
    assert np.isnan(alarms_at(np.ones(20, bool), score))


def test_errors_are_measured_in_the_faces_own_sizes(faces: list[MarkedFace]) -> None:
    truth = faces[0].points
    shift = np.array([3, 4], np.float32)
    small = point_errors("one", [truth + shift], [truth], EYE_CORNERS)
    large = point_errors("two", [2 * (truth + shift)], [2 * truth], EYE_CORNERS)
    between = np.linalg.norm(truth[EYE_CORNERS[0]] - truth[EYE_CORNERS[1]])
    assert small.interocular[0] == pytest.approx(5 / between, rel=1e-4)
    assert large.interocular[0] == pytest.approx(small.interocular[0], rel=1e-4)
    assert large.box[0] == pytest.approx(small.box[0], rel=1e-4)
    to68 = ibug_errors("68", [SCHEME.to68(truth + shift)], [SCHEME.to68(truth)])
    assert to68.interocular[0] == pytest.approx(small.interocular[0], rel=0.02)


def test_the_second_stage_leaves_the_landmarks_as_the_first_made_them(faces: list[MarkedFace], tmp_path: Path) -> None:
    settings = LomSettings(lom=LomConfig(width=0.25), landmarks=_QUICK, visibility=_QUICK)
    splits: list[str] = []

    def occluder(split: str) -> _Patch:
        splits.append(split)
        return _Patch()

    run = LomTraining((tmp_path,), tmp_path, settings=settings).fit(faces, tuple(faces[:8]), occluder)
    assert splits == ["train", "val"]
    first, second = (torch.load(each / "best.pt", weights_only=True) for each in (tmp_path / "landmarks", tmp_path))
    changed = {name for name, value in first["network"].items() if not torch.equal(value, second["network"][name])}
    assert changed == {"visibility.weight", "visibility.bias"}
    assert run.history[-1]["auc"] == run.history[-1]["score"]
    assert predict_crops(load(run.best), LomData(faces, 0.1)).points.shape == (16, 264, 2)


def test_a_store_without_faces_is_reported(faces: list[MarkedFace], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fpan-train landmarks"):
        marked_faces(faces[0].path.parent, "train", FaceStore(tmp_path))


def test_answers_come_in_the_pictures_pixels(overfitted: Lom, faces: list[MarkedFace]) -> None:
    ask, face = FaceLandmarks(overfitted), faces[0]
    image = np.asarray(Image.open(face.path))
    plain, shift = ask(image, face.points), np.array((50, 30), np.float32)
    wide = ask(np.pad(image, ((30, 0), (50, 0), (0, 0)), constant_values=60), face.points + shift)
    assert np.allclose(wide.points, plain.points + shift, atol=1)
    assert plain.visibility.shape == (264,)


def test_the_exported_file_says_what_pytorch_says(overfitted: Lom, faces: list[MarkedFace], tmp_path: Path) -> None:
    export_lom(overfitted, tmp_path / "lom.onnx")
    session = open_session(tmp_path / "lom.onnx")
    for count in (1, 3):
        images = a_batch(faces).images[:count]
        with torch.inference_mode():
            points, visibility = DeployedLom(overfitted)(images)
        said = session.run(None, {INPUT: images.numpy()})
        assert np.allclose(said[0], points.numpy(), atol=1e-2)
        assert np.allclose(said[1], visibility.numpy(), atol=1e-3)
    data = LomData(faces[:1], 0.1, _Patch(44), seed=77)
    asked = predict_crops(overfitted, data)
    crops = np.stack([data[i].images.numpy() for i in range(8)])
    quantise_lom(tmp_path / "lom.onnx", tmp_path / "lom_int8.onnx", crops)
    distance, small = parity(tmp_path / "lom.onnx", tmp_path / "lom_int8.onnx", asked)
    assert distance.pixels < 1
    assert distance.agreeing > 0.9
    assert small.points.shape == asked.points.shape
    text = Cost((tmp_path / "lom.onnx", tmp_path / "lom_int8.onnx"), rounds=2)()
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 4
    with pytest.raises(DataError, match="does not exist"):
        Cost((tmp_path / "none.onnx",))()


def test_public_landmarks_are_read_and_bad_lines_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.jpg")
    row = "a.jpg," + ",".join(str(i) for i in range(136))
    (tmp_path / "landmarks.csv").write_text(f"name,x0,y0\n{row}\n")
    (points,) = read_youtube(tmp_path).values()
    assert points[1].tolist() == [2, 3]
    (tmp_path / "landmarks.csv").write_text(f"{row},7\nb.jpg{row[5:]}\n")
    with pytest.raises(DataError, match=r"line 1.*\n.*line 2"):
        read_youtube(tmp_path)
