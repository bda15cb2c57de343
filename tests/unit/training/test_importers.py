"""Published data sets, drawn small in their own forms, come into the documented layout; and what the writer does."""

import json
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.check import problems
from fpan_training.data.folder import DataError, FaceFolder, read_labels, read_rgb
from fpan_training.data.importers import Import
from fpan_training.data.importers.sides import means_own_left, own_sides, votes_own_left
from fpan_training.data.label_space import LabelSpace
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray
from PIL import Image

from tests.unit.training.imported import IDS, H, W, box, grey, mask_of, photo, write_coco, write_labelme

# Sides


def test_sides_are_the_persons_own_whatever_the_data_set_calls_left() -> None:
    labels = np.zeros((20, 40), np.uint8)
    labels[8:10, 8:12], labels[8:10, 28:32] = IDS["r_eye"], IDS["l_eye"]
    labels[5:6, 8:12], labels[5:6, 28:32] = IDS["r_brow"], IDS["l_brow"]
    right, changed = own_sides(labels)
    assert right is labels
    assert not changed
    mended, changed = own_sides(TAXONOMY.partner_table[labels])
    assert np.array_equal(mended, labels)
    assert changed


def test_of_a_head_in_profile_the_nose_tells_the_side() -> None:
    labels = np.zeros((20, 40), np.uint8)
    labels[10:14, 4:8] = IDS["nose"]
    labels[8:10, 12:16], labels[8:12, 30:34] = IDS["l_eye"], IDS["l_ear"]
    assert not own_sides(labels)[1]
    assert own_sides(labels[:, ::-1])[1]
    assert not own_sides(np.zeros((4, 4), np.uint8))[1]


def test_of_pairs_above_each_other_nothing_is_told() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[4:8, 10:14], labels[30:34, 12:16] = 3, 4
    assert votes_own_left(labels, ((3, 4), (5, 6))) == 0
    assert votes_own_left(labels.T, ((3, 4), (5, 6))) == -1
    assert means_own_left([labels, labels.T[:, ::-1]], ((3, 4),))


