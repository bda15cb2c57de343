"""Contact sheets and curves."""

from pathlib import Path

import numpy as np
from fpan_training.engine import plots
from fpan_training.taxonomy import TAXONOMY
from PIL import Image


def test_an_overlay_tints_parts_and_leaves_the_background() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.zeros((4, 6), np.uint8)
    labels[:, 3:] = TAXONOMY.id_of("l_eye")
    shown = plots.overlay(image, labels, TAXONOMY)
    assert (shown[:, :3] == 100).all()
    expected = 100 * 0.45 + np.array(TAXONOMY.classes[TAXONOMY.id_of("l_eye")].colour) * 0.55
    assert np.abs(shown[0, 5] - expected).max() <= 1


def test_a_contact_sheet_has_two_triples_a_row(tmp_path: Path) -> None:
    image, truth, guess = np.full((8, 8, 3), 50, np.uint8), np.ones((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    triple = plots.labelled(image, truth, guess, taxonomy=TAXONOMY)
    plots.contact_sheet([triple] * 3, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 3 * 8, 2 * 8)
        pixels = np.asarray(sheet)
    skin = np.array(TAXONOMY.classes[1].colour)
    assert np.abs(pixels[0, 8] - (50 * 0.45 + skin * 0.55)).max() <= 1  # the truth, as RGB
    assert (pixels[0, 16] == 50).all()  # the prediction: background
    assert (pixels[8, 24:] == 0).all()  # no fourth triple


def test_a_curve_is_drawn_from_the_first_epoch_on(tmp_path: Path) -> None:
    plots.curve([], tmp_path / "none.png", plots.Curves())
    assert not (tmp_path / "none.png").exists()
    rows = [{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0, "score": 0.5, "miou": 0.4, "mean_f1": 0.6}]
    plots.curve(rows, tmp_path / "curve.png", plots.Curves(logarithmic=True))
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (990, 440)


def test_pictures_are_chosen_evenly() -> None:
    assert plots.some(range(10), 3) == range(0, 9, 3)
    assert list(plots.some([1, 2], 5)) == [1, 2]
