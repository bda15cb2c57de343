"""Pictures of rare classes come more often, and a picture that becomes smaller is not thinned."""

import json
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data import EpochSampler, FaceFolder
from fpan_training.data.augment import resize_pair, warp_pair
from fpan_training.data.loader import repeat_factors
from PIL import Image


def folder_of(root: Path, masks: list[list[int]]) -> FaceFolder:
    """A folder whose n-th mask shows the n-th list of classes."""
    for part in ("images", "masks"):
        (root / part).mkdir()
    for i, ids in enumerate(masks):
        Image.new("RGB", (len(ids), 1)).save(root / f"images/{i:03}.png")
        Image.fromarray(np.array([ids], np.uint8)).save(root / f"masks/{i:03}.png")
    (root / "split.json").write_text(json.dumps({"train": [f"{i:03}" for i in range(len(masks))]}))
    return FaceFolder.open(root, "train")


def test_a_picture_comes_as_often_as_the_rarest_of_its_classes_asks(tmp_path: Path) -> None:
    # Class 2 is on one picture of sixteen: sqrt(0.25 * 16) = 2. Classes 0 and 1 are common enough; 255 is no class.
    folder = folder_of(tmp_path, [[0, 1, 2], [0, 255]] + [[0, 1]] * 14)
    assert repeat_factors(folder, 0.25, 3).tolist() == pytest.approx([2] + [1] * 15)
    assert repeat_factors(folder, 0, 3).tolist() == [1] * 16


def test_shares_are_kept_in_every_epoch_and_repeats_are_passes_of_their_own() -> None:
    shares = np.array([1.0, 2.5, 1.0, 1.5])
    sampler = EpochSampler(4, seed=1, repeats=shares)
    counts, seen = np.zeros(4), []
    for sampler.epoch in range(40):
        indices = list(sampler)
        assert len(indices) == len(sampler) == 6
        seen += indices
        once = np.bincount([i % 4 for i in indices], minlength=4)
        assert (np.abs(once - shares) < 1).all()
        counts += once
    assert len(set(seen)) == len(seen)
    assert counts / 40 == pytest.approx(shares, abs=0.15)


def test_shares_of_one_are_every_picture_once() -> None:
    sampler = EpochSampler(9, seed=1, repeats=np.ones(9))
    for sampler.epoch in range(3):
        assert sorted(i % 9 for i in sampler) == list(range(9))


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_seen_of_an_epoch_is_skipped_in_every_process(processes: int) -> None:
    for rank in range(processes):
        sampler = EpochSampler(11, seed=1, share=(rank, processes))
        whole = list(sampler)
        sampler.skip = 4 * processes
        assert list(sampler) == whole[4:]
        assert len(sampler) == len(whole)
        sampler.skip = 100
        assert list(sampler) == []


def test_shrinking_by_a_matrix_is_what_evaluation_does() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    labels = rng.integers(0, 19, (64, 64), np.uint8)
    # Pixel p of the small picture has its centre at 2 p + 0.5 of the large one.
    matrix = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    assert np.abs(warp_pair(image, labels, matrix, 32)[0].astype(int) - resize_pair(image, labels, 32)[0]).max() <= 1


def test_enlarging_and_turning_leave_the_centre_where_it_was() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[20, 20] = 255
    matrix = np.array([[0, -2.0, 60], [2.0, 0, -20]])
    warped = warp_pair(image, image[..., 0], matrix, 40)[0]
    assert np.unravel_index(warped[..., 0].argmax(), (40, 40)) == (20, 20)
