"""DOM at work: its data, its training in the shared loop, its pseudo-labels and its report."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fpan_training.data.folder import DataError
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.landmarks.store import FaceRecord, FaceStore
from fpan_training.modules.dom import RLA_SMOKE, DomNetwork, load
from fpan_training.modules.dom.baselines import MeanFace, local_mean, navier_stokes, telea
from fpan_training.modules.dom.data import CropConfig, Faces, OcclusionData, collate
from fpan_training.modules.dom.evaluate import validate
from fpan_training.modules.dom.pseudo import DeOcclusion
from fpan_training.modules.dom.report import DomReport, inside
from fpan_training.modules.dom.step import DomStep, mean_face, to_input
from fpan_training.modules.dom.train import DomTraining
from fpan_training.modules.lom.clean import CleanConfig, CleanFaces
from fpan_training.taxonomy import TAXONOMY

_OCCLUSION = TAXONOMY.id_of("occlusion")


@dataclass(frozen=True)
class _Covered:
    image: np.ndarray
    mask: np.ndarray


def _blob(
    image: np.ndarray, labels: np.ndarray | None, points: np.ndarray | None, rng: np.random.Generator
) -> _Covered:
    """Stands in for the generator: a disc of a colour that no face has."""
    side = image.shape[0]
    mask = np.zeros((side, side), np.uint8)
    x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * side)
    cv2.circle(mask, (x, y), int(side * rng.uniform(0.12, 0.22)), 1, -1)
    covered = image.copy()
    covered[mask > 0] = (20, 230, int(rng.integers(0, 60)))
    return _Covered(covered, mask > 0)


@pytest.fixture
def network() -> DomNetwork:
    torch.manual_seed(3)
    return DomNetwork(RLA_SMOKE)


# --- data ------------------------------------------------------------------------------------------------------------


def _data(root: Path, crop: CropConfig | None, split: str = "train", seed: int = 0) -> OcclusionData:
    return OcclusionData(Faces.open([root], split, 32), 32, _blob, TAXONOMY, crop, seed)


def test_an_occluded_picture_differs_from_the_clean_one_where_the_mask_says_so(faces_root: Path) -> None:
    occluded, clean, mask = (part.numpy() for part in _data(faces_root, None)[5])
    differs = (occluded != clean).any(-1)
    assert (mask > 0).any()
    assert not differs[mask == 0].any()
    assert differs[mask == 255].mean() > 0.99


def test_items_depend_on_seed_and_pass_alone(faces_root: Path) -> None:
    data, again = (_data(faces_root, CropConfig(), seed=1) for _ in range(2))
    at = 2 * len(data) + 5
    assert all(torch.equal(a, b) for a, b in zip(data[at], again[at], strict=True))
    assert not torch.equal(data[at][0], data[5][0])
    assert not torch.equal(data[at][0], _data(faces_root, CropConfig(), seed=2)[at][0])


def test_some_pictures_stay_clean(faces_root: Path) -> None:
    data = _data(faces_root, CropConfig(p_clean=0.5))
    empty = [not data[i][2].any() for i in range(len(data))]
    assert 0.2 < np.mean(empty) < 0.8
    assert all(torch.equal(data[i][0], data[i][1]) for i in np.flatnonzero(empty))


def test_bare_pictures_are_for_training_once_their_landmarks_are_known(faces_root: Path, tmp_path: Path) -> None:
    bare, store = tmp_path / "bare", FaceStore(tmp_path / "faces")
    bare.mkdir()
    for path in sorted((faces_root / "images").glob("*.png"))[:3]:
        (bare / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="fpan-train landmarks"):
        Faces.open([bare], "train", 32)
    seen = replace(FaceRecord.nothing(), points264=np.full((264, 2), 63, np.float32), found=True)
    store.put("face00", seen)
    store.put("face01", FaceRecord.nothing())
    both = Faces.open([faces_root, bare], "train", 32, [None, store], CleanFaces(CleanConfig(clean_data=("bare",))))
    assert len(both) == 32 + 1
    assert both.images.shape[1:] == (64, 64, 3)
    assert both.labels[-1] is None
    assert np.allclose(both.points[-1], 63)  # pictures of 64 pixels are kept at 64
    with pytest.raises(DataError, match="no picture of the split 'val'"):
        Faces.open([bare], "val", 32, [store])


def test_landmarks_move_with_the_picture(faces_root: Path) -> None:
    faces = Faces.open([faces_root], "train", 32)
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:23, 40:43] = 255
    points = np.full((264, 2), (41, 21), np.float32)
    seen = []

    def watch(
        image: np.ndarray, labels: np.ndarray | None, points: np.ndarray | None, rng: np.random.Generator
    ) -> _Covered:
        seen.append((image, points))
        return _Covered(image, np.zeros(image.shape[:2], bool))

    one = replace(faces, names=("x",), images=image[None], labels=(None,), points=(points,))
    data = OcclusionData(one, 32, watch, TAXONOMY, CropConfig(rotation_deg=20, p_clean=0))
    for turn in range(8):
        data[turn]
    for moved, at in seen:
        rows, columns = np.nonzero(moved[..., 0] > 127)
        assert np.allclose(at, (columns.mean(), rows.mean()), atol=0.8)


def test_grey_networks_see_luminance() -> None:
    image = torch.tensor([[[[255, 0, 0], [255, 255, 255]]]], dtype=torch.uint8)
    assert to_input(image, 1).flatten().tolist() == pytest.approx([0.299, 1.0])
    assert to_input(image, 3).shape == (1, 3, 1, 2)


# --- training --------------------------------------------------------------------------------------------------------

_LOOP = LoopConfig(
    epochs=2, batch_size=8, lr=3e-3, ema_decay=0.9, validate_every=1, workers=0, precision="32-true", accelerator="cpu"
)


def _training(root: Path, run: Path, batch_size: int = 8) -> DomTraining:
    loop = replace(_LOOP, batch_size=batch_size)
    settings = replace(DomTraining.presets["smoke"], stage1=loop, stage2=loop)
    return DomTraining((root,), run, settings=settings)


@pytest.fixture(scope="module")
def trained(faces_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _training(faces_root, tmp_path_factory.mktemp("dom")).fit(_blob, _blob)


def test_stage_2_measures_both_masks(trained: Run) -> None:
    assert {"score", "psnr", "psnr_true_mask", "iou_mask", "iou_compared"} <= trained.history[-1].keys()


def test_a_checkpoint_gives_the_network_back(trained: Run, faces_root: Path) -> None:
    network = load(trained.best)
    data = _data(faces_root, None, "val")
    batches = [collate([data[i] for i in range(8)])]
    figures = validate(network, DomStep(3, joint=True), batches)
    assert np.isfinite(figures["score"])
    assert not network.training


def test_a_few_steps_on_one_picture_lower_both_losses(faces_root: Path) -> None:
    batch = collate([_data(faces_root, None)[3]] * 2)
    for joint in (False, True):
        torch.manual_seed(0)
        network = DomNetwork(RLA_SMOKE)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        step = DomStep(3, joint)
        values = []
        for _ in range(25):
            losses = step.train(network, batch)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
            values.append(losses["loss"].item())
        assert values[-1] < 0.5 * values[0], values


def test_too_few_pictures_are_named_before_training(faces_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="32 pictures do not fill a batch of 64"):
        _training(faces_root, tmp_path, 64).fit(_blob, _blob)


# --- pseudo-labels ---------------------------------------------------------------------------------------------------


class _Told(DeOcclusion):
    """Says of every picture what it is told: the left half is covered, a strip beside it may be."""

    def _infer(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = np.zeros((32, 32), np.float32)
        probability[:, :16], probability[:, 16:20] = 1.0, 0.5
        return np.full((32, 32, 3), 0.5, np.float32), probability


def test_recovery_changes_what_is_covered_and_not_a_byte_elsewhere(network: DomNetwork) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    recovered, mask = _Told(network).remove(image)
    assert (recovered[:, :16] == 128).all()
    assert np.array_equal(recovered[:, 20:], image[:, 20:])
    assert mask.dtype == np.float32


def test_occlusion_goes_over_parts_and_doubt_is_ignored(network: DomNetwork) -> None:
    image, parts = np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 1, np.uint8)
    dom = _Told(network)
    merged = dom.label(image, parts)
    assert (merged[:, :16] == _OCCLUSION).all()
    assert (merged[:, 16:20] == TAXONOMY.ignore).all()
    assert (merged[:, 20:] == 1).all()
    assert (parts == 1).all()
    assert set(np.unique(dom.label(image))) == {0, _OCCLUSION, TAXONOMY.ignore}
    with pytest.raises(ValueError, match="labels are"):
        dom.label(image, parts[:16])


def test_masks_have_the_pictures_own_resolution_and_place(network: DomNetwork) -> None:
    mask = _Told(network).remove(np.zeros((256, 256, 3), np.uint8))[1]
    assert mask.shape == (256, 256)
    assert (mask[:, :120] == 1).all()
    assert np.abs(mask[:, 136:152] - 0.5).max() < 0.01
    assert (mask[:, 168:] == 0).all()


def test_a_picture_that_is_no_square_is_refused(network: DomNetwork) -> None:
    with pytest.raises(ValueError, match="square"):
        DeOcclusion(network).remove(np.zeros((32, 40, 3), np.uint8))


def test_a_trained_dom_can_be_asked(trained: Run, astronaut: np.ndarray) -> None:
    dom = DeOcclusion.load(trained.best)
    recovered, mask = dom.remove(astronaut)
    assert recovered.shape == astronaut.shape
    assert mask.shape == astronaut.shape[:2]
    assert 0 <= mask.min() <= mask.max() <= 1
    assert dom.label(astronaut).shape == astronaut.shape[:2]


# --- report ----------------------------------------------------------------------------------------------------------


def test_fillings_change_the_hole_only_and_are_right_about_a_flat_picture() -> None:
    clean = np.full((32, 32, 3), (200, 150, 120), np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[10:20, 10:20] = True
    occluded = np.where(mask[..., None], np.uint8(0), clean)
    for fill in (telea, navier_stokes, local_mean, MeanFace(clean)):
        assert np.abs(fill(occluded, mask).astype(int) - clean).max() <= 2


def test_figures_inside_are_of_the_inside() -> None:
    clean = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[12:20, 12:20] = True
    worse = clean.copy()
    worse[0, 0] = 255 - worse[0, 0]
    assert inside(worse, clean, mask) == (100.0, pytest.approx(1.0))
    shifted = np.where(mask[..., None], 255 - clean, clean)
    assert inside(shifted, clean, mask)[0] < 20
    assert inside(shifted, clean, mask)[1] < 0.5


def test_a_report_measures_every_method_on_every_kind_of_occluder(
    trained: Run, faces_root: Path, tmp_path: Path
) -> None:
    report = DomReport(trained.folder, faces_root, tmp_path, turns=2)
    val, train = (Faces.open([faces_root], split, 32) for split in ("val", "train"))
    text = report.measure(val, train, {"val": _blob, "heldout": _blob}).read_text()
    for name in ("mean face", "local mean", "Telea", "Navier-Stokes", "| DOM | own |", "| DOM | true |", "IoU"):
        assert text.count(name) == 2, name
    assert len((tmp_path / "dom.csv").read_text().splitlines()) == 1 + 2 * (7 + 2)
    assert (tmp_path / "dom_heldout.png").is_file()


def test_the_mean_face_is_the_mean_of_the_faces(faces_root: Path) -> None:
    faces = Faces.open([faces_root], "train", 32)
    mean = mean_face(faces.images, RLA_SMOKE)
    assert mean.shape == (3, 32, 32)
    assert mean.mean().item() == pytest.approx(faces.images.mean() / 255, abs=1e-5)
