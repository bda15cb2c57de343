"""Files that augmentation draws from: what they show, and which split may see them."""

import json
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.assets import HELDOUT_FAMILY, Assets
from fpan_training.data.cutout import role_of
from fpan_training.data.folder import DataError
from fpan_training.data.people import people_free, yunet
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


def test_only_backgrounds_on_the_list_are_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.jpg")
    assert len(Assets.open(tmp_path, None).backgrounds) == 2
    assert len(Assets.open(tmp_path, None, "val").backgrounds) == 1
    assert len(Assets.open(tmp_path, None, people_free={"b.jpg"}).backgrounds) == 1


def test_pictures_of_people_are_found_once_and_remembered(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    folder, cache = tmp_path / "scenes", tmp_path / "run" / "people_free.json"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "portrait.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(folder / "scene.jpg")
    assert people_free(folder, yunet(), cache) == {"scene.jpg"}
    assert json.loads(cache.read_text()) == {"portrait.jpg": False, "scene.jpg": True}
    # What the list says counts from then on.
    cache.write_text(json.dumps({"portrait.jpg": True, "scene.jpg": True}))
    assert people_free(folder, yunet(), cache) == {"portrait.jpg", "scene.jpg"}
