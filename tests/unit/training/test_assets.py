"""Files that augmentation draws from: what they show, and which split may see them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data import people
from fpan_training.data.assets import HELDOUT_FAMILY, Assets
from fpan_training.data.cutout import role_of
from fpan_training.data.folder import DataError
from fpan_training.data.people import people_free, shows_people
from fpan_training.modules.dom.train import generator
from fpan_training.modules.lom.occluders import open_occluder
from fpan_training.occlusion.generator import OcclusionConfig
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def occluders(tmp_path: Path) -> Path:
    """Three families of cut-outs and four textures of masks."""
    rgba = np.full((6, 5, 4), 255, np.uint8)
    rgba[0, 0, 3] = 0
    for family, names in (
        ("hands", [f"Hand_{i:03}" for i in range(20)]),
        ("objects", [f"1f34{i}" for i in range(8)]),
        (HELDOUT_FAMILY, ["occ_sunglass", "occ_cap", "occ_mask", "doggy_nose"]),
    ):
        (tmp_path / family).mkdir()
        for name in names:
            Image.fromarray(rgba).save(tmp_path / family / f"{name}.webp", lossless=True)
    for colour in ("black", "blue", "green", "white"):
        Image.new("RGB", (8, 4), colour).save(tmp_path / f"mask_{colour}.jpg")
    return tmp_path


def _sources(assets: Assets) -> set[str]:
    return {cutout.source for cutout in (*assets.occluders, *assets.mask_textures)}


def test_splits_share_no_file(occluders: Path) -> None:
    train, val, heldout = (_sources(Assets.open(None, occluders, split)) for split in ("train", "val", "heldout"))
    assert not train & val
    assert not (train | val) & heldout
    assert len(train | val) == 20 + 8 + 4
    assert len(val) == 2 + 1 + 1


def test_the_held_out_family_is_seen_in_no_other_split_and_alone_in_its_own(occluders: Path) -> None:
    for split in ("train", "val"):
        assert not any(source.startswith(HELDOUT_FAMILY) for source in _sources(Assets.open(None, occluders, split)))
    heldout = Assets.open(None, occluders, "heldout")
    assert all(source.startswith(HELDOUT_FAMILY) for source in _sources(heldout))
    # What is drawn in code has been seen in training.
    assert not heldout.procedural


def test_neighbours_stay_together(occluders: Path) -> None:
    val = sorted(s for s in _sources(Assets.open(None, occluders, "val")) if s.startswith("hands"))
    assert val == ["hands/Hand_018.webp", "hands/Hand_019.webp"]


def test_nothing_held_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out"):
        Assets.open(None, tmp_path, "heldout")


def test_masks_are_textures_and_hats_are_left_out(occluders: Path) -> None:
    heldout = Assets.open(None, occluders, "heldout")
    assert [cutout.role for cutout in heldout.occluders] == ["object", "glasses"]
    assert [cutout.source for cutout in heldout.mask_textures] == [f"{HELDOUT_FAMILY}/occ_mask.webp"]
    assert len(Assets.open(None, occluders, "train").mask_textures) == 3


@pytest.mark.parametrize(
    ("stem", "family", "role"),
    [
        ("Hand_0000002", "hands", "hand"),
        ("1f576-fe0f", "objects", "glasses"),
        ("1f377", "objects", "object"),  # a wine glass
        ("1f50d", "objects", "object"),  # a magnifying glass
        ("1f3a4", "objects", "microphone"),
        ("1f399-fe0f", "objects", "object"),  # a microphone that stands on a table
        ("1f9e2", "objects", None),  # a cap
        ("images_sunglasses_2", HELDOUT_FAMILY, "glasses"),
        ("sprites_hat", HELDOUT_FAMILY, None),
        ("occ_mask", HELDOUT_FAMILY, "mask"),
    ],
)
def test_names_say_what_a_file_shows(stem: str, family: str, role: str | None) -> None:
    assert role_of(Path(f"{stem}.webp"), family) == role


@pytest.fixture
def scenes(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """Two backgrounds, and between them somebody's portrait."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name, level in (("a", 0), ("c", 128)):
        Image.new("RGB", (20, 20), (level,) * 3).save(folder / f"{name}.jpg")
    Image.fromarray(astronaut).save(folder / "b.jpg")
    return folder


def test_backgrounds_never_show_people(scenes: Path, tmp_path: Path) -> None:
    train, val = (Assets.open(scenes, None, split, tmp_path / "cache").backgrounds for split in ("train", "val"))
    assert [scene.shape for scene in (*train, *val)] == [(20, 20, 3)] * 2


@pytest.mark.parametrize(
    "open_assets",
    [
        lambda scenes: open_occluder(scenes, None, "train").assets,
        lambda scenes: generator(OcclusionConfig(), scenes, None, "train").assets,
    ],
    ids=["lom", "dom"],
)
def test_modules_open_no_backgrounds_with_people(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_assets: Callable[[Path], Assets]
) -> None:
    monkeypatch.setenv("FPAN_RUNS", str(tmp_path / "runs"))
    assert len(open_assets(scenes).backgrounds) == 1
    assert len(list((tmp_path / "runs" / "cache").glob("people-*.json"))) == 1


def test_pictures_of_people_are_looked_for_once(
    scenes: Path, tmp_path: Path, astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def look(image: NDArray[np.uint8], detector: cv2.FaceDetectorYN) -> bool:
        looked.append(image.shape[0])
        return shows_people(image, detector)

    monkeypatch.setattr(people, "shows_people", look)
    for _ in range(2):
        assert [path.name for path in people_free(scenes, tmp_path)] == ["a.jpg", "c.jpg"]
    assert looked == [20, 512, 20]
    # A picture that has changed is looked at again, and so are all when the list is broken.
    Image.fromarray(astronaut).save(scenes / "a.jpg")
    assert [path.name for path in people_free(scenes, tmp_path)] == ["c.jpg"]
    assert looked[3:] == [512]
    (memory,) = tmp_path.glob("people-*.json")
    memory.write_text("{")
    assert [path.name for path in people_free(scenes, tmp_path)] == ["c.jpg"]
    assert len(looked) == 7


def test_a_face_far_away_is_seen(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    small = np.full((256, 256, 3), 128, np.uint8)
    small[200:232, 30:62] = np.asarray(Image.fromarray(astronaut).resize((32, 32)))
    for name, image in (("far", small), ("wall", np.full_like(small, 128))):
        Image.fromarray(image).save(tmp_path / f"{name}.jpg", quality=95)
    assert [path.name for path in people_free(tmp_path, tmp_path)] == ["wall.jpg"]


def test_backgrounds_of_people_alone_are_refused(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no backgrounds"):
        people_free(tmp_path, tmp_path)
    Image.fromarray(astronaut).save(tmp_path / "portrait.jpg")
    with pytest.raises(DataError, match="all 1 pictures"):
        people_free(tmp_path, tmp_path)
