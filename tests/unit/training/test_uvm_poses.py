"""UVM's data and poses on faces drawn from the model: labels come back, holes are 255, one sampling for both."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data import FaceFolder
from fpan_training.data.assets import Assets
from fpan_training.data.folder import DataError
from fpan_training.engine.run import Run
from fpan_training.face3d import pose
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.uv import UvMap, draw, unwrap
from fpan_training.landmarks import SCHEME, FaceStore
from fpan_training.landmarks.store import read_given
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.uvm.complete import Completion, MirrorCompletion, without_occlusion
from fpan_training.modules.uvm.data import StoredMap, UvPairs
from fpan_training.modules.uvm.maps import visible_at
from fpan_training.modules.uvm.pose_augment import PoseAugment, PoseAugmentConfig
from fpan_training.modules.uvm.pose_folder import PoseAugmentFolder
from fpan_training.modules.uvm.report import UvmReport, away_from_borders
from fpan_training.modules.uvm.train import UvmTraining
from fpan_training.taxonomy import TAXONOMY

from tests.unit.training.conftest import write_pair

_SIDE, _UV = 128, 128
_SCALE = 3.6
"""Pixels per centimetre: the head with some room about it."""


def _flat(rng: np.random.Generator, plain: bool = False) -> UvMap:
    """Every part in its colour of the taxonomy, or, unless ``plain``, somewhat another one."""
    labels = cv2.resize(FaceModel.load().part_map, (_UV, _UV), interpolation=cv2.INTER_NEAREST)
    texture = TAXONOMY.palette[labels]
    if not plain:
        texture = np.clip(texture + rng.normal(0, 15, 3), 0, 255).astype(np.uint8)
    return UvMap(texture, labels, np.ones((_UV, _UV), bool))


def _placed(angles: tuple[float, float, float]) -> FaceFit:
    model = FaceModel.load()
    shift = np.array([_SIDE / 2, _SIDE / 2, 0])
    return fit(model.mesh478(_SCALE * model.neutral @ pose.rotation(angles).T + shift))


def _portrait(
    angles: tuple[float, float, float] = (5, 3, 2), seed: int = 0, plain: bool = False
) -> tuple[np.ndarray, np.ndarray, FaceFit]:
    """A face before a wall."""
    face = _placed(angles)
    drawn = draw(_flat(np.random.default_rng(seed), plain), face, (_SIDE, _SIDE))
    assert drawn.labels is not None
    labels = np.where(drawn.covered, drawn.labels, TAXONOMY.background)
    image = np.where(drawn.covered[..., None], drawn.image, TAXONOMY.palette[TAXONOMY.background])
    return image.astype(np.uint8), labels, face


def _augment(config: PoseAugmentConfig | None = None, assets: Assets | None = None) -> PoseAugment:
    return PoseAugment(MirrorCompletion(_UV), config or PoseAugmentConfig(), assets or Assets())


def test_the_original_pose_gives_the_labels_back():
    image, labels, face = _portrait()
    posed = _augment()(image, labels, face, np.random.default_rng(0), face.angles)
    away = away_from_borders(labels)
    assert (posed.labels == labels)[away].mean() >= 0.99
    head = away & (labels != TAXONOMY.background)
    assert (posed.labels == labels)[head].mean() >= 0.99


def test_the_same_generator_state_gives_the_same_bytes():
    image, labels, face = _portrait()
    a, b, other = (_augment()(image, labels, face, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert not np.allclose(a.fit.angles, other.fit.angles)


@pytest.mark.parametrize("angles", [(40.0, 0.0, 0.0), (-65.0, 15.0, 0.0), (0.0, -25.0, 0.0)])
def test_picture_and_labels_are_sampled_at_the_same_places(angles: tuple[float, float, float]):
    """In a picture painted in the colours of its labels, colours and labels still agree after turning."""
    image, labels, face = _portrait(plain=True)
    posed = _augment()(image, labels, face, np.random.default_rng(0), angles)
    away = away_from_borders(posed.labels)
    off = np.abs(posed.image.astype(int) - TAXONOMY.palette[posed.labels]).max(-1)
    assert (off[away] <= 8).mean() > 0.97


def test_the_new_pose_is_the_one_asked_for_and_is_found_again():
    image, labels, face = _portrait()
    posed = _augment()(image, labels, face, np.random.default_rng(0), (50, -10, 5))
    refitted = fit(FaceModel.load().mesh478(posed.fit.vertices))
    assert pose.geodesic(refitted.rotation, pose.rotation((50, -10, 5))) < 2


class _Blind:
    """Completes nothing."""

    size = _UV

    def complete(self, uv_map: UvMap) -> UvMap:
        return uv_map


def test_holes_are_255():
    image, labels, face = _portrait((0, 0, 0))
    posed = PoseAugment(_Blind())(image, labels, face, np.random.default_rng(0), (70, 0, 0))
    completed = _augment()(image, labels, face, np.random.default_rng(0), (70, 0, 0))
    holes = posed.labels == TAXONOMY.ignore
    assert holes.mean() > 0.01
    assert (completed.labels == TAXONOMY.ignore).mean() < holes.mean() / 2
    np.testing.assert_array_equal(posed.labels[~holes], completed.labels[~holes])


def test_what_occludes_a_face_does_not_turn_with_it():
    image, labels, face = _portrait()
    column, row = (int(v) for v in face.vertices[:, :2].mean(0))
    inside = labels.copy()
    inside[row - 5 : row + 5, column - 5 : column + 5] = TAXONOMY.id_of("occlusion")
    posed = _augment()(image, inside, face, np.random.default_rng(0), (30, 0, 0))
    assert not (posed.labels == TAXONOMY.id_of("occlusion")).any()
    flat = unwrap(image, face, _UV, inside)
    assert without_occlusion(flat).visible.sum() < flat.visible.sum()


def test_a_turned_head_is_turned_farther_to_its_own_side():
    face = _placed((25, 0, 0))
    yaws = [_augment().draw(face, np.random.default_rng(seed))[0] for seed in range(50)]
    assert min(yaws) >= 0
    assert max(yaws) > 50
    frontal = [_augment().draw(_placed((0, 0, 0)), np.random.default_rng(seed))[0] for seed in range(50)]
    assert min(frontal) < -50


def test_a_background_is_replaced_beside_the_head_and_nowhere_else():
    image, labels, face = _portrait(seed=1)
    wall = Assets(backgrounds=(np.full((64, 64, 3), (0, 255, 0), np.uint8),))
    always = PoseAugmentConfig(p_background=1.0)
    plain = _augment()(image, labels, face, np.random.default_rng(0), (20, 0, 0))
    posed = _augment(always, wall)(image, labels, face, np.random.default_rng(0), (20, 0, 0))
    np.testing.assert_array_equal(posed.labels, plain.labels)
    behind = np.isin(posed.labels, (TAXONOMY.background, TAXONOMY.ignore))
    # The edge between the two is blurred over two pixels.
    within, beside = (cv2.erode(side.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0 for side in (~behind, behind))
    assert (posed.image[beside] == (0, 255, 0)).all()
    np.testing.assert_array_equal(posed.image[within], plain.image[within])


def test_a_turned_head_hides_its_far_side():
    face = _placed((0, 0, 0))
    to_the_right = visible_at(face, (60, 0, 0), (_SIDE, _SIDE), _UV)
    middle = _UV // 2
    # The nose points to the right of the picture, so the person's left half, right in the map, is away.
    assert to_the_right[:middle, :middle].sum() > 3 * to_the_right[:middle, middle:].sum()


def _stored() -> StoredMap:
    rng = np.random.default_rng(0)
    flat = _flat(rng)
    return StoredMap(
        flat.texture,
        flat.labels if flat.labels is not None else np.empty(0, np.uint8),
        rng.random((_UV, _UV)) < 0.9,
        rng.random((3, _UV, _UV)) < 0.5,
        np.array([30, -60, np.nan], np.float32),
    )


def test_a_stored_map_is_read_as_it_was_written(tmp_path: Path):
    stored = _stored()
    stored.save(tmp_path / "a.npz")
    read = StoredMap.load(tmp_path / "a.npz")
    for name in ("texture", "labels", "known", "views", "yaws"):
        np.testing.assert_array_equal(getattr(read, name), getattr(stored, name))
    (tmp_path / "a.npz").write_bytes(b"no map")
    with pytest.raises(DataError, match="delete"):
        StoredMap.load(tmp_path / "a.npz")


def test_pairs_hide_only_what_is_known_and_come_out_the_same_again(tmp_path: Path):
    _stored().save(tmp_path / "a.npz")
    pairs = UvPairs([tmp_path / "a.npz"], seed=1, training=True)
    first, again, other = pairs[0], pairs[0], pairs[1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))
    assert not (first.visible & ~first.known).any()
    seen = first.visible[..., None].expand_as(first.texture)
    assert (first.partial[seen] == first.texture[seen]).all()
    assert (first.filled[seen] == first.texture[seen]).all()


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set ``drawn`` of six faces and, in ``faces``, their store."""
    root = tmp_path_factory.mktemp("portraits")
    store = FaceStore(root / "faces" / "drawn")
    names = [f"face{number}" for number in range(6)]
    for number, name in enumerate(names):
        image, labels, face = _portrait((3.0 * number - 7, 2, 0), number)
        write_pair(root / "drawn", name, image, labels)
        record = record_of(FaceModel.load().mesh478(face.vertices))
        store.put(name, record)
    (root / "drawn" / "split.json").write_text(json.dumps({"train": names[:4], "val": names[4:]}))
    return root


