"""The builders of CelebAMaskOcc-HQ and FaceOccMask-HQ, on drawn faces and drawn occluders."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data import FaceFolder
from fpan_training.data.assets import HELDOUT_FAMILY
from fpan_training.data.folder import DataError, read_labels
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceRecord, FaceStore, read_given
from fpan_training.occlusion.build import BuildOccluded
from fpan_training.occlusion.variants import CropConfig
from fpan_training.taxonomy import TAXONOMY
from PIL import Image

from tests.unit.training.conftest import write_pair
from tests.unit.training.occluded_faces import face

_OCCLUSION = TAXONOMY.id_of("occlusion")
_TRAIN, _VAL = ("a", "b", "c"), ("d",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four faces, landmarks of three of them, and a family of occluders that is held out."""
    root = tmp_path_factory.mktemp("occluded")
    store = FaceStore(root / "faces")
    for seed, name in enumerate((*_TRAIN, *_VAL)):
        image, labels, points = face(seed)
        write_pair(root / "data", name, image, labels)
        found = replace(FaceRecord.nothing(), points264=points, found=True)
        store.put(name, FaceRecord.nothing() if name == "b" else found)
    (root / "data" / "split.json").write_text(json.dumps({"train": _TRAIN, "val": _VAL}))
    for family in ("things", HELDOUT_FAMILY):
        (root / "occluders" / family).mkdir(parents=True)
        for i in range(2):
            rgba = np.full((30, 40, 4), (200, 90 * i, 50, 255), np.uint8)
            Image.fromarray(rgba).save(root / "occluders" / family / f"thing_{i}.png")
    return root


def _command(root: Path, out: Path, **changes: object) -> BuildOccluded:
    plain = BuildOccluded(
        root / "data", out, faces=root / "faces", occluders=root / "occluders", variants=2, processes=1
    )
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _command(data, tmp_path_factory.mktemp("built") / "out")()


@pytest.fixture(scope="module")
def built_faces(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "faces"
    return _command(data, out, kind="faceoccmask", crop=CropConfig(size=96))()


def _manifest(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def _digests(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_picture_has_its_variants_in_its_own_split(built: Path) -> None:
    splits = json.loads((built / "split.json").read_text())
    assert {split: len(names) for split, names in splits.items()} == {"train": 6, "val": 2, "heldout": 2}
    assert {name.split("_")[0] for name in splits["train"]} == set(_TRAIN)
    assert {name.split("_")[0] for name in (*splits["val"], *splits["heldout"])} == set(_VAL)
    for split in splits:
        folder = FaceFolder.open(built, split)
        assert all(folder[i].labels.shape == folder[i].image.shape[:2] for i in range(len(folder)))


def test_the_held_out_family_never_appears_in_training(built: Path) -> None:
    for row in _manifest(built):
        held = str(row["source"]).startswith(HELDOUT_FAMILY)
        assert held == (row["occluders"] == "heldout")


def test_labels_say_what_is_seen_and_what_is_there(built: Path, data: Path) -> None:
    for row in _manifest(built):
        seen, there, occluder = (
            read_labels(built / f / f"{row['name']}.png") for f in ("masks", "amodal", "occluders")
        )
        assert np.array_equal(there, read_labels(data / "data" / "masks" / f"{row['picture']}.png"))
        assert set(np.unique(occluder)) <= {0, 255}
        if row["kind"] != "glasses":
            assert np.array_equal(seen == _OCCLUSION, occluder == 255)
            assert np.array_equal(seen[occluder == 0], there[occluder == 0])
        share = (occluder[there > 0] == 255).mean()
        assert share == pytest.approx(row["share"], abs=1e-3)


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(built: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _command(data, out)()
    assert _digests(out) == _digests(built)
    # Killed within the second picture: its record was not written, and one of its files was.
    for name in ("b", "d"):
        (out / "records" / f"{name}.json").unlink()
    (out / "images" / "b_train1.jpg").unlink()
    (out / "masks" / "b_train0.png").write_bytes(b"")
    (out / "manifest.jsonl").unlink()
    untouched = (out / "images" / "a_train0.jpg").stat().st_mtime_ns
    _command(data, out, processes=2)()
    assert _digests(out) == _digests(built)
    assert (out / "images" / "a_train0.jpg").stat().st_mtime_ns == untouched


def test_another_seed_gives_other_pictures(built: Path, data: Path, tmp_path: Path) -> None:
    other = _command(data, tmp_path / "out", seed=1)()
    assert (other / "images" / "a_train0.jpg").read_bytes() != (built / "images" / "a_train0.jpg").read_bytes()


def test_other_settings_are_refused_in_a_folder_that_was_begun(built: Path, data: Path) -> None:
    with pytest.raises(DataError, match="choose another --out"):
        _command(data, built, seed=1)()


def test_landmarks_come_with_their_visibility(built_faces: Path) -> None:
    for row in _manifest(built_faces):
        name = row["name"]
        path = built_faces / "landmarks" / f"{name}.json"
        points = read_given(path, SCHEME.names).points264
        visible = np.array(json.loads(path.read_text())["visible"], bool)
        occluder = read_labels(built_faces / "occluders" / f"{name}.png") == 255
        assert points is not None
        assert occluder.shape == (96, 96)
        columns, rows = np.rint(points).astype(int).T
        assert np.array_equal(visible, ~occluder[rows, columns])
        # The crop is about the face: its eyes are where the landmarks say.
        there = read_labels(built_faces / "amodal" / f"{name}.png")
        for eye in ("r_eye", "l_eye"):
            contour = next(c.points for c in SCHEME.contours if c.name == eye)
            rows, columns = np.nonzero(there == TAXONOMY.id_of(eye))
            assert np.hypot(*(points[contour].mean(0) - (columns.mean(), rows.mean()))) < 1.5


def test_faces_without_landmarks_are_left_out(built_faces: Path) -> None:
    assert {row["picture"] for row in _manifest(built_faces)} == {"a", "c", "d"}


def test_landmarks_are_asked_for_where_they_are_needed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--faces"):
        _command(data, tmp_path / "out", kind="faceoccmask", faces=None)()
    with pytest.raises(DataError, match="none of the pictures"):
        _command(data, tmp_path / "out", kind="faceoccmask", faces=tmp_path / "nothing")()


def test_a_picture_in_two_splits_is_refused(data: Path, tmp_path: Path) -> None:
    image, labels, _ = face()
    write_pair(tmp_path / "data", "a", image, labels)
    (tmp_path / "data" / "split.json").write_text(json.dumps({"train": ["a"], "val": ["a"]}))
    with pytest.raises(DataError, match="a is in several splits"):
        _command(data, tmp_path / "out", data=tmp_path / "data")()


def test_a_sheet_and_a_histogram_are_drawn(built: Path, built_faces: Path) -> None:
    for folder in (built, built_faces):
        for name in ("contact.png", "shares.png"):
            with Image.open(folder / name) as image:
                assert min(image.size) > 100
