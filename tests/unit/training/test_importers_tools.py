"""Files of labelling tools come into the documented layout."""

import base64
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fpan import rle
from fpan_training.data.check import problems
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.data.importers import Import, shapes
from fpan_training.data.label_space import LabelSpace
from fpan_training.taxonomy import TAXONOMY
from PIL import Image

from tests.unit.training.imported import IDS, H, W, box, mask_of, photo, write_coco, write_labelme

# Shapes


def test_a_polygon_covers_the_pixels_whose_centres_it_holds() -> None:
    assert np.array_equal(shapes.polygons([[2, 3, 9, 3, 9, 8, 2, 8]], (H, W)), box(2, 3, 9, 8))
    assert np.array_equal(shapes.rectangle(9, 8, 2, 3, (H, W)), box(2, 3, 9, 8))
    two = shapes.polygons([[0, 0, 3, 0, 3, 3, 0, 3], [5, 5, 7, 5, 7, 7, 5, 7]], (H, W))
    assert np.array_equal(two, box(0, 0, 3, 3) | box(5, 5, 7, 7))


def test_a_ring_that_runs_to_a_hole_and_back_leaves_it_out() -> None:
    ring = [2, 2, 12, 2, 12, 12, 2, 12, 2, 2, 5, 5, 5, 9, 9, 9, 9, 5, 5, 5, 2, 2]
    assert np.array_equal(shapes.polygons([ring], (H, W)), box(2, 2, 12, 12) & ~box(5, 5, 9, 9))


def test_a_polygon_may_reach_over_the_edge_but_not_far_beyond() -> None:
    assert np.array_equal(shapes.polygons([[-5, -5, 4, -5, 4, 4, -5, 4]], (H, W)), box(0, 0, 4, 4))
    for ring in ([1e9, 0, 4, 0, 4, 4], [float("nan"), 0, 4, 0, 4, 4]):
        with pytest.raises(DataError, match="far outside"):
            shapes.polygons([ring], (H, W))
    with pytest.raises(DataError, match="2 corners"):
        shapes.polygons([[0, 0, 4, 4]], (H, W))


def test_run_lengths_of_all_kinds_are_the_same_mask() -> None:
    mask = box(3, 4, 20, 30) & ~box(6, 7, 10, 11)
    assert np.array_equal(shapes.coco_rle(rle.encode(mask), (H, W)), mask)
    assert np.array_equal(shapes.coco_rle(rle.mask_counts(mask).tolist(), (H, W)), mask)
    inside = mask[4:30, 3:20]
    by_rows = rle.mask_counts(inside.T).tolist()
    assert np.array_equal(shapes.row_rle(by_rows, (3, 4, 17, 26), (H, W)), mask)


def test_broken_run_lengths_are_refused() -> None:
    for counts in ("!!", [1, 2], [-1, H * W + 1]):
        with pytest.raises(DataError, match="broken run lengths"):
            shapes.coco_rle(counts, (H, W))
    for counts in ([1, 2], [2, -1, 3], []):
        with pytest.raises(DataError, match="broken run lengths"):
            shapes.row_rle(counts, (0, 0, 2, 2), (H, W))
    with pytest.raises(DataError, match="does not lie in"):
        shapes.row_rle([0, 4], (W - 1, 0, 2, 2), (H, W))


# COCO


def test_coco_takes_polygons_and_both_kinds_of_run_lengths(tmp_path: Path) -> None:
    hair, hole = box(0, 0, 20, 9), box(30, 30, 36, 36) & ~box(32, 32, 34, 34)
    file = write_coco(
        tmp_path,
        [
            {"segmentation": [[5, 5, 45, 5, 45, 38, 5, 38], [0, 39, 2, 39, 2, 40, 0, 40]]},
            {"category_id": 2, "segmentation": {"size": [H, W], "counts": rle.encode(hair)}},
            {"category_id": 2, "segmentation": {"size": [H, W], "counts": rle.mask_counts(hole).tolist()}},
        ],
    )
    Import("coco", file, tmp_path / "out", val_share=0)()
    expected = np.zeros((H, W), np.uint8)
    expected[box(5, 5, 45, 38) | box(0, 39, 2, 40)] = IDS["skin"]
    expected[hair | hole] = IDS["hair"]
    assert np.array_equal(mask_of(tmp_path / "out", "a"), expected)
    # What no category names is the rest; nothing is said about it.
    assert (0, (0, *range(2, 13), *range(14, 20))) in LabelSpace.of_folder(tmp_path / "out").declared


