"""Whatever is wrong in a source is listed at once, and what systems leave among its files is no part of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.check import problems
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.data.importers import Import
from numpy.typing import NDArray
from PIL import Image

from tests.unit.training.imported import H, W, box, grey, photo, write_coco, write_labelme


def _refusal(kind: str, source: Path) -> str:
    with pytest.raises(DataError) as caught:
        Import(kind, source, source.parent / "out")()  # type: ignore[arg-type]
    assert "BytesIO" not in str(caught.value)
    assert list((source.parent / "out").iterdir()) == []
    return str(caught.value)


def _eight() -> NDArray[np.uint8]:
    labels = np.zeros((H, W), np.uint8)
    labels[2:38, 2:48] = 1
    labels[8:10, 8:16], labels[8:10, 30:38] = 2, 3
    return labels


def _litter(folder: Path) -> None:
    """What Windows and macOS leave in folders."""
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", "._a.png"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")


# LaPa and Helen


def _lapa(root: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b", "c"):
            photo(root / split / "images" / f"{split}_{name}.jpg")
            grey(root / split / "labels" / f"{split}_{name}.png", _eight())
        _litter(root / split / "images")
        _litter(root / split / "labels")


def test_what_systems_leave_in_folders_is_no_picture_of_lapa(tmp_path: Path) -> None:
    _lapa(tmp_path / "LaPa")
    Import("lapa", tmp_path / "LaPa", tmp_path / "out")()
    assert FaceFolder.open(tmp_path / "out", "train").names == ("train_a", "train_b", "train_c")
    assert problems(tmp_path / "out") == []


def test_all_broken_masks_of_lapa_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "LaPa"
    _lapa(root)
    (root / "train" / "labels" / "train_a.png").write_bytes(b"no picture")
    photo(root / "train" / "labels" / "train_b.png")
    (root / "val" / "labels" / "val_c.png").unlink()
    text = _refusal("lapa", root)
    assert text.startswith("3 of 6 are wrong")
    assert "train_a.png is not a readable image\n" in text
    assert "train_b.png is RGB" in text
    assert "val/val_c.jpg: there is no labels/val_c.png" in text


def test_all_broken_masks_of_helen_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "helen"
    for name in ("1_1", "2_1", "3_1", "4_1", "5_1"):
        photo(root / "images" / f"{name}.jpg")
        for value in range(11):
            grey(root / "labels" / name / f"{name}_lbl{value:02}.png", np.where(_eight() == value, 200, 20))
    _litter(root / "images")
    parts = root / "labels"
    (parts / "1_1" / "1_1_lbl00.png").write_bytes(b"no picture")
    grey(parts / "2_1" / "2_1_lbl03.png", np.zeros((4, 4)))
    (parts / "3_1" / "3_1_lbl10.png").unlink()
    (parts / "4_1" / "4_1_lbl00.png").write_bytes((parts / "5_1" / "5_1_lbl00.png").read_bytes()[:60])
    text = _refusal("helen", root)
    assert text.startswith("4 of 5 are wrong")
    for words in (
        "1_1_lbl00.png is not a readable image",
        "2_1: the PNGs of labels/2_1/ differ in size",
        "3_1: there is no labels/3_1.png, and in labels/3_1/ no 3_1_lbl10.png",
        "4_1_lbl00.png is not a readable image",
    ):
        assert words in text


# CelebAMask-HQ


def test_all_broken_files_of_celebamask_hq_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "CelebAMask-HQ"
    for number in range(4):
        photo(root / "CelebA-HQ-img" / f"{number}.jpg")
        grey(root / "CelebAMask-HQ-mask-anno" / "0" / f"{number:05}_skin.png", box(5, 5, 45, 38) * 255)
    _litter(root / "CelebA-HQ-img")
    (root / "CelebAMask-HQ-mask-anno" / "0" / "00000_skin.png").write_bytes(b"no picture")
    (root / "CelebAMask-HQ-mask-anno" / "0" / "00001_skin.png").unlink()
    (root / "CelebA-HQ-img" / "2.jpg").write_bytes(b"no picture")
    text = _refusal("celebamask-hq", root)
    assert text.startswith("3 of 4 are wrong")
    for words in (
        "0: 00000_skin.png is not a readable image\n",
        "1: no 0/00001_*.png",
        "2.jpg is not a readable image",
    ):
        assert words in text


def test_a_mapping_with_blank_lines_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    root = tmp_path / "CelebAMask-HQ"
    photo(root / "CelebA-HQ-img" / "0.jpg")
    grey(root / "CelebAMask-HQ-mask-anno" / "0" / "00000_skin.png", box(5, 5, 45, 38) * 255)
    mapping = root / "CelebA-HQ-to-CelebA-mapping.txt"
    mapping.write_text("idx orig_idx orig_file\r\n0 170000 170001.jpg\r\n\r\n")
    Import("celebamask-hq", root, tmp_path / "out")()
    assert FaceFolder.open(tmp_path / "out", "val").names == ("00000",)
    mapping.write_text("idx orig_idx orig_file\n0\n")
    with pytest.raises(DataError, match="has the line '0'"):
        Import("celebamask-hq", root, tmp_path / "no")()


# Files of labelling tools

_SKIN = {"label": "skin", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon", "group_id": None, "flags": {}}


def test_all_broken_files_of_labelme_are_listed_with_all_else(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("a", "b", "c", "d", "e", "f"):
        write_labelme(root / f"{name}.json", [_SKIN, _SKIN])
        photo(root / f"{name}.jpg")
    (root / "a.json").write_text("{")
    (root / "b.json").write_text('{"shapes": []}')
    (root / "c.json").write_bytes(b"")
    write_labelme(root / "d.json", [{**_SKIN, "label": "skni"}, _SKIN])
    write_labelme(root / "e.json", [{**_SKIN, "shape_type": "line"}, {**_SKIN, "points": [[1, 1]]}])
    (root / "f.jpg").unlink()
    _litter(root)
    (root / "._a.json").write_bytes(b"\x00\x05\x16\x07")
    text = _refusal("labelme", root)
    assert text.startswith("6 things are wrong")
    for words in (
        "a.json: the file: Invalid JSON",
        "b.json: imagePath: Field required",
        "c.json: the file: Invalid JSON",
        "'skni' is no class",
        "e.json: shape 0 (skin): a line covers no pixels: draw a polygon; shape 1 (skin): a polygon of 1 points",
        "f.json: f.jpg is not in",
    ):
        assert words in text


def test_all_that_is_wrong_in_coco_is_listed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    square = [[5, 5, 45, 5, 45, 38, 5, 38]]
    file = write_coco(root, [{"segmentation": square}, {"segmentation": []}, {"segmentation": [[1, 2]]}])
    content = json.loads(file.read_text())
    stray = {"category_id": 1, "segmentation": square}
    content["annotations"] += [{**stray, "id": 50, "image_id": 51}, {**stray, "id": 60, "image_id": 61}]
    content["images"].append({**content["images"][0], "id": 8})
    content["categories"].append({"id": 1, "name": "hair"})
    file.write_text(json.dumps(content))
    (root / "other.json").write_text("[]")
    text = _refusal("coco", root)
    for words in (
        "annotation 50 is of an image that is not there: 51",
        "annotation 60 is of an image that is not there: 61",
        "there are 2 images called a.jpg",
        "there are 2 categories of the id 1",
        "other.json: the file: Input should be",
    ):
        assert words in text
    content["images"].pop()
    file.write_text(json.dumps(content))
    text = _refusal("coco", root)
    assert (
        "annotation 1 (hair): it is a box without a segmentation; annotation 2 (hair): a polygon of 1 corners" in text
    )


def test_all_that_is_wrong_in_cvat_is_listed(tmp_path: Path) -> None:
    image = f'<image id="0" name="NAME" width="{W}" height="{H}">SHAPES</image>'
    line = '<polyline label="skin" points="1,1;2,2"></polyline>'
    broken = '<polygon label="skin" points="1,1;2"></polygon>'
    broken += '<mask label="skin" rle="1, 2" left="0" top="0" width="2"></mask>'
    content = "<annotations><version>1.1</version>"
    for name, shapes in (("a.jpg", line + broken), ("b.jpg", ""), ("c.jpg", ""), ("c.jpg", "")):
        content += image.replace("NAME", name).replace("SHAPES", shapes)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "annotations.xml").write_text(content + "</annotations>")
    photo(tmp_path / "in" / "images" / "a.jpg")
    text = _refusal("cvat", tmp_path / "in")
    for words in (
        "several pictures called c.jpg",
        "a.jpg: a polyline (skin): it cannot be read: draw a polygon or a mask; a polygon (skin): a polygon of 1.5",
        "a mask (skin): a number is missing or broken: 'height'",
        "b.jpg: b.jpg is not in",
    ):
        assert words in text


def test_json_that_windows_editors_saved_is_read(tmp_path: Path) -> None:
    write_labelme(tmp_path / "in" / "a.json", [_SKIN])
    file = tmp_path / "in" / "a.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    photo(tmp_path / "in" / "a.jpg")
    Import("labelme", tmp_path / "in", tmp_path / "out", val_share=0)()


# Nothing to learn


def _no_shapes(root: Path) -> Path:
    for name in ("a", "b"):
        write_labelme(root / f"{name}.json", [])
        photo(root / f"{name}.jpg")
    return root


def _no_labels(root: Path) -> Path:
    photo(root / "images" / "a.jpg")
    image = f'<image id="0" name="a.jpg" width="{W}" height="{H}"></image>'
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    return root


@pytest.mark.parametrize(("kind", "make"), [("labelme", _no_shapes), ("cvat", _no_labels)])
def test_a_source_without_any_label_is_refused(tmp_path: Path, kind: str, make: Callable[[Path], Path]) -> None:
    text = _refusal(kind, make(tmp_path / "in"))
    assert text.startswith("nothing is labelled in any of the")


def test_pictures_without_shapes_beside_others_are_counted(tmp_path: Path) -> None:
    root = _no_shapes(tmp_path / "in")
    write_labelme(root / "c.json", [_SKIN])
    photo(root / "c.jpg")
    written = Import("labelme", root, tmp_path / "out")()
    assert written.notes == {"without any shape": 2}


# EXIF


@pytest.mark.parametrize(
    ("orientation", "upright"),
    # Of a picture that is mirrored or upside down, the size does not tell what was shown: it is taken as turned.
    [*((orientation, True) for orientation in range(1, 9)), *((orientation, False) for orientation in range(5, 9))],
)
def test_labels_lie_on_the_turned_picture_whichever_the_tool_showed(
    tmp_path: Path, orientation: int, upright: bool
) -> None:
    turned = np.zeros((H, W, 3), np.uint8)
    turned[4:12, 6:20] = 250
    lying = _stored(turned, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in").mkdir()
    Image.fromarray(lying).save(tmp_path / "in" / "a.jpg", exif=exif, quality=100, subsampling=0)
    shown = turned if upright else lying
    rows, columns = np.nonzero(shown[..., 0] > 200)
    corners = [[int(columns.min()), int(rows.min())], [int(columns.max()) + 1, int(rows.max()) + 1]]
    drawn = [{**_SKIN, "shape_type": "rectangle", "points": corners}]
    size = {"imageHeight": shown.shape[0], "imageWidth": shown.shape[1]}
    write_labelme(tmp_path / "in" / "a.json", drawn, **size)
    Import("labelme", tmp_path / "in", tmp_path / "out", val_share=0)()
    sample = FaceFolder.open(tmp_path / "out", "train")[0]
    assert sample.labels.shape == (H, W)
    assert np.array_equal(sample.labels == 1, sample.image[..., 0] > 128)
    assert np.array_equal(sample.labels == 1, turned[..., 0] > 128)


def _stored(turned: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels that a viewer turns to ``turned`` by EXIF."""
    stored = {
        1: turned,
        2: turned[:, ::-1],
        3: turned[::-1, ::-1],
        4: turned[::-1],
        5: turned.swapaxes(0, 1),
        6: np.rot90(turned, 1),
        7: turned.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(turned, -1),
    }
    return np.ascontiguousarray(stored[orientation])
