"""Figures beyond the confusion matrix, on maps worked out by hand: columns, strata, outlines, calibration."""

from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.data.label_space import LabelSpace
from fpan_training.evaluate import Confusion
from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.evaluate.boundary import BoundaryCounts, outline
from fpan_training.evaluate.calibration import Calibration
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.groups import group_f1s, group_ious
from fpan_training.evaluate.measure import Measured, Prediction, measure
from fpan_training.evaluate.strata import OCCLUDED_EDGES, YAW_EDGES, occluded_share, strata
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

_ID = {c.name: c.id for c in TAXONOMY.classes}


def _row(*names: str) -> np.ndarray:
    return np.array([[_ID[name] for name in names]], np.uint8)


def test_columns_are_means_over_the_ious_of_their_classes() -> None:
    confusion = Confusion(len(TAXONOMY))
    confusion.add(
        _row("l_eye", "l_eye", "r_eye", "r_eye", "mouth", "u_lip", "l_lip", "occlusion"),
        _row("l_eye", "l_eye", "r_eye", "skin", "mouth", "u_lip", "u_lip", "occlusion"),
    )
    ious, f1s = group_ious(confusion.scores()), group_f1s(confusion.scores())
    assert ious["eyes"] == pytest.approx((1 + 1 / 2) / 2)
    assert ious["mouth"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert ious["occlusion"] == 1
    assert f1s["eyes"] == pytest.approx((1 + 2 / 3) / 2)
    assert ious["overall"] == confusion.scores().miou


def test_brows_and_glasses_are_no_eyes() -> None:
    confusion = Confusion(len(TAXONOMY))
    confusion.add(_row("l_eye", "r_eye", "l_brow", "eye_g"), _row("l_eye", "r_eye", "skin", "skin"))
    assert group_ious(confusion.scores())["eyes"] == 1


def test_a_truth_that_cannot_tell_occlusion_has_no_figure_for_it() -> None:
    confusion = Confusion(CELEBA19_CLASSES)
    confusion.add(_row("l_eye", "skin"), _row("l_eye", "occlusion"))
    assert np.isnan(group_ious(confusion.scores())["occlusion"])
    assert group_ious(confusion.scores())["eyes"] == 1


def test_strata_divide_the_pictures_and_the_first_is_what_has_nothing() -> None:
    confusion = Confusion(2)
    for found in range(5):
        confusion.add(np.array([[0, 1, 1]], np.uint8), np.array([[0, 1, found % 2]], np.uint8))
    parts = strata(confusion, [0.0, 0.05, 0.06, 0.0, 0.4], OCCLUDED_EDGES, "%")
    assert [(part.name, len(part.confusion.matrices)) for part in parts] == [
        ("0%", 2),
        ("0% to 5%", 1),
        ("5% to 20%", 1),
        ("20% to 40%", 1),
    ]
    assert sum(part.confusion.total for part in parts).tolist() == confusion.total.tolist()
    assert parts[1].confusion.scores().miou == 1


def test_unknown_values_belong_to_no_stratum_and_impossible_ones_are_refused() -> None:
    confusion = Confusion(2)
    for _ in range(2):
        confusion.add(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))
    parts = strata(confusion, [float("nan"), 30.0], YAW_EDGES, "°")
    assert [(part.name, len(part.confusion.matrices)) for part in parts] == [("20° to 50°", 1)]
    with pytest.raises(ValueError, match=r"outside of 0\.0 to 90\.0: \[120\.0\]"):
        strata(confusion, [0.0, 120.0], YAW_EDGES)
    with pytest.raises(ValueError, match="2 pictures have 1 values"):
        strata(confusion, [0.0], YAW_EDGES)


def test_the_occluded_share_is_that_of_face_and_object() -> None:
    assert occluded_share(_row("skin", "l_eye", "mouth", "occlusion", "hair", "neck"), TAXONOMY) == 1 / 4
    assert occluded_share(_row("skin", "hair"), TAXONOMY) == 0
    assert occluded_share(_row("hair"), TAXONOMY) == 0


def test_an_outline_is_one_pixel_wide_and_does_not_follow_the_pictures_edge() -> None:
    mask = np.zeros((7, 7), bool)
    mask[2:5, 2:5] = True
    assert outline(mask).sum() == 8
    mask = np.zeros((7, 7), bool)
    mask[:, :3] = True
    assert np.argwhere(outline(mask)).tolist() == [[i, 2] for i in range(7)]


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, 1.0), (4, 0.0), (9, 0.0)])
def test_an_outline_may_be_three_pixels_of_512_off(shift: int, expected: float) -> None:
    truth = np.zeros((64, 512), np.uint8)
    truth[:, 200:] = 1
    predicted = np.zeros((64, 512), np.uint8)
    predicted[:, 200 + shift :] = 1
    counts = BoundaryCounts(2)
    counts.add(truth, predicted)
    assert counts.f1().tolist() == [expected, expected]
    assert counts.mean_f1() == expected


