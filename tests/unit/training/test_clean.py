"""Which faces LOM and DOM take for clean: those that labels, an earlier LOM or a list tell of, and no others."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, write_dataset_file
from fpan_training.face3d.pose import rotation
from fpan_training.landmarks import FaceStore
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.dom.data import Faces
from fpan_training.modules.lom import Lom, LomConfig, clean
from fpan_training.modules.lom.clean import CleanConfig, CleanFaces, Known, certainty
from fpan_training.modules.lom.data import CLASSES, LomAugmentConfig, LomData
from fpan_training.modules.lom.train import LomTraining
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray
from PIL import Image

_SIDE = 96
_OCCLUSION = TAXONOMY.id_of("occlusion")
_MARKS = {"0": "rest", "1": ["skin", "nose", "eyes", "brows", "all_mouth"], "19": "occlusion"}
"""As the masks of people who wear masks tell it: covered or not, and no part of the face from another."""


def write_faces(root: Path, name: str, masks: list[NDArray[np.uint8] | None]) -> FaceStore:
    """A data set of upright, drawn faces; those whose mask is None have none. Returns its landmarks, ``faces/NAME``."""
    store = FaceStore(root / "faces" / name)
    pictures = root / name / "images"
    pictures.mkdir(parents=True)
    for number, mask in enumerate(masks):
        record = record_of((canonical_mesh().vertices @ rotation((0, 0, 0)).T * 3.4 + [48, 48, 0]).astype(np.float32))
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(60, 90, (_SIDE, _SIDE, 3), np.uint8)).save(pictures / f"{number}.png")
        store.put(f"{number}", record)
        if mask is not None:
            (root / name / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / name / "masks" / f"{number}.png")
    return store


def _skin(covered_from: int = _SIDE) -> NDArray[np.uint8]:
    """Skin everywhere, and from a row on an occlusion."""
    mask = np.full((_SIDE, _SIDE), TAXONOMY.id_of("skin"), np.uint8)
    mask[covered_from:] = _OCCLUSION
    return mask


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A checkpoint of a LOM that finds every landmark visible, whatever it is shown."""
    network = Lom(LomConfig(width=0.25))
    torch.nn.init.zeros_(network.visibility.weight)
    torch.nn.init.constant_(network.visibility.bias, 4)
    torch.save({"network": network.state_dict(), "lom": {"width": 0.25, "margin": 0.1}}, tmp_path / "lom.pt")
    return tmp_path / "lom.pt"


def test_faces_that_nobody_vouches_for_teach_no_visibility(tmp_path: Path) -> None:
    store = write_faces(tmp_path, "unlabelled", [None] * 2)
    (face, _) = CleanFaces().faces(tmp_path / "unlabelled", "train", store)
    for item in (LomData([face], 0.1)[0], LomData([face], 0.1, augment=LomAugmentConfig())[0]):
        assert item.covered.isnan().all()
        assert item.points.isfinite().all()
    with pytest.raises(DataError, match="--clean-by"):
        Faces.open([tmp_path / "unlabelled"], "train", 32, [store])


def test_masks_that_know_no_occlusion_tell_nothing(tmp_path: Path) -> None:
    """Skin is painted over some hands of CelebAMask-HQ."""
    store = write_faces(tmp_path, "celeba19", [_skin()])
    known = CleanFaces().of(tmp_path / "celeba19", [tmp_path / "0.png"], {})
    assert known == {"0": Known.UNKNOWN}
    assert CleanFaces().faces(tmp_path / "celeba19", "train", store)[0].covered is None


def test_masks_that_mark_occlusions_tell_which_landmarks_they_cover(tmp_path: Path) -> None:
    store = write_faces(tmp_path, "masked", [_skin(60), _skin()])
    write_dataset_file(tmp_path / "masked" / DATASET_FILE, DatasetFile(labels=_MARKS))
    covered, bare = CleanFaces().faces(tmp_path / "masked", "train", store)
    assert covered.covered is not None
    assert np.array_equal(covered.covered == 1, np.rint(covered.points[:, 1]) >= 60)
    assert bare.covered is not None
    assert not bare.covered.any()
    # Its values are not our ids, so that DOM needs the landmarks, and what is covered is no face to recover.
    assert Faces.open([tmp_path / "masked"], "train", 32, [store]).names == ("1",)


