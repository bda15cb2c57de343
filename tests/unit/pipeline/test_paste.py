"""Back into the photo: labels land where the face is, at any size."""

import cv2
import numpy as np
import pytest
from fpan.contract.figures import CERTAIN
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.types import Photo

from tests.support.parsed import NAMES, SIZE, crop, parsed_face


def disc(size: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(x - centre[0], y - centre[1]) <= radius).astype(np.uint8)


def logits_of(labels: np.ndarray, stride: int) -> np.ndarray:
    """Logits at a stride that say what a label map says, as sharply as a network does."""
    shares = np.stack([(labels == c) for c in range(len(NAMES))]).astype(np.float32)
    c, h, w = shares.shape
    coarse = shares.reshape(c, h // stride, stride, w // stride, stride).mean((2, 4))
    return np.log(coarse * 0.98 + 0.02 / len(NAMES)).astype(np.float32)


@pytest.mark.parametrize("enlargement", [1.0, 2.0, 4.0, 9.5])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_disc_lands_where_it_is_at_any_size(enlargement, angle):
    scale = 1 / enlargement
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([500.0, 430.0])
    matrix = np.column_stack([linear, np.array([31.5, 31.5]) - linear @ centre])
    labels = disc(SIZE, (31.5, 31.5), 20)
    window = paste.window_of(crop(matrix), 1000, 900)
    found, sure = paste.paste_probabilities(crop(matrix), window, logits_of(labels, 2))
    whole = np.zeros((900, 1000), np.uint8)
    whole[window[1] : window[3], window[0] : window[2]] = found
    y, x = np.mgrid[:900, :1000]
    distance = np.hypot(x - centre[0], y - centre[1]) / enlargement
    assert (whole[distance < 18.5] == 1).all()
    assert (whole[distance > 21.5] == 0).all()
    assert sure[found == 1].mean() > 200


def test_enlarged_probabilities_are_smoother_than_enlarged_labels():
    matrix = np.array([[1 / 8, 0, 0], [0, 1 / 8, 0.0]])
    labels = disc(SIZE, (31.5, 31.5), 20)
    window = paste.window_of(crop(matrix), SIZE * 8, SIZE * 8)
    smooth, _ = paste.paste_probabilities(crop(matrix), window, logits_of(labels, 2))
    stairs, _ = paste.paste_labels(crop(matrix), window, labels, labels * 255)
    y, x = np.mgrid[: SIZE * 8, : SIZE * 8]
    truth = (np.hypot(x / 8 - 31.5, y / 8 - 31.5) <= 20).astype(np.uint8)
    wrong = [
        int((m[: SIZE * 8 - 8, : SIZE * 8 - 8] != truth[: SIZE * 8 - 8, : SIZE * 8 - 8]).sum())
        for m in (smooth, stairs)
    ]
    assert wrong[0] < 0.8 * wrong[1]


def test_tiles_leave_no_seam(monkeypatch):
    matrix = np.array([[0.11, 0.02, 3], [-0.02, 0.11, 8]])
    logits = np.random.default_rng(0).normal(0, 3, (len(NAMES), 32, 32)).astype(np.float32)
    window = paste.window_of(crop(matrix), 700, 650)
    once = paste.paste_probabilities(crop(matrix), window, logits)
    monkeypatch.setattr(paste, "_TILE", 37)
    tiled = paste.paste_probabilities(crop(matrix), window, logits)
    assert (once[0] == tiled[0]).mean() > 0.9999


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_classes_that_are_nowhere_near_are_not_missed(monkeypatch, angle):
    scale, turn = 0.07, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([scale * turn, [5, -9]])
    random = np.random.default_rng(1)
    blobs = [cv2.GaussianBlur(random.normal(0, 60, (32, 32)).astype(np.float32), (0, 0), 3) for _ in NAMES]
    logits = np.stack(blobs)
    window = paste.window_of(crop(matrix), 900, 1000)
    labels, sure = paste.paste_probabilities(crop(matrix), window, logits)
    monkeypatch.setattr(paste, "_UNLIKELY", 0.0)
    asked_of_all, sure_of_all = paste.paste_probabilities(crop(matrix), window, logits)
    assert len(np.unique(labels)) == len(NAMES)
    assert np.array_equal(labels, asked_of_all)
    assert np.abs(sure.astype(int) - sure_of_all).max() <= 2


def test_small_faces_are_sampled():
    matrix = np.array([[2.0, 0, -40], [0, 2.0, -60]])
    labels = disc(SIZE, (30, 34), 20)
    window = paste.window_of(crop(matrix), 200, 200)
    found, sure = paste.paste_labels(crop(matrix), window, labels, np.full((SIZE, SIZE), 200, np.uint8))
    x0, y0, _, _ = window
    rows, columns = np.nonzero(found)
    assert columns.mean() + x0 == pytest.approx((30 + 40) / 2, abs=0.5)
    assert rows.mean() + y0 == pytest.approx((34 + 60) / 2, abs=0.5)
    assert set(np.unique(sure)) <= {200, 255}


def test_crop_wholly_outside_has_no_window():
    assert paste.window_of(crop([[1, 0, 500], [0, 1, 0]]), 100, 100) == (0, 0, 0, 0)


def test_the_larger_face_wins_and_each_keeps_its_own():
    small = parsed_face(np.full((10, 20), 1, np.uint8), (0, 0, 20, 10))
    large = parsed_face(np.full((10, 20), 4, np.uint8), (10, 0, 30, 10))
    for order in ([small, large], [large, small]):
        sizes = [1.0 if face is small else 2.0 for face in order]
        labels, _ = paste.together(order, 100, 80, sizes, 0)
        assert (labels[:10, :10] == 1).all()
        assert (labels[:10, 10:30] == 4).all()
    assert (small.labels == 1).all()


def test_what_occludes_a_large_face_hides_no_part_of_another():
    small = parsed_face(np.full((10, 20), 1, np.uint8), (0, 0, 20, 10))
    large = parsed_face(np.full((10, 20), 5, np.uint8), (10, 0, 30, 10))
    labels, _ = paste.together([large, small], 100, 80, [2.0, 1.0], 0, yields=[5])
    assert (labels[:10, :20] == 1).all()
    assert (labels[:10, 20:30] == 5).all()


def test_background_of_a_large_face_hides_nobody():
    small = parsed_face(np.full((10, 20), 1, np.uint8), (0, 0, 20, 10))
    empty = parsed_face(np.zeros((10, 20), np.uint8), (10, 0, 30, 10))
    labels, _ = paste.together([small, empty], 100, 80, [1.0, 2.0], 0)
    assert (labels[:10, :20] == 1).all()


def test_a_photo_of_no_face_is_background_and_certain():
    labels, confidence = paste.together([], 30, 20, [], 0)
    assert labels.shape == (20, 30)
    assert not labels.any()
    assert (confidence == CERTAIN).all()
    assert Photo(np.zeros((20, 30, 3), np.uint8), "png").width == 30


def test_enlarging_stops_at_the_next_tile_when_it_is_given_up(monkeypatch):
    monkeypatch.setattr(paste, "_TILE", 64)
    asked = []

    def check() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise TimeoutError

    logits = np.zeros((len(NAMES), 32, 32), np.float32)
    with pytest.raises(TimeoutError):
        paste.paste_probabilities(crop([[0.1, 0, 0], [0, 0.1, 0]]), (0, 0, 640, 640), logits, check)
    assert len(asked) == 3


def test_a_label_map_of_one_pixel_can_be_unknown():
    labels, sure = np.full((1, 1), 1, np.uint8), np.full((1, 1), 100, np.uint8)
    assert paste.abstained(labels, sure, 0.5, 255).tolist() == [[255]]
    assert paste.abstained(labels, sure, 0.3, 255).tolist() == [[1]]