def test_boundary_f1_joins_what_is_right_and_what_is_found() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[10:20, 10:20] = truth[40:50, 40:50] = 1
    predicted = np.zeros((60, 60), np.uint8)
    predicted[10:20, 10:20] = 1  # one of two: all of what is predicted is right, half of the truth is found
    counts = BoundaryCounts(2)
    counts.add(truth, predicted)
    assert counts.f1()[1] == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_outlines_are_summed_over_pictures_and_unknown_truth_is_left_out() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = 1
    counts = BoundaryCounts(2)
    counts.add(truth, truth)
    nothing = np.zeros((20, 20), np.uint8)
    counts.add(nothing, nothing)
    assert counts.f1().tolist() == [1, 1]
    unknown = np.full((20, 20), 255, np.uint8)
    counts.add(unknown, truth)
    assert counts.f1().tolist() == [1, 1]
    assert counts.interval().high == 1


def test_a_network_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    truth = np.zeros((10, 10), np.uint8)
    predicted = np.zeros((10, 10), np.uint8)
    predicted[0, :] = 1  # nine in ten are right
    sure = Calibration()
    sure.add(truth, predicted, np.full((10, 10), 0.9, np.float32))
    assert sure.error() == pytest.approx(0, abs=2e-3)
    boastful = Calibration()
    boastful.add(truth, predicted, np.ones((10, 10), np.float32))
    assert boastful.error() == pytest.approx(0.1, abs=1e-6)


def test_errors_of_different_bins_do_not_cancel() -> None:
    truth = np.zeros((1, 10), np.uint8)
    predicted = np.array([[0] * 5 + [1] * 5], np.uint8)
    confidence = np.array([[0.75] * 5 + [0.25] * 5], np.float32)  # right at .75, wrong at .25: on average .5 and .5
    calibration = Calibration()
    calibration.add(truth, predicted, confidence)
    assert calibration.error() == pytest.approx(0.25, abs=2e-3)
    calibration.add(np.full((1, 10), 255, np.uint8), predicted, np.ones((1, 10), np.float32))
    assert calibration.error() == pytest.approx(0.25, abs=2e-3)


def test_draws_that_lack_what_is_measured_are_left_out_of_the_interval() -> None:
    def share(total: np.ndarray) -> dict[str, float]:
        return {"share": total[0] / total[1] if total[1] else float("nan")}

    counts = np.array([[1, 2], [0, 0], [0, 0]])
    assert bootstrap(counts, share)["share"] == (0.5, 0.5)
    assert np.isnan(bootstrap(counts[1:], share)["share"]).all()


def test_intervals_can_be_of_other_figures() -> None:
    confusion = Confusion(len(TAXONOMY))
    for guess in ("l_eye", "skin"):
        confusion.add(_row("l_eye", "r_eye"), _row(guess, "r_eye"))
    intervals = confusion.intervals(figures=group_ious)
    assert intervals["eyes"] == pytest.approx((1 / 2, 1))
    assert np.isnan(intervals["occlusion"]).all()


def test_predictions_count_as_the_groups_that_the_truth_tells_apart() -> None:
    grouping = Grouping(LabelSpace.preset("fasseg_posed"))
    assert len(grouping) == 6
    values = np.array([[0, 1, 1, 2, 4, 5, 3]], np.uint8)
    truth = grouping.truth(values)
    predicted = _row("cloth", "neck", "l_ear", "r_brow", "l_eye", "u_lip", "occlusion")
    confusion = Confusion(len(grouping), TAXONOMY.ignore)
    confusion.add(truth, grouping.predicted(predicted, truth))
    assert confusion.total[:, :-1].diagonal().tolist() == [1, 2, 1, 0, 1, 1]
    assert confusion.total[3].tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_a_class_of_overlapping_groups_is_right_in_each_of_them() -> None:
    grouping = Grouping(LabelSpace.preset("helen"))  # glasses may lie under skin and under eyes
    truth = grouping.truth(np.array([[1, 4, 5, 6]], np.uint8))
    predicted = grouping.predicted(_row("eye_g", "eye_g", "eye_g", "eye_g"), truth)
    assert (predicted == truth).tolist() == [[True, True, True, False]]


def test_unknown_pixels_of_a_partial_truth_stay_unknown() -> None:
    grouping = Grouping(LabelSpace.preset("ccp"))
    assert grouping.truth(np.array([[255]], np.uint8)) == TAXONOMY.ignore


def test_what_was_measured_is_read_back_as_it_was(faces_root: Path, tmp_path: Path) -> None:
    folder = FaceFolder.open(faces_root, "val")
    truths = {folder[i].image.tobytes(): folder[i].labels for i in range(len(folder))}

    def right(image: np.ndarray) -> Prediction:
        labels = truths[image.tobytes()]
        return Prediction(labels, np.ones(labels.shape, np.float32))

    measured = measure(right, folder, "val", 64, len(TAXONOMY), TAXONOMY)
    measured.save(tmp_path / "counts.npz")
    again = Measured.load(tmp_path / "counts.npz")
    assert again.names == folder.names
    assert again.confusion.scores().miou == measured.confusion.scores().miou == 1
    assert again.boundaries.mean_f1() == 1
    assert again.calibration.error() == 0
    assert (again.occluded == 0).all()
    assert again.confusion.intervals() == measured.confusion.intervals()
    (tmp_path / "counts.npz").write_bytes(b"none")
    with pytest.raises(DataError, match="measure again"):
        Measured.load(tmp_path / "counts.npz")
