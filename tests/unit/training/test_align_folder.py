"""`fpan-train align` and `fpan-train split`: photos with masks become aligned data sets."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.check import Check
from fpan_training.data.folder import DataError, read_labels, read_rgb
from fpan_training.data.label_space import DatasetFile, LabelSpace, derived, write_dataset_file
from fpan_training.data.split import Split
from fpan_training.landmarks.align_folder import LEFT_OUT, Align
from fpan_training.landmarks.aligned import read_template
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.teacher import Teacher, task_bytes
from numpy.typing import NDArray
from PIL import Image

_FACE = (slice(60, 185), slice(170, 265))
"""Where the astronaut's lies, rows and columns."""
_SIZE = 128


@pytest.fixture(scope="module")
def task(fpan_data: Path) -> Path:
    return fpan_data / "models" / "face_landmarker_v2.task"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    """Photos of one and of two faces, one without any, and one whose mask labels a face where nobody is."""
    root = tmp_path_factory.mktemp("photos")
    for part in ("images", "masks"):
        (root / part).mkdir()
    labels = np.zeros(astronaut.shape[:2], np.uint8)
    labels[_FACE] = 1
    labels[30:60, 170:265] = 13
    # The larger face is not the one that is labelled.
    larger = np.asarray(Image.fromarray(astronaut[:260, 100:360]).resize((520, 520)), np.uint8)
    two = np.concatenate([np.pad(astronaut, ((0, 8), (0, 0), (0, 0))), larger], 1)
    pairs = {
        "one": (astronaut, labels),
        "two": (two, np.pad(labels, ((0, 8), (0, 520)))),
        "nobody": (np.full_like(astronaut, 128), np.zeros_like(labels)),
        "hidden": (np.full_like(astronaut, 128), labels),
    }
    for name, (image, mask) in pairs.items():
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    (root / "split.json").write_text(json.dumps({"train": ["one", "nobody"], "val": ["two", "hidden"]}))
    labelled: dict[str, str | list[str]] = {"0": "rest", "1": ["skin", "nose", "eyes"], "13": "hair"}
    write_dataset_file(root / "dataset.json", DatasetFile(name="Two", labels=labelled, licence="free"))
    return root


