"""The evaluator, on matrices worked out by hand."""

import numpy as np
import pytest
from fpan_training.evaluate import Confusion, Scores
from numpy.typing import ArrayLike


def _map(values: ArrayLike) -> np.ndarray:
    return np.array(values, np.uint8, ndmin=2)


def test_figures_of_a_picture_worked_out_by_hand() -> None:
    confusion = Confusion(3)
    #                    truth                           prediction
    confusion.add(_map([[0, 0, 1, 1], [2, 2, 1, 0]]), _map([[0, 1, 1, 1], [2, 0, 0, 0]]))
    # truth 0: two found, one taken for 1.  truth 1: two found, one taken for 0.  truth 2: one found, one taken for 0.
    assert confusion.total.tolist() == [[2, 1, 0, 0], [1, 2, 0, 0], [1, 0, 1, 0]]
    scores = confusion.scores()
    # IoU = hit / (truth + prediction - hit): 2/(3+4-2), 2/(3+3-2), 1/(2+1-1)
    assert scores.iou == pytest.approx([2 / 5, 1 / 2, 1 / 2])
    # F1 = 2 hit / (truth + prediction): 4/7, 4/6, 2/3
    assert scores.f1 == pytest.approx([4 / 7, 2 / 3, 2 / 3])
    assert scores.miou == pytest.approx((2 / 5 + 1 / 2 + 1 / 2) / 3)
    assert scores.mean_f1 == pytest.approx(2 / 3)  # without background
    assert scores.accuracy == pytest.approx(5 / 8)


def test_figures_come_from_the_summed_matrix_not_from_means_over_pictures() -> None:
    confusion = Confusion(2)
    confusion.add(_map([1]), _map([1]))
    confusion.add(_map([1, 1, 1]), _map([0, 0, 0]))
    # Summed: class 1 has 4 true pixels, 1 found. The mean over pictures would be (1 + 0) / 2.
    assert confusion.scores().iou[1] == pytest.approx(1 / 4)


def test_a_prediction_beyond_the_known_classes_is_a_miss_and_no_false_alarm() -> None:
    confusion = Confusion(2)
    confusion.add(_map([0, 1, 1, 0]), _map([0, 1, 5, 19]))
    assert confusion.total.tolist() == [[1, 0, 1], [0, 1, 1]]
    scores = confusion.scores()
    # Each class: 1 found of 2 true, 1 predicted: IoU 1/(2+1-1), F1 2/(2+1).
    assert scores.iou == pytest.approx([1 / 2, 1 / 2])
    assert scores.f1 == pytest.approx([2 / 3, 2 / 3])
    assert scores.accuracy == pytest.approx(2 / 4)
    assert len(scores.iou) == 2


def test_pixels_without_a_known_truth_are_left_out() -> None:
    confusion = Confusion(2)
    confusion.add(_map([255, 1, 2, 0]), _map([1, 1, 1, 0]))  # 255 is ignored, 2 is no class of this truth
    assert confusion.total.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert confusion.scores().miou == 1


def test_a_class_that_neither_truth_nor_prediction_has_is_left_out_of_the_means() -> None:
    confusion = Confusion(4)
    confusion.add(_map([0, 1, 1]), _map([0, 1, 0]))
    scores = confusion.scores()
    assert np.isnan(scores.iou[2:]).all()
    assert np.isnan(scores.f1[2:]).all()
    # Class 0: 1/(1+2-1), class 1: 1/(2+1-1).
    assert scores.miou == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert scores.mean_f1 == pytest.approx(2 / 3)


def test_a_class_that_is_predicted_but_never_true_counts_as_zero() -> None:
    confusion = Confusion(3)
    confusion.add(_map([0, 0, 1]), _map([0, 2, 1]))
    scores = confusion.scores()
    assert scores.iou.tolist() == [1 / 2, 1, 0]
    assert scores.miou == pytest.approx(1 / 2)


def test_nothing_known_gives_nan_and_no_warning() -> None:
    scores = Confusion(3).scores()
    assert np.isnan([scores.miou, scores.mean_f1, scores.accuracy]).all()


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="truth is"):
        Confusion(2).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


def test_the_background_can_be_another_class() -> None:
    matrix = np.array([[3, 1], [0, 4]])
    # F1 of class 0: 6 / (4 + 3).
    assert Scores.of(matrix, background=1).mean_f1 == pytest.approx(6 / 7)


def test_bootstrap_of_two_pictures_worked_out_by_hand() -> None:
    confusion = Confusion(2)
    confusion.add(_map([0, 0, 1, 1]), _map([0, 0, 1, 1]))  # A: [[2, 0], [0, 2]], IoU 1 and 1, F1 1
    confusion.add(_map([0, 0, 1, 1]), _map([0, 1, 0, 1]))  # B: [[1, 1], [1, 1]], IoU 1/3 and 1/3, F1 2/4
    # Draws: AA in a quarter of the rounds, BB in a quarter, AB in half: so the 2.5 % and 97.5 % points are BB and AA.
    intervals = confusion.intervals()
    assert intervals["miou"] == pytest.approx((1 / 3, 1))
    assert intervals["mean_f1"] == pytest.approx((1 / 2, 1))
    # AB, [[3, 1], [1, 3]]: IoU 3/(4+4-3), F1 6/8.
    assert confusion.scores().miou == pytest.approx(3 / 5)
    assert confusion.scores().mean_f1 == pytest.approx(3 / 4)


@pytest.fixture
def noisy() -> Confusion:
    """Twenty pictures, of whose pixels a varying share is wrong."""
    confusion = Confusion(4)
    rng = np.random.default_rng(3)
    for _ in range(20):
        truth = rng.integers(0, 4, (16, 16), np.uint8)
        wrong = rng.random(truth.shape) < rng.uniform(0.1, 0.5)
        confusion.add(truth, np.where(wrong, (truth + 1) % 4, truth).astype(np.uint8))
    return confusion


def test_intervals_contain_the_point_estimate_and_repeat_themselves(noisy: Confusion) -> None:
    scores, intervals = noisy.scores(), noisy.intervals()
    for name, value in (("miou", scores.miou), ("mean_f1", scores.mean_f1)):
        assert intervals[name].low < value < intervals[name].high
    assert noisy.intervals() == intervals
    assert noisy.intervals(seed=1) != intervals


def test_intervals_narrow_as_pictures_are_added(noisy: Confusion) -> None:
    many = Confusion(4, matrices=noisy.matrices * 9)
    narrow, wide = many.intervals()["miou"], noisy.intervals()["miou"]
    # Nine times the pictures: a third of the width.
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(1 / 3, rel=0.2)


def test_intervals_without_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="pictures"):
        Confusion(2).intervals()