# CelebAMask-HQ


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Three published pictures, the second of which has left and right wrong."""
    root = tmp_path / "CelebAMask-HQ"
    for number in (0, 1, 2001):
        photo(root / "CelebA-HQ-img" / f"{number}.jpg", (2 * W, 2 * H))
        left, right = ("l", "r") if number != 1 else ("r", "l")
        parts = {
            "skin": box(5, 5, 45, 38),
            "nose": box(20, 15, 28, 25),
            f"{left}_eye": box(30, 10, 38, 14),
            f"{right}_eye": box(10, 10, 18, 14),
            "hair": box(0, 0, 50, 8),
            "neck": box(15, 34, 35, 40),
        }
        for name, mask in parts.items():
            path = root / "CelebAMask-HQ-mask-anno" / str(number // 2000) / f"{number:05}_{name}.png"
            grey(path, np.repeat(mask[..., None], 3, 2) * 255)
    mapping = ["idx orig_idx orig_file", "0 5 a.jpg", "1 170000 b.jpg", "2001 190000 c.jpg"]
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(mapping))
    return root


def test_celebamask_hq_is_painted_in_its_order_with_sides_mended(celeba: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = Import("celebamask-hq", celeba, out)()
    assert problems(out) == []
    assert written.notes == {"had left and right exchanged": 1}
    assert LabelSpace.of_folder(out).name == "celeba19"
    for split, name in (("train", "00000"), ("val", "00001"), ("test", "02001")):
        assert FaceFolder.open(out, split).names == (name,)
        labels = mask_of(out, name)
        # Hair is painted over skin, the neck over both.
        assert labels[6, 25] == IDS["hair"]
        assert labels[36, 25] == IDS["neck"]
        assert labels[12, 34] == IDS["l_eye"]
        assert labels[12, 14] == IDS["r_eye"]
        assert read_rgb(out / "images" / f"{name}.jpg").shape == (H, W, 3)


def test_masks_have_the_taxonomys_colours(celeba: Path, tmp_path: Path) -> None:
    Import("celebamask-hq", celeba, tmp_path / "out")()
    with Image.open(tmp_path / "out" / "masks" / "00000.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image.convert("RGB"))[36, 25], TAXONOMY.palette[IDS["neck"]])


def test_another_folder_is_not_taken_for_celebamask_hq(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no CelebA-HQ-img"):
        Import("celebamask-hq", tmp_path, tmp_path / "out")()


# LaPa and Helen


def _eight(own_left: bool) -> NDArray[np.uint8]:
    """Values of LaPa; left is the picture's, or the person's own."""
    labels = np.zeros((H, W), np.uint8)
    labels[2:38, 2:48] = 1
    left, right = (3, 2) if own_left else (2, 3)
    labels[8:10, 8:16], labels[8:10, 30:38] = left, right
    labels[12:15, 8:16], labels[12:15, 30:38] = left + 2, right + 2
    labels[:2] = 10
    return labels


@pytest.mark.parametrize("own_left", [False, True])
def test_lapa_keeps_its_values_and_its_left_is_measured(tmp_path: Path, own_left: bool) -> None:
    for split in ("train", "val"):
        for i in range(3):
            photo(tmp_path / "LaPa" / split / "images" / f"{split}{i}.jpg")
            grey(tmp_path / "LaPa" / split / "labels" / f"{split}{i}.png", _eight(own_left))
    out = tmp_path / "out"
    Import("lapa", tmp_path / "LaPa", out)()
    assert problems(out) == []
    assert FaceFolder.open(out, "val").names == ("val0", "val1", "val2")
    assert np.array_equal(mask_of(out, "val0"), _eight(own_left))
    original = (tmp_path / "LaPa" / "val" / "images" / "val0.jpg").read_bytes()
    assert (out / "images" / "val0.jpg").read_bytes() == original
    space = LabelSpace.of_folder(out)
    codes = space.encode(mask_of(out, "val0"), "val0")
    # The eye on the picture's right is the person's own left.
    assert IDS["l_eye"] in space.groups[codes[13, 34]]
    assert space.groups[codes[9, 12]] == (IDS["r_brow"],)


def test_helen_has_the_likeliest_class_and_its_own_lists(tmp_path: Path) -> None:
    truth = _eight(False)
    root = tmp_path / "helen"
    for name in ("1_1", "2_1", "3_1"):
        photo(root / "images" / f"{name}.jpg")
        for value in range(11):
            grey(root / "labels" / name / f"{name}_lbl{value:02}.png", np.where(truth == value, 200, 20))
    photo(root / "images" / "4_1.jpg")
    grey(root / "labels" / "4_1.png", truth)
    for file, line in (("exemplars", "1 , 1_1"), ("tuning", "2 , 2_1"), ("testing", "3 , 3_1\n4 , 4_1")):
        (root / f"{file}.txt").write_text(line + "\n")
    out = tmp_path / "out"
    Import("helen", root, out)()
    assert problems(out) == []
    assert FaceFolder.open(out, "train").names == ("1_1",)
    assert FaceFolder.open(out, "test").names == ("3_1", "4_1")
    assert np.array_equal(mask_of(out, "2_1"), truth)
    assert LabelSpace.of_folder(out).name == "helen"


# EasyPortrait


def _portrait(own_left: bool) -> NDArray[np.uint8]:
    """Values of EasyPortrait: a person before a background; left is the person's own, or the picture's."""
    labels = np.zeros((H, W), np.uint8)
    labels[4:, 4:46] = 1
    labels[8:34, 8:42] = 2
    left, right = ((30, 38), (12, 20)) if own_left else ((12, 20), (30, 38))
    for row, value in ((10, 3), (14, 5)):
        labels[row : row + 2, slice(*left)], labels[row : row + 2, slice(*right)] = value, value + 1
    labels[26:30, 18:32] = 7
    labels[27:29, 20:30] = 8
    return labels


@pytest.fixture
def portraits(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    root = tmp_path / "EasyPortrait"
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        for i in range(count):
            photo(root / "images" / split / f"{split}-{i}.jpg")
            grey(root / "annotations" / split / f"{split}-{i}.png", _portrait(request.param))
    return root


@pytest.mark.parametrize("portraits", [True, False], indirect=True)
def test_easyportrait_tells_who_has_a_face_and_where_its_eyes_are(portraits: Path, tmp_path: Path) -> None:
    own_left = bool(means_own_left([read_labels(portraits / "annotations" / "val" / "val-0.png")], ((5, 6),)))
    out = tmp_path / "out"
    written = Import("easyportrait", portraits, out, licence="CC BY-SA 4.0, variant")()
    assert problems(out) == []
    assert written.splits == {"test": 1, "train": 3, "val": 1}
    assert written.notes == {}
    assert np.array_equal(mask_of(out, "val-0"), _portrait(own_left))
    original = (portraits / "images" / "val" / "val-0.jpg").read_bytes()
    assert (out / "images" / "val-0.jpg").read_bytes() == original
    space = LabelSpace.of_folder(out)
    codes = space.encode(mask_of(out, "val-0"), "val-0")

    def at(row: int, column: int) -> set[str]:
        return {TAXONOMY.classes[i].name for i in space.groups[codes[row, column]]}

    # The eye on the picture's right is the person's own left.
    assert at(14, 34) == {"l_eye"}
    assert at(10, 14) == {"r_brow"}
    assert at(26, 24) == {"u_lip", "l_lip"}
    assert at(28, 24) == {"mouth"}
    assert at(20, 24) == {"skin", "nose", "l_ear", "r_ear", "eye_g"}
    assert at(0, 0) == {"background", "occlusion"}
    # All of a person that is no part by itself; never the background, and never what has a value of its own.
    assert {"hair", "hat", "cloth", "neck", "neck_l", "ear_r", "mouth", "occlusion"} < at(5, 5)
    assert not {"background", "l_eye", "r_brow", "u_lip"} & at(5, 5)
    # When a picture is mirrored, what has no side stays what it is.
    assert space.coded.partner_table[codes[5, 5]] == codes[5, 5]


@pytest.mark.parametrize("portraits", [True], indirect=True)
def test_a_portrait_whose_sides_are_the_wrong_way_round_is_mended(portraits: Path, tmp_path: Path) -> None:
    grey(portraits / "annotations" / "train" / "train-1.png", _portrait(False))
    written = Import("easyportrait", portraits, tmp_path / "out")()
    assert written.notes == {"had left and right exchanged": 1}
    assert np.array_equal(mask_of(tmp_path / "out", "train-1"), _portrait(True))


@pytest.mark.parametrize("portraits", [True], indirect=True)
def test_what_is_wrong_with_portraits_is_listed(portraits: Path, tmp_path: Path) -> None:
    (portraits / "annotations" / "train" / "train-0.png").unlink()
    grey(portraits / "annotations" / "train" / "train-1.png", np.full((H, W), 9))
    with pytest.raises(DataError, match=r"no annotations/train/train-0\.png") as caught:
        Import("easyportrait", portraits, tmp_path / "out")()
    assert "train/train-1: its mask has value 9" in str(caught.value)
    with pytest.raises(DataError, match="has no images/"):
        Import("easyportrait", tmp_path / "out", tmp_path / "other")()


# Whatever is wrong


def test_everything_that_is_wrong_is_listed_and_nothing_is_finished(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_labelme(tmp_path / "in" / f"{name}.json", [{"label": "skin", "points": [[1, 1], [9, 1], [9, 9]]}])
    photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "c.jpg").write_bytes(b"no picture")
    photo(tmp_path / "in" / "d.jpg", (10, 10))
    with pytest.raises(DataError) as caught:
        Import("labelme", tmp_path / "in", tmp_path / "out")()
    text = str(caught.value)
    assert text.startswith("3 of 4 are wrong")
    for words in (
        "b.json: b.jpg is not in",
        "c.json: its picture is not a readable image",
        "d.json: picture and labels differ in size",
    ):
        assert words in text
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    file = write_coco(tmp_path, [])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DataError, match="not empty"):
        Import("coco", file, tmp_path / "out")()


def test_a_photo_that_lies_on_its_side_is_turned_with_its_labels_upright(tmp_path: Path) -> None:
    write_labelme(tmp_path / "in" / "a.json", [{"label": "skin", "points": [[1, 1], [9, 1], [9, 9]]}])
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "in" / "a.jpg", (H, W), exif=exif)
    Import("labelme", tmp_path / "in", tmp_path / "out", val_share=0)()
    assert read_rgb(tmp_path / "out" / "images" / "a.png").shape == (H, W, 3)
    assert problems(tmp_path / "out") == []


def test_a_picture_stays_in_its_split_when_others_come(tmp_path: Path) -> None:
    def splits(count: int) -> dict[str, list[str]]:
        root = tmp_path / str(count)
        for i in range(count):
            write_labelme(root / f"p{i:02}.json", [], classes=["skin"])
            photo(root / f"p{i:02}.jpg")
        Import("labelme", root, tmp_path / f"out{count}", val_share=0.3)()
        return dict(json.loads((tmp_path / f"out{count}" / "split.json").read_text()))

    few, many = splits(12), splits(40)
    assert set(few["val"]) <= set(many["val"])
    assert 0.1 < len(many["val"]) / 40 < 0.5


def test_options_of_labelling_tools_are_refused_elsewhere(tmp_path: Path, celeba: Path) -> None:
    with pytest.raises(DataError, match="not for celebamask-hq"):
        Import("celebamask-hq", celeba, tmp_path / "out", uncovered="ignore")()
    with pytest.raises(DataError, match="does not exist"):
        Import("coco", tmp_path / "none.json", tmp_path / "out")()