@pytest.fixture(scope="module")
def wide(photos: Path, task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Align(photos, tmp_path_factory.mktemp("aligned") / "wide", _SIZE, frame=2.0, model=task)()


def eyes(image: NDArray[np.uint8], teacher: Teacher) -> NDArray[np.float32]:
    points = SCHEME.to68(teacher(image).points264)
    return np.asarray([points[36:42].mean(0), points[42:48].mean(0)], np.float32)


def test_an_aligned_data_set_keeps_masks_splits_and_what_is_said_of_it(wide: Path) -> None:
    assert sorted(path.name for path in (wide / "images").iterdir()) == ["one.jpg", "two.jpg"]
    assert json.loads((wide / "split.json").read_text()) == {"train": ["one"], "val": ["two"]}
    said = DatasetFile.read(wide / "dataset.json")
    assert (said.name, said.licence, said.frame) == ("Two, aligned", "free", 2.0)
    assert LabelSpace.of_folder(wide).declared[2] == (13, (13,))
    Check((wide,))()


def test_the_frame_is_enlarged_about_its_centre(wide: Path, task: Path) -> None:
    expected = (np.asarray(read_template().points)[:2] - 0.5) / 2 + 0.5
    for name in ("one", "two"):
        found = (eyes(read_rgb(wide / "images" / f"{name}.jpg"), Teacher(task_bytes(task))) + 0.5) / _SIZE
        assert np.allclose(found, expected, atol=0.015)


def test_masks_lie_as_their_pictures_and_are_unknown_beyond_them(wide: Path) -> None:
    image, mask = read_rgb(wide / "images" / "one.jpg"), read_labels(wide / "masks" / "one.png")
    assert set(np.unique(mask)) == {0, 1, 13, 255}
    assert (image[mask == 255].max(1) < 40).mean() > 0.95
    # The photo's upper edge is cut off, and nothing else.
    assert (mask[0] == 255).all()
    assert (mask[_SIZE // 2 :] != 255).all()
    middle = mask[_SIZE // 2 - 10 : _SIZE // 2 + 10, _SIZE // 2 - 8 : _SIZE // 2 + 8]
    assert (middle == 1).all()


def test_the_face_that_the_mask_labels_is_taken_not_the_largest(wide: Path) -> None:
    one, two = (read_labels(wide / "masks" / f"{name}.png") for name in ("one", "two"))
    assert (one != two)[_SIZE // 4 :].mean() < 0.1


def test_what_was_not_found_is_named_and_counted(
    photos: Path, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    align = Align(photos, tmp_path / "out", 64, model=task)
    align()
    told = capsys.readouterr().out
    assert "2 faces of 4 photos" in told
    assert "without one: hidden.png, nobody.png" in told
    assert "in 1 of these the masks label a face" in told
    first = (tmp_path / "out" / "images" / "one.jpg").stat().st_mtime_ns
    align()
    assert (tmp_path / "out" / "images" / "one.jpg").stat().st_mtime_ns == first
    assert "2 faces of 4 photos" in capsys.readouterr().out
    for other in ({"frame": 1.5}, {"size": 48}):
        with pytest.raises(DataError, match="another data set, size or frame"):
            replace(align, **other)()


def test_a_data_set_that_is_not_whole_does_not_look_it(photos: Path, task: Path, tmp_path: Path) -> None:
    data = tmp_path / "photos"
    shutil.copytree(photos, data)
    (data / "images" / "zz.png").write_bytes(b"broken")
    align = Align(data, tmp_path / "out", 64, model=task)
    with pytest.raises(DataError, match=r"zz\.png"):
        align()
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out" / "split.json").exists()
    Image.new("RGB", (8, 8)).save(data / "images" / "zz.png")
    Image.new("L", (8, 8)).save(data / "masks" / "zz.png")
    align()
    assert (tmp_path / "out" / "dataset.json").exists()


def test_a_plain_folder_becomes_a_plain_folder(photos: Path, task: Path, tmp_path: Path) -> None:
    Align(photos / "images", tmp_path / "out", 64, model=task)()
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["one.jpg", "two.jpg"]
    assert (tmp_path / "out" / LEFT_OUT).read_text() == "hidden.png\nnobody.png\n"
    with pytest.raises(DataError, match="--frame"):
        Align(photos / "images", tmp_path / "wide", 64, frame=2, model=task)()


def test_masks_of_another_size_are_named(photos: Path, task: Path, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        Image.new("L", (8, 8 + len(part))).save(tmp_path / part / "odd.png")
    with pytest.raises(DataError, match="odd differ in size"):
        Align(tmp_path, tmp_path / "out", 64, model=task)()


def test_what_is_made_of_a_folder_with_a_presets_name_keeps_its_labels_and_frame(tmp_path: Path) -> None:
    (tmp_path / "figaro").mkdir()
    assert derived(tmp_path / "figaro", "aligned", labels=None, frame=2.0).labels == "figaro"
    write_dataset_file(tmp_path / "dataset.json", DatasetFile(frame=2.0))
    assert derived(tmp_path, "covered").frame == 2.0


def test_pictures_are_divided_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(1, 11):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{number:04}.jpg")
    for wrong, said in (("[", "no regular expression"), ("x", "fits 0 of the 10"), (".", "fits 10 of the 10")):
        with pytest.raises(DataError, match=said):
            Split(tmp_path, wrong)()
    Split(tmp_path, "[05]$")()
    made = json.loads((tmp_path / "split.json").read_text())
    assert made["val"] == ["0005", "0010"]
    assert len(made["train"]) == 8
    with pytest.raises(DataError, match="already"):
        Split(tmp_path, "1$")()
