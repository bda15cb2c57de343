"""Exports as the tools write them: subsets, their folders and their names."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.check import problems
from fpan_training.data.folder import DataError, FaceFolder, read_splits
from fpan_training.data.importers import Import
from fpan_training.data.importers.source import split_name
from PIL import Image

from tests.unit.training.imported import IDS, H, W, box, mask_of, photo

# Splits


@pytest.mark.parametrize(
    ("said", "means"),
    [
        *((word, "train") for word in ("Train", "TRAIN", "train2017", "training", "faces_train", "train-1")),
        *((word, "val") for word in ("val", "Val", "Validation", "valid", "val2017", "faces.val")),
        *((word, "test") for word in ("Test", "testing", "test-dev2017")),
        *((word, None) for word in (None, "", "default", "Default")),
        ("Holdout", "holdout"),
        ("interval", "interval"),
    ],
)
def test_every_word_for_a_split_is_the_split(said: str | None, means: str | None) -> None:
    assert split_name(said) == means


# CVAT for images


def _cvat(root: Path, pictures: list[tuple[str, str | None]], frames: str = "") -> Path:
    """What "CVAT for images 1.1" of a project (names with subsets) or of a task (without) unpacks to."""
    images = ""
    for number, (name, subset) in enumerate(pictures):
        photo(root / "images" / (subset or "") / f"{name}{frames}", (W, H + number))
        where = f'subset="{subset}" task_id="{number}" ' if subset else ""
        images += f"""
  <image id="{number}" name="{name}" {where}width="{W}" height="{H + number}">
    <polygon label="skin" source="manual" occluded="0" points="1.00,1.00;9.00,1.00;9.00,9.00" z_order="0">
    </polygon>
  </image>"""
    (root / "annotations.xml").write_text(
        f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><project><labels><label><name>skin</name><color>#fa3253</color></label></labels></project></meta>{images}
</annotations>
"""
    )
    return root