def test_a_folder_of_poses_is_a_data_set_and_goes_on_where_it_stopped(portraits: Path, tmp_path: Path):
    command = PoseAugmentFolder(
        portraits / "drawn", portraits / "faces" / "drawn", tmp_path, uv_size=_UV, split="val", processes=1
    )
    command()
    made = FaceFolder.open(tmp_path, "val")
    assert len(made) == 2
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    given = read_given(tmp_path / "landmarks" / f"{made.names[0]}.json", SCHEME.names)
    assert given.angles is not None
    np.testing.assert_allclose(manifest["angles"][made.names[0]], given.angles, atol=1e-4)
    assert (tmp_path / "contact.png").is_file()
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    for part in ("images/*", "landmarks/*"):
        next(iter(sorted(tmp_path.glob(part)))).unlink()
    command()
    assert {path: path.read_bytes() for path in files} == before
    with pytest.raises(DataError, match="other settings"):
        replace(command, seed=1)()


def test_a_smoke_training_leaves_a_completion_and_a_report(portraits: Path, tmp_path: Path):
    settings = UvmTraining.presets["smoke"]
    command = UvmTraining((portraits / "drawn",), tmp_path / "run", portraits / "faces", settings=settings)
    run: Run = command()
    assert {"score", "psnr", "psnr_mirror", "labels_right"} <= run.history[-1].keys()
    completion = Completion.load(run.best)
    assert completion.complete(_smaller(_flat(np.random.default_rng(0)), completion.size)).visible.all()
    page = UvmReport(run.folder, portraits / "drawn", tmp_path / "report", portraits / "faces", renders=0, shown=1)()
    assert "labels back at the original pose" in page.read_text()
    assert (page.parent / "uvm.png").is_file()
    with pytest.raises(DataError, match="other settings"):
        replace(command, settings=UvmTraining.presets["cpu"])()


def _smaller(uv_map: UvMap, size: int) -> UvMap:
    texture = np.asarray(cv2.resize(uv_map.texture, (size, size)), np.uint8)
    return UvMap(texture, None, np.ones((size, size), bool))


def test_no_landmarks_are_reported_with_what_to_do(portraits: Path, tmp_path: Path):
    with pytest.raises(DataError, match="fpan-train landmarks"):
        UvmTraining((portraits / "drawn",), tmp_path / "run", tmp_path, settings=UvmTraining.presets["smoke"])()