def test_what_covers_a_face_is_mirrored_with_it(tmp_path: Path) -> None:
    mask = _skin()
    mask[:, : _SIDE // 3] = _OCCLUSION
    store = write_faces(tmp_path, "masked", [mask])
    (face,) = CleanFaces().faces(tmp_path / "masked", "train", store)
    move = replace(LomAugmentConfig().move, rotation_deg=0, p_large_rotation=0, scale=(1, 1), shift=0, flip=1)
    item = LomData([face], 0.1, augment=LomAugmentConfig(move, p_occluded=0))[0]
    hidden = item.covered.numpy() == 1
    assert 0 < hidden.sum() < 132
    # What lay on the picture's left lies on its right now.
    assert item.points.numpy()[hidden, 0].min() > item.points.numpy()[~hidden, 0].max() - 1
    assert item.flags[CLASSES.index("occluded")]


def test_what_is_pasted_covers_landmarks_beside_what_labels_tell(tmp_path: Path) -> None:
    store = write_faces(tmp_path, "masked", [_skin(60)])
    (face,) = CleanFaces().faces(tmp_path / "masked", "train", store)
    plain, pasted = LomData([face], 0.1)[0].covered, LomData([face], 0.1, _top_half)[0].covered
    assert face.covered is not None
    assert 0 < face.covered.sum() < 264
    assert (pasted >= plain).all()
    assert pasted.sum() > plain.sum()


def _top_half(image: NDArray[np.uint8], *_: object) -> SimpleNamespace:
    """An occluder over the upper half of a crop."""
    mask = np.zeros(image.shape[:2], bool)
    mask[: len(mask) // 2] = True
    return SimpleNamespace(image=image, mask=mask)


def test_lom_tells_of_faces_when_it_is_certain_enough(
    tmp_path: Path, judge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_faces(tmp_path, "unlabelled", [None] * 3)
    data = tmp_path / "unlabelled"
    sure = certainty(judge, CleanFaces().faces(data, "train", store))
    assert np.allclose(sure, 1 / (1 + np.exp(-4)))
    faces = CleanFaces(CleanConfig(judge, 0.9)).faces(data, "train", store)
    assert all(face.covered is not None and not face.covered.any() for face in faces)
    assert "train of unlabelled: 3 faces: 3 clean by LOM at 0.9\n" in capsys.readouterr().out
    stricter = CleanFaces(CleanConfig(judge, 0.99)).faces(data, "train", store)
    assert [face.covered for face in stricter] == [None] * 3
    assert len(Faces.open([data], "train", 32, [store], CleanFaces(CleanConfig(judge, 0.9)))) == 3


def test_a_run_that_goes_on_learns_from_the_same_faces(
    tmp_path: Path, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_faces(tmp_path, "unlabelled", [None] * 3)
    judged = CleanFaces(CleanConfig(judge), tmp_path / "run" / "clean.json")
    before = judged.faces(tmp_path / "unlabelled", "train", store)
    monkeypatch.setattr(clean, "certainty", lambda *_: pytest.fail("LOM is asked again"))
    after = judged.faces(tmp_path / "unlabelled", "train", store)
    assert [face.covered is None for face in after] == [face.covered is None for face in before] == [False] * 3


def test_a_list_tells_of_faces_but_labels_know_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = write_faces(tmp_path, "some", [_skin(60), np.full((_SIDE, _SIDE), 255, np.uint8), None])
    (tmp_path / "clean.txt").write_text("0\n1\n")
    config = CleanConfig(clean_list=(tmp_path / "clean.txt",))
    CleanFaces(config).faces(tmp_path / "some", "train", store)
    counts = "1 covered as labels tell, 1 taken for clean, 1 not used for visibility"
    assert f"train of some: 3 faces: {counts}\n" in capsys.readouterr().out
    with pytest.raises(DataError, match="nowhere"):
        CleanFaces(CleanConfig(clean_list=(tmp_path / "nowhere.txt",))).faces(tmp_path / "some", "train", store)


def test_a_training_of_which_nothing_is_known_to_be_clean_is_refused(tmp_path: Path) -> None:
    write_faces(tmp_path, "unlabelled", [None] * 2)
    with pytest.raises(DataError, match="which landmarks are visible"):
        LomTraining((tmp_path / "unlabelled",), tmp_path / "run", tmp_path / "faces")()


def test_dom_looks_at_the_faces_own_frame_of_wider_pictures(tmp_path: Path) -> None:
    store = write_faces(tmp_path, "wide", [_skin()])
    write_dataset_file(tmp_path / "wide" / DATASET_FILE, DatasetFile(frame=1.5))
    (tmp_path / "wide" / "split.json").write_text(json.dumps({"train": ["0"]}))
    faces = Faces.open([tmp_path / "wide"], "train", 16, [store])
    record = store.get("0")
    assert record is not None
    assert faces.points[0] is not None
    # Of 96 pixels the 64 in the middle, shrunk to 32.
    assert np.allclose(faces.points[0], (record.points264 - 16 + 0.5) / 2 - 0.5, atol=1e-4)