def _zipped(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(root.rglob("*")):
            file.write(one, one.relative_to(root))
    return path


def _both(root: Path) -> dict[str, Path]:
    return {"zipped": _zipped(root), "unpacked": root, "xml": root / "annotations.xml"}


def test_subsets_of_a_cvat_project_are_splits_zipped_and_unpacked(tmp_path: Path) -> None:
    root = _cvat(
        tmp_path / "project", [("a.jpg", "Train"), ("deep/b.jpg", "Train"), ("c.jpg", "Validation"), ("d.jpg", "Test")]
    )
    for form, source in _both(root).items():
        out = tmp_path / f"out-{form}"
        Import("cvat", source, out)()
        assert read_splits(out) == {"test": ["d"], "train": ["a", "deep_b"], "val": ["c"]}
        assert problems(out) == []
        assert (out / "images" / "c.jpg").read_bytes() == (root / "images" / "Validation" / "c.jpg").read_bytes()


def test_pictures_of_one_name_in_two_subsets_stay_apart(tmp_path: Path) -> None:
    root = _cvat(tmp_path / "project", [("a.jpg", "Train"), ("a.jpg", "Validation"), ("b.jpg", "Train")])
    for form, source in _both(root).items():
        out = tmp_path / f"out-{form}"
        Import("cvat", source, out)()
        assert read_splits(out) == {"train": ["Train_a", "b"], "val": ["Validation_a"]}
        for subset in ("Train", "Validation"):
            original = (root / "images" / subset / "a.jpg").read_bytes()
            assert (out / "images" / f"{subset}_a.jpg").read_bytes() == original


def test_one_picture_does_not_pass_for_two_of_its_name(tmp_path: Path) -> None:
    root = _cvat(tmp_path / "project", [("a.jpg", "Train"), ("a.jpg", "Validation")])
    (root / "images" / "Train" / "a.jpg").rename(root / "images" / "a.jpg")
    with pytest.raises(DataError, match=r"^1 of 2 (.|\n)*Train/a\.jpg: a\.jpg is not in a folder Train of"):
        Import("cvat", root, tmp_path / "out")()


def test_a_cvat_task_without_subset_is_split_by_the_hash(tmp_path: Path) -> None:
    for subset in (None, "default"):
        root = _cvat(tmp_path / f"task-{subset}", [(f"{i:02}.jpg", subset) for i in range(40)])
        Import("cvat", root, tmp_path / f"out-{subset}", val_share=0.3)()
        splits = read_splits(tmp_path / f"out-{subset}") or {}
        assert sorted(splits) == ["train", "val"]
        assert 2 < len(splits["val"]) < 22


def test_frames_of_a_video_are_found_without_their_ending(tmp_path: Path) -> None:
    root = _cvat(tmp_path / "video", [("frame_000000", None), ("frame_000001", None)], frames=".PNG")
    for form, source in _both(root).items():
        Import("cvat", source, tmp_path / form, val_share=0)()
        assert FaceFolder.open(tmp_path / form, "train").names == ("frame_000000", "frame_000001")


# CVAT's Segmentation mask


def _voc(root: Path, lists: dict[str, str], pictures: tuple[str, ...], encoding: str = "utf-8") -> Path:
    """What "Segmentation mask 1.1" unpacks to."""
    mask = np.zeros((H, W, 3), np.uint8)
    mask[box(1, 1, 9, 9)] = (250, 50, 83)
    for name in pictures:
        photo(root / "JPEGImages" / name)
        for folder in ("SegmentationClass", "SegmentationObject"):
            path = root / folder / f"{name.rpartition('.')[0]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for subset, text in lists.items():
        (root / "ImageSets" / "Segmentation" / f"{subset}.txt").write_bytes(text.encode(encoding))
    (root / "labelmap.txt").write_bytes(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nskin:250,50,83::\n".encode(encoding)
    )
    return root


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_of_any_system_are_splits(tmp_path: Path, newline: str, encoding: str) -> None:
    names = [f"p {i:02}" for i in range(20)]
    lists = {"Train": newline.join(names[:18]) + newline, "Validation": newline.join(names[18:]) + newline}
    root = _voc(tmp_path / "masks", lists, tuple(f"{name}.jpg" for name in names), encoding)
    for form, source in (("zipped", _zipped(root)), ("unpacked", root)):
        Import("cvat-mask", source, tmp_path / form, val_share=0.9)()
        assert read_splits(tmp_path / form) == {"train": names[:18], "val": names[18:]}


def test_pictures_with_any_ending_go_with_their_masks(tmp_path: Path) -> None:
    pictures = ("a.JPG", "b.jpeg", "c.0001.png", "c.0002.png")
    root = _voc(tmp_path / "masks", {"default": "a\nb\nc.0001\nc.0002\n"}, pictures)
    for form, source in (("zipped", _zipped(root)), ("unpacked", root)):
        Import("cvat-mask", source, tmp_path / form, val_share=0)()
        assert read_splits(tmp_path / form) == {"train": ["a", "b", "c.0001", "c.0002"]}
        assert problems(tmp_path / form) == []


def test_a_mask_does_not_pass_for_its_picture(tmp_path: Path) -> None:
    root = _voc(tmp_path / "masks", {"Train": "a\n"}, ("a.png",))
    (root / "JPEGImages" / "a.png").unlink()
    for source in (_zipped(root), root):
        with pytest.raises(DataError, match=r"a is not in .*--images"):
            Import("cvat-mask", source, tmp_path / "out")()


def test_a_picture_in_two_lists_is_refused(tmp_path: Path) -> None:
    root = _voc(tmp_path / "masks", {"Train": "a\n", "Validation": "a\n"}, ("a.png",))
    with pytest.raises(DataError, match="a is in several lists"):
        Import("cvat-mask", root, tmp_path / "out")()


# COCO


def _coco(path: Path, pictures: list[str], folder: Path) -> None:
    """A file as CVAT's "COCO 1.0" and COCO itself have it: names without the folder of the subset."""
    for number, name in enumerate(pictures):
        photo(folder / name, (W, H + number))
    content = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [{"id": 1, "name": "skin", "supercategory": ""}],
        "images": [
            {"id": i, "width": W, "height": H + i - 1, "file_name": name, "license": 0, "date_captured": 0}
            for i, name in enumerate(pictures, 1)
        ],
        "annotations": [
            {
                **{"id": i, "image_id": i, "category_id": 1, "area": 32.0, "bbox": [1, 1, 8, 8], "iscrowd": 0},
                "segmentation": [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]],
                "attributes": {"occluded": False},
            }
            for i in range(1, len(pictures) + 1)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_cvat_task_as_coco_is_found_from_its_root_and_from_its_file(tmp_path: Path) -> None:
    root, names = tmp_path / "task", [f"{i:02}.jpg" for i in range(20)]
    _coco(root / "annotations" / "instances_default.json", names, root / "images" / "default")
    for number, source in enumerate((root, root / "annotations", root / "annotations" / "instances_default.json")):
        out = tmp_path / f"out{number}"
        Import("coco", source, out, val_share=0.3)()
        splits = read_splits(out) or {}
        assert sorted(splits) == ["train", "val"]
        assert len(splits["train"]) + len(splits["val"]) == 20


@pytest.mark.parametrize(
    ("subsets", "folder"), [(("Train", "Validation"), "images"), (("train2017", "val2017"), "")], ids=["cvat", "coco"]
)
def test_subsets_as_coco_are_splits_and_have_their_own_pictures(
    tmp_path: Path, subsets: tuple[str, str], folder: str
) -> None:
    root = tmp_path / "project"
    for number, subset in enumerate(subsets):
        names = ["0.jpg", "1.jpg"] if number == 0 else ["v.jpg", "0.jpg"]
        _coco(root / "annotations" / f"instances_{subset}.json", names, root / folder / subset)
        # Published beside the instances: of the same pictures, without shapes of classes.
        (root / "annotations" / f"captions_{subset}.json").write_text('{"images": [], "annotations": []}')
    out = tmp_path / "out"
    Import("coco", root, out)()
    assert read_splits(out) == {"train": ["1", f"{subsets[0]}_0"], "val": sorted(["v", f"{subsets[1]}_0"])}
    assert problems(out) == []
    for subset in subsets:
        original = (root / folder / subset / "0.jpg").read_bytes()
        assert (out / "images" / f"{subset}_0.jpg").read_bytes() == original


def test_a_file_of_any_name_in_a_folder_is_no_split(tmp_path: Path) -> None:
    _coco(tmp_path / "in" / "coco.json", [f"{i:02}.jpg" for i in range(20)], tmp_path / "in")
    Import("coco", tmp_path / "in", tmp_path / "out", val_share=0.3)()
    assert sorted(read_splits(tmp_path / "out") or {}) == ["train", "val"]


def test_pictures_in_one_more_folder_are_found_if_there_is_one_of_the_name(tmp_path: Path) -> None:
    root = tmp_path / "in"
    _coco(root / "faces.json", ["a.jpg"], root / "monday")
    for other in ("masks", "__MACOSX", ".hidden"):
        photo(root / other / "a.jpg")
    Import("coco", root / "faces.json", tmp_path / "out", val_share=0)()
    assert (mask_of(tmp_path / "out", "a") == IDS["skin"]).any()
    photo(root / "tuesday" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg may be any of monday/a\.jpg, tuesday/a\.jpg in .*--images"):
        Import("coco", root / "faces.json", tmp_path / "no")()
    Import("coco", root / "faces.json", tmp_path / "named", images=root / "tuesday", val_share=0)()


def test_pictures_of_a_neighbouring_data_set_are_not_taken(tmp_path: Path) -> None:
    _coco(tmp_path / "mine" / "faces.json", ["a.jpg"], tmp_path / "theirs")
    with pytest.raises(DataError, match=r"a\.jpg is not in"):
        Import("coco", tmp_path / "mine" / "faces.json", tmp_path / "out")()


def test_a_zip_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="no readable zip"):
        Import("cvat", tmp_path / "a.zip", tmp_path / "out")()