def test_uncovered_pixels_can_be_unknown(tmp_path: Path) -> None:
    file = write_coco(tmp_path, [{"segmentation": [[5, 5, 45, 5, 45, 38, 5, 38]]}])
    Import("coco", file, tmp_path / "out", uncovered="ignore", val_share=0)()
    assert np.unique(mask_of(tmp_path / "out", "a")).tolist() == [IDS["skin"], 255]
    assert [value for value, _ in LabelSpace.of_folder(tmp_path / "out").declared] == [1, 13]


def test_categories_get_a_meaning_of_one_class_of_several_or_of_none(tmp_path: Path) -> None:
    square = [[0, 0, 9, 0, 9, 9, 0, 9]]
    moved = [[v + 10 * i for v in square[0]] for i in range(3)]
    names = ("Left Eye", "face", "sky")
    file = write_coco(tmp_path, [{"category_id": i + 1, "segmentation": [moved[i]]} for i in range(3)], names)
    with pytest.raises(DataError, match=r"'face' is no class; 'sky' is no class.*--classes"):
        Import("coco", file, tmp_path / "no")()
    (tmp_path / "classes.json").write_text('{"face": ["skin", "nose", "brows"], "sky": "ignore"}')
    Import("coco", file, tmp_path / "out", classes=tmp_path / "classes.json", val_share=0)()
    labels, space = mask_of(tmp_path / "out", "a"), LabelSpace.of_folder(tmp_path / "out")
    assert labels[5, 5] == IDS["l_eye"]
    assert space.groups[space.encode(labels, "a")[15, 15]] == (1, 2, 6, 7)
    assert space.encode(labels, "a")[25, 25] == 255
    (tmp_path / "classes.json").write_text('{"face": ["skni"], "sky": "ignore"}')
    with pytest.raises(DataError, match="skni"):
        Import("coco", file, tmp_path / "no", classes=tmp_path / "classes.json")()


def test_files_of_a_folder_are_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        file = write_coco(tmp_path / split, [{"segmentation": [[5, 5, 45, 5, 45, 38, 5, 38]]}])
        content = json.loads(file.read_text())
        content["images"][0]["file_name"] = f"{split}/a.jpg"
        (tmp_path / "set" / "annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        photo(tmp_path / "set" / split / "a.jpg")
    Import("coco", tmp_path / "set", tmp_path / "out")()
    assert FaceFolder.open(tmp_path / "out", "val").names == ("val_a",)
    assert problems(tmp_path / "out") == []


# LabelMe


def test_labelme_paints_shapes_of_all_kinds_in_their_order(tmp_path: Path) -> None:
    patch = BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).save(patch, "PNG")
    drawn = [
        {"label": "skin", "shape_type": "polygon", "points": [[2, 2], [40, 2], [40, 30], [2, 30]]},
        {"label": "nose", "shape_type": "rectangle", "points": [[20, 20], [10, 10]]},
        {"label": "l_eye", "shape_type": "circle", "points": [[30, 15], [34, 15]]},
        {
            **{"label": "hat", "shape_type": "mask", "points": [[4, 6], [5, 7]]},
            "mask": base64.b64encode(patch.getvalue()).decode(),
        },
    ]
    write_labelme(tmp_path / "in" / "sub" / "a.json", drawn)
    photo(tmp_path / "in" / "sub" / "a.jpg")
    content = base64.b64encode(photo(tmp_path / "elsewhere.png").read_bytes()).decode()
    write_labelme(tmp_path / "in" / "b.json", drawn[:1], imageData=content, classes=[c.name for c in TAXONOMY.classes])
    Import("labelme", tmp_path / "in", tmp_path / "out", val_share=0)()
    labels = mask_of(tmp_path / "out", "sub_a")
    assert (labels == IDS["nose"]).sum() == 100
    assert (labels == IDS["l_eye"]).sum() == pytest.approx(np.pi * 16, rel=0.1)
    assert np.argwhere(labels == IDS["hat"]).tolist() == [[6, 5], [7, 4], [7, 5]]
    assert LabelSpace.of_folder(tmp_path / "out") == LabelSpace.full()
    assert problems(tmp_path / "out") == []


# CVAT


_CVAT = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>skin</name></label><label><name>hair</name></label></labels></task></meta>
<image id="0" name="deep/a.jpg" subset="Train" width="{W}" height="{H}">
  <mask label="hair" source="manual" rle="0, 4, 2, 6" left="3" top="2" width="4" height="3" z_order="2"></mask>
  <polygon label="skin" points="0.0,0.0;20.0,0.0;20.0,10.0;0.0,10.0" z_order="0"></polygon>
  <box label="hair" xtl="30" ytl="30" xbr="40" ybr="40" z_order="0"></box>
  <tag label="skin"></tag>
