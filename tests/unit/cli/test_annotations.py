"""Label maps for labelling tools: outlines, COCO, LabelMe, and back by training's importers."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from fpan import cli, rle
from fpan.cli import _app
from fpan.cli._annotations import Annotations, Coco, labelme
from fpan.outlines import area, regions
from fpan_training.data.folder import read_labels
from fpan_training.data.importers import Import
from fpan_training.data.label_space import LabelSpace
from fpan_training.taxonomy import TAXONOMY
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

NAMES = {c.id: c.name for c in TAXONOMY.classes}
MAPS = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 4, 13])
)


def face() -> np.ndarray:
    """A drawn face: nested and neighbouring parts, a hole of background, an object at the edge."""
    labels = np.zeros((120, 100), np.uint8)
    for name, centre, axes in (
        ("hair", (50, 50), (40, 45)),
        ("skin", (50, 60), (30, 38)),
        ("l_eye", (62, 50), (7, 4)),
        ("r_eye", (38, 50), (7, 4)),
        ("nose", (50, 64), (5, 10)),
        ("u_lip", (50, 81), (12, 4)),
        ("background", (50, 83), (5, 2)),
    ):
        cv2.ellipse(labels, centre, axes, 10, 0, 360, TAXONOMY.id_of(name), -1)
    labels[90:, 70:] = TAXONOMY.id_of("occlusion")
    return labels


def rasterised(rings, size):
    """By pycocotools, all but its ``decode``, whose arrays numpy 2 warns of."""
    return decoded(coco_mask.merge(coco_mask.frPyObjects([list(map(float, r)) for r in rings], *size)))


def decoded(runs):
    return rle.decode(runs["counts"].decode(), tuple(runs["size"]))


# Outlines


@given(MAPS)
@settings(max_examples=150, deadline=None)
def test_exact_outlines_give_every_region_back(labels):
    seen = np.zeros(labels.shape, int)
    for region in regions(labels):
        inside = rasterised([region.in_one().ravel()], labels.shape)
        seen += inside
        assert (labels[inside] == region.label).all()
        assert area(region.outline) + sum(area(hole) for hole in region.holes) == inside.sum()
    assert (seen == 1).all()


@given(MAPS)
@settings(max_examples=50, deadline=None)
def test_painting_outlines_in_their_order_needs_no_holes(labels):
    painted = np.full_like(labels, 99)
    for region in regions(labels):
        painted[rasterised([region.outline.ravel()], labels.shape)] = region.label
    assert np.array_equal(painted, labels)


def test_a_ring_has_a_hole_and_no_more_corners_than_it_needs():
    labels = np.zeros((8, 9), np.uint8)
    labels[1:7, 2:8] = 1
    labels[3:5, 4:6] = 0
    ring = next(region for region in regions(labels) if region.label == 1)
    assert sorted(map(tuple, ring.outline.tolist())) == [(2, 1), (2, 7), (8, 1), (8, 7)]
    assert [area(hole) for hole in ring.holes] == [-4]
    assert not ring.at_edge


def test_pixels_that_touch_at_a_corner_are_two_regions():
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    assert sorted(region.label for region in regions(labels)) == [0, 0, 1, 1]


@pytest.mark.parametrize("tolerance", [0.8, 1.0, 2.5])
def test_simplified_neighbours_share_their_border(tolerance):
    labels = face()
    found = regions(labels, tolerance)
    covered = sum(rasterised([region.in_one().ravel()], labels.shape).astype(int) for region in found)
    # Neither gap nor overlap: every pixel is in one region.
    assert (covered == 1).all()
    exact = sum(len(region.outline) for region in regions(labels))
    assert sum(len(region.outline) for region in found) < 0.7 * exact


@pytest.mark.parametrize("tolerance", [0.8, 1.0, 2.5])
def test_simplified_outlines_stay_within_the_tolerance(tolerance):
    labels = face()
    painted = np.full_like(labels, 99)
    for region in regions(labels, tolerance):
        painted[rasterised([region.outline.ravel()], labels.shape)] = region.label
    border = np.zeros(labels.shape, np.uint8)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    # From the centres of pixels; half a diagonal more to the border itself, and a pixel beside it.
    apart = cv2.distanceTransform(1 - border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert apart[painted != labels].max() <= tolerance + 1.5


def test_specks_keep_their_place_when_simplified():
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 1
    assert any(region.label == 1 for region in regions(labels, 2.0))


# COCO


def test_pycocotools_reads_what_is_written(tmp_path):
    labels = face()
    for tolerance in (None, 0.0):
        coco = Coco(NAMES, tolerance)
        coco.add("b/two.jpg", labels)
        coco.add("a/one.jpg", labels[:, ::-1].copy())
        (tmp_path / "coco.json").write_text(json.dumps(coco.content()))
        read = COCO(str(tmp_path / "coco.json"))
        assert [image["file_name"] for image in read.dataset["images"]] == ["a/one.jpg", "b/two.jpg"]
        assert len(read.cats) == len(TAXONOMY) - 1
        for number, truth in ((1, labels[:, ::-1]), (2, labels)):
            back = np.zeros_like(labels)
            for one in read.loadAnns(read.getAnnIds(number)):
                mask = decoded(coco_mask.merge([read.annToRLE(one)]))
                assert not back[mask].any()
                back[mask] = one["category_id"]
                rows, columns = np.nonzero(mask)
                assert one["area"] == mask.sum()
                assert one["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert np.array_equal(back, truth)


# There and back


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    labels = {"one": face(), "deep/two": face()[::-1].copy(), "none": np.zeros((30, 40), np.uint8)}
    for stem, each in labels.items():
        Image.fromarray(rng.integers(0, 256, (*each.shape, 3), np.uint8)).save(tmp_path / "photos" / f"{stem}.png")
    return tmp_path / "photos", labels


def export(photos, labels, out, formats, tolerance, names=NAMES):
    annotations = Annotations(formats, names, tolerance, 0)
    files = []
    for stem, each in labels.items():
        files += annotations.add(each, photos / f"{stem}.png", PurePath(stem), out)
    for path, data in [*files, *annotations.finish(out)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize(("form", "tolerance"), [("coco", 1.0), ("coco-polygons", 0.0), ("labelme", 0.0)])
def test_label_maps_come_back_to_the_bit(tmp_path, photos, form, tolerance):
    folder, labels = photos
    export(folder, labels, tmp_path / "out", [form], tolerance)
    source = tmp_path / "out" / ("labelme" if form == "labelme" else f"{form}.json")
    images = None if form == "labelme" else folder
    Import("labelme" if form == "labelme" else "coco", source, tmp_path / "faces", images, val_share=0)()
    assert LabelSpace.of_folder(tmp_path / "faces") == LabelSpace.full()
    for stem, truth in labels.items():
        name = stem.replace("/", "_")
        assert np.array_equal(read_labels(tmp_path / "faces" / "masks" / f"{name}.png"), truth)
        original = (folder / f"{stem}.png").read_bytes()
        assert (tmp_path / "faces" / "images" / f"{name}.png").read_bytes() == original


@pytest.mark.parametrize("form", ["coco-polygons", "labelme"])
def test_simplified_label_maps_come_back_but_for_their_borders(tmp_path, photos, form):
    folder, labels = photos
    export(folder, labels, tmp_path / "out", [form], 1.0)
    source = tmp_path / "out" / ("labelme" if form == "labelme" else f"{form}.json")
    Import("labelme" if form == "labelme" else "coco", source, tmp_path / "faces", folder, val_share=0)()
    back = read_labels(tmp_path / "faces" / "masks" / "one.png")
    assert 0 < (back != labels["one"]).mean() < 0.03


def test_what_was_corrected_is_what_is_trained_on(tmp_path, photos):
    folder, labels = photos
    export(folder, {"one": labels["one"]}, tmp_path / "out", ["labelme"], 0.0)
    path = tmp_path / "out" / "labelme" / "one.json"
    file = json.loads(path.read_text())
    next(shape for shape in file["shapes"] if shape["label"] == "l_eye")["label"] = "eye_g"
    path.write_text(json.dumps(file))
    Import("labelme", path.parent, tmp_path / "faces", val_share=0)()
    back = read_labels(tmp_path / "faces" / "masks" / "one.png")
    expected = labels["one"].copy()
    expected[expected == 4] = 3
    assert np.array_equal(back, expected)


def test_of_some_classes_alone_the_rest_comes_back_as_the_rest(tmp_path, photos):
    folder, _ = photos
    hair = {"one": np.where(face() == 13, 13, 0).astype(np.uint8)}
    export(folder, hair, tmp_path / "out", ["coco"], 0.0, {0: "background", 13: "hair"})
    Import("coco", tmp_path / "out" / "coco.json", tmp_path / "faces", folder, val_share=0)()
    assert LabelSpace.of_folder(tmp_path / "faces").declared == LabelSpace.preset("figaro").declared


def test_a_labelme_file_names_its_photo_from_where_it_lies(tmp_path):
    file = labelme(face(), NAMES, tmp_path / "photos" / "a.png", tmp_path / "out" / "labelme" / "a.json", 0.0)
    assert file["imagePath"] == "../../photos/a.png"
    assert (file["imageHeight"], file["imageWidth"]) == (120, 100)
    # Skin encloses the lips, the lips the gap between them.
    drawn = [shape["label"] for shape in file["shapes"]]
    assert drawn.index("skin") < drawn.index("u_lip") < drawn.index("background")


# The command


@pytest.fixture
def fpan(monkeypatch, capsys):
    """Runs the command against a client that sees the same face in every photo; gives status and messages."""

    def go(*arguments):
        asked = []
        client = SimpleNamespace(
            parse=lambda photo, **options: SimpleNamespace(labels=face(), faces=[1], raw={}, pictures={}, npz=None),
            labels=lambda model: asked.append(model) or TAXONOMY,
        )

        @contextmanager
        def server(*_):
            yield client

        monkeypatch.setattr(_app, "server", server)
        monkeypatch.setattr(sys, "argv", ["fpan", "parse", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err, asked

    return go


def test_the_command_writes_what_labelling_tools_read(fpan, photos, tmp_path):
    folder, _ = photos
    out = tmp_path / "out"
    code, err, asked = fpan(folder, "--out", out, "--output", "coco,labelme,json", "--model", "segm:1")
    assert code == 0, err
    assert asked == ["segm:1"]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.json"))
    assert files == [
        *("coco.json", "deep/two.json"),
        *("labelme/deep/two.json", "labelme/none.json", "labelme/one.json", "none.json", "one.json"),
    ]
    names = [image["file_name"] for image in json.loads((out / "coco.json").read_text())["images"]]
    assert names == ["deep/two.png", "none.png", "one.png"]


def test_classes_that_were_not_asked_for_are_no_categories(fpan, photos, tmp_path):
    folder, _ = photos
    fpan(folder / "one.png", "--out", tmp_path, "--output", "coco", "--classes", "hair", "--groups", "eyes")
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["l_eye", "r_eye", "hair"]


def test_a_file_that_cannot_be_written_is_told(fpan, photos, tmp_path):
    folder, _ = photos
    (tmp_path / "out" / "coco.json").mkdir(parents=True)
    code, err, _ = fpan(folder / "one.png", "--out", tmp_path / "out", "--output", "coco")
    assert code == 1
    assert "coco.json" in err


def test_without_them_the_server_is_not_asked_for_its_classes(fpan, photos, tmp_path):
    folder, _ = photos
    assert fpan(folder / "one.png", "--out", tmp_path / "out", "--output", "json")[2] == []


@pytest.mark.parametrize("flags", [("--output", "coco,yolo"), ("--tolerance", "-1")])
def test_wrong_usage_is_told(fpan, photos, tmp_path, flags):
    folder, _ = photos
    assert fpan(folder, "--out", tmp_path / "out", *flags)[0] == 2


def test_every_photo_has_a_place_of_its_own(tmp_path: Path):
    coco = Coco(NAMES, None)
    coco.add("x.jpg", face())
    coco.add("y.jpg", np.zeros((4, 5), np.uint8))
    content = coco.content()
    assert [(i["width"], i["height"]) for i in content["images"]] == [(100, 120), (5, 4)]
    assert {a["image_id"] for a in content["annotations"]} == {1}
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
