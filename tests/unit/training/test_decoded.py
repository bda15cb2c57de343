"""Pictures that are decoded once: the same as before, shared, and made anew where they no longer fit."""

import json
import os
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data import FaceFolder, folder
from fpan_training.data.decoded import DecodedPictures, decode_once
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import Part
from fpan_training.data.shards import Sharding
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import SegmConfig
from fpan_training.modules.segm.in_loop import RouteInLoop
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.unet import UNetConfig

from tests.unit.training.conftest import SIDE, draw_face, write_pair


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures, one of them not square."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    for name in "abc":
        image, labels = draw_face(rng)
        cut = slice(10) if name == "b" else slice(None)
        write_pair(root, name, image[cut], labels[cut])
    return root


@pytest.fixture
def part(data: Path) -> Part:
    return Part(FaceFolder.open(data, "train"), LabelSpace.full())


def images(part: Part) -> list[bytes]:
    samples = [part.pictures[i] for i in range(len(part.pictures))]
    return [sample.name.encode() + sample.image.tobytes() + sample.labels.tobytes() for sample in samples]


def folders(cache: Path) -> list[Path]:
    return sorted(cache.glob("decoded-*"))


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(folder, "read_rgb", refuse)
    monkeypatch.setattr(folder, "read_labels", refuse)


def test_pictures_that_are_small_enough_are_the_same(part: Part, tmp_path: Path) -> None:
    kept = decode_once(part, SIDE, tmp_path / "cache")
    assert kept.pictures.names == ("a", "b", "c")
    assert images(kept) == images(part)


def test_larger_ones_are_shrunk_by_area_and_their_masks_by_the_nearest_pixel(part: Part, tmp_path: Path) -> None:
    kept, side = decode_once(part, SIDE // 2, tmp_path / "cache"), SIDE // 2
    whole, small = part.pictures[0], kept.pictures[0]
    assert (small.image == cv2.resize(whole.image, (side, side), interpolation=cv2.INTER_AREA)).all()
    assert (small.labels == cv2.resize(whole.labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)).all()
    assert kept.pictures[1].image.shape == (5, side, 3)
    # What shows a wider frame is kept that much larger: its faces have as many pixels.
    wide = decode_once(replace(part, frame=1.5), side, tmp_path / "cache")
    assert wide.pictures[0].image.shape == (SIDE * 3 // 4, SIDE * 3 // 4, 3)


def test_samples_can_be_written_to(part: Part, tmp_path: Path) -> None:
    kept = decode_once(part, SIDE, tmp_path)
    kept.pictures[0].image[:] = 0
    kept.pictures[0].labels[:] = 0
    assert images(kept) == images(part)


def test_nothing_is_decoded_twice(part: Part, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = images(decode_once(part, SIDE, tmp_path))
    request.getfixturevalue("no_decoding")
    assert images(decode_once(part, SIDE, tmp_path)) == first


def test_two_that_want_it_at_once_share_what_one_of_them_made(part: Part, tmp_path: Path) -> None:
    # The lock is the same between threads as between processes.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(partial(_made, part, tmp_path), range(2)))
    assert [each[0] for each in found] == [images(part)] * 2
    assert found[0][1] == found[1][1]
    assert len(folders(tmp_path)) == 1


def _made(part: Part, cache: Path, _: int) -> tuple[list[bytes], int]:
    kept = decode_once(part, SIDE, cache)
    assert isinstance(kept.pictures, DecodedPictures)
    return images(kept), (kept.pictures.folder / "pixels.u8").stat().st_mtime_ns


def test_what_is_broken_is_made_anew(part: Part, tmp_path: Path) -> None:
    decode_once(part, SIDE, tmp_path)
    (where,) = folders(tmp_path)
    for name, content in (("pixels.u8", b"short"), ("index.json", b"{"), ("index.json", b"{}")):
        (where / name).write_bytes(content)
        assert images(decode_once(part, SIDE, tmp_path)) == images(part)
    (where / "pixels.u8").unlink()
    assert images(decode_once(part, SIDE, tmp_path)) == images(part)


def test_a_picture_that_has_changed_is_decoded_again_and_the_old_ones_go(
    part: Part, data: Path, tmp_path: Path
) -> None:
    decode_once(part, SIDE, tmp_path / "cache")
    decode_once(part, SIDE // 2, tmp_path / "cache")
    before = folders(tmp_path / "cache")
    os.utime(data / "masks" / "c.png", ns=(1, 1))
    decode_once(part, SIDE, tmp_path / "cache")
    after = folders(tmp_path / "cache")
    assert len(after) == 2
    assert len(set(before) & set(after)) == 1


def test_too_little_space_is_said_before_anything_is_written(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(DataError, match=r"need 0\.0 GB .* set FPAN_RUNS"):
        decode_once(part, SIDE, tmp_path)
    assert not list(tmp_path.glob("decoded-*/pixels*"))


def test_a_folder_that_cannot_be_written_to_is_named(part: Part, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be kept in"):
        decode_once(part, SIDE, tmp_path / "cache")


def test_shards_are_kept_too(part: Part, data: Path, tmp_path: Path) -> None:
    Sharding(data, str(tmp_path / "shards"))()
    shards = Part.open(tmp_path / "shards", "train")
    assert images(decode_once(shards, SIDE, tmp_path / "cache")) == images(part)


def test_a_training_decodes_its_pictures_once(
    faces_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FPAN_RUNS", str(tmp_path / "runs"))
    read: list[str] = []

    def count(path: Path) -> np.ndarray:
        read.append(path.stem)
        return read_rgb(path)

    read_rgb = folder.read_rgb
    monkeypatch.setattr(folder, "read_rgb", count)
    training = SegmTraining(
        (faces_root,),
        tmp_path / "run",
        tmp_path,
        settings=SegmSettings(
            segm=SegmConfig("unet", input_size=SIDE, unet=UNetConfig(width=4)),
            loop=LoopConfig.smoke(epochs=2, lr=1e-3, batch_size=16),
        ),
        decoded_side=SIDE,
    )
    training.fit()
    train = json.loads((faces_root / "split.json").read_text())["train"]
    # Beside the few that say how much space all need.
    assert max(read.count(name) for name in train) <= 2
    assert sum(read.count(name) for name in train) <= len(train) + 16
    assert len(folders(tmp_path / "runs" / "cache")) == 1
    with pytest.raises(ValueError, match="--decoded-side"):
        replace(training, route=RouteInLoop(lom=tmp_path, dom=tmp_path)).fit()