</image>
</annotations>"""


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def test_cvat_for_images_paints_layers_from_below(tmp_path: Path) -> None:
    jpeg = photo(tmp_path / "a.jpg").read_bytes()
    source = _zip(tmp_path / "task.zip", {"annotations.xml": _CVAT.encode(), "images/deep/a.jpg": jpeg})
    with zipfile.ZipFile(source) as file:
        file.extractall(tmp_path / "unpacked")
    expected = np.zeros((H, W), np.uint8)
    expected[box(0, 0, 20, 10)] = IDS["skin"]
    expected[box(30, 30, 40, 40)] = IDS["hair"]
    # Row by row: four in, two out, six in.
    expected[2:5, 3:7].flat[[0, 1, 2, 3, 6, 7, 8, 9, 10, 11]] = IDS["hair"]
    for number, each in enumerate((source, tmp_path / "unpacked", tmp_path / "unpacked" / "annotations.xml")):
        out = tmp_path / f"out{number}"
        Import("cvat", each, out)()
        assert np.array_equal(mask_of(out, "deep_a"), expected)
        assert (out / "images" / "deep_a.jpg").read_bytes() == jpeg
        assert FaceFolder.open(out, "train").names == ("deep_a",)


def test_cvat_segmentation_masks_are_read_by_their_colours(tmp_path: Path) -> None:
    rgb = np.zeros((H, W, 3), np.uint8)
    rgb[5:30, 5:30], rgb[:5] = (250, 50, 83), (10, 20, 30)
    file = BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    files = {
        "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nskin:250,50,83::\nhair:10,20,30::\n",
        "SegmentationClass/a.png": file.getvalue(),
        "SegmentationObject/a.png": file.getvalue(),
        "ImageSets/Segmentation/Val.txt": b"a\n",
        "JPEGImages/a.jpg": photo(tmp_path / "a.jpg").read_bytes(),
    }
    out = tmp_path / "out"
    Import("cvat-mask", _zip(tmp_path / "masks.zip", files), out)()
    expected = np.zeros((H, W), np.uint8)
    expected[5:30, 5:30], expected[:5] = IDS["skin"], IDS["hair"]
    assert np.array_equal(mask_of(out, "a"), expected)
    assert FaceFolder.open(out, "val").names == ("a",)
    files["labelmap.txt"] = b"skin:250,50,83::\n"
    with pytest.raises(DataError, match=r"#0a141e is not in labelmap\.txt"):
        Import("cvat-mask", _zip(tmp_path / "masks.zip", files), tmp_path / "no")()


def test_xml_that_would_blow_up_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>'
    (tmp_path / "a.xml").write_text(bomb)
    with pytest.raises(DataError, match="XML is broken"):
        Import("cvat", tmp_path / "a.xml", tmp_path / "out")()


# Whatever is wrong


def _wrong_coco(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Import]:
    def make(root: Path) -> Import:
        file = write_coco(root, [{"segmentation": [[5, 5, 45, 5, 45, 38, 5, 38]]}])
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return Import("coco", file, root / "out")

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_wrong_coco(lambda c: c.pop("images")), "images: Field required"),
        (_wrong_coco(lambda c: c["annotations"][0].update(image_id=1)), "image that is not there"),
        (_wrong_coco(lambda c: c["annotations"][0].update(category_id=9)), "category 9: there is none"),
        (_wrong_coco(lambda c: c["annotations"][0].update(segmentation=[])), "a box without a segmentation"),
        (_wrong_coco(lambda c: c["annotations"][0].update(segmentation=[[1, 2]])), "1 corners"),
        (
            _wrong_coco(lambda c: c["annotations"][0].update(segmentation={"size": [1, 2], "counts": [2]})),
            r"are of \(1, 2\)",
        ),
        (_wrong_coco(lambda c: c["images"][0].update(file_name="b.jpg")), "b.jpg is not in .*--images"),
        (_wrong_coco(lambda c: c["images"][0].update(width=20)), "differ in size: 50 x 40 and 20 x 40"),
    ],
)
def test_wrong_coco_files_are_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Import], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        make(tmp_path)()


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        ({"label": "skin", "shape_type": "line", "points": [[1, 1], [2, 2], [3, 3]]}, "covers no pixels"),
        ({"label": "skin", "points": [[1, 1]]}, "polygon of 1 points"),
        ({"label": "skin", "shape_type": "mask", "mask": "?", "points": [[1, 1], [2, 2]]}, "mask is broken"),
    ],
)
def test_wrong_labelme_shapes_are_refused_with_the_reason(tmp_path: Path, drawn: dict[str, Any], says: str) -> None:
    write_labelme(tmp_path / "in" / "a.json", [drawn])
    photo(tmp_path / "in" / "a.jpg")
    with pytest.raises(DataError, match=rf"shape 0 \(skin\).*{says}"):
        Import("labelme", tmp_path / "in", tmp_path / "out")()
