"""Figures like the paper's, of a rendered face and with stand-ins for the trained modules."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from fpan_training.data.assets import Assets
from fpan_training.data.folder import DataError
from fpan_training.face3d.rendered import render_face
from fpan_training.modules.dom.pseudo import DeOcclusion
from fpan_training.modules.uvm.complete import MirrorCompletion
from fpan_training.paper.figures import draw
from fpan_training.paper.figures.draw import CELL, VARIANTS, YAWS_DEG
from fpan_training.paper.figures.faces import Face, cover
from fpan_training.paper.figures.make import NEEDS, Figures
from fpan_training.paper.routing.protocols import LandmarkPrediction
from fpan_training.taxonomy import TAXONOMY

_SIDE = 128


@pytest.fixture(scope="module")
def face() -> Face:
    rendered = render_face((3, 0), _SIDE)
    return Face("rendered", rendered.image, rendered.record)


def _parse(image: np.ndarray) -> np.ndarray:
    return np.full(image.shape[:2], TAXONOMY.id_of("skin"), np.uint8)


def _nothing(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape[:2], np.uint8)


def _cells(picture: np.ndarray, per_row: int) -> list[np.ndarray]:
    rows = len(picture) // CELL
    assert picture.shape == (rows * CELL, per_row * CELL, 3)
    return [picture[r * CELL : (r + 1) * CELL, c * CELL : (c + 1) * CELL] for r in range(rows) for c in range(per_row)]


def test_a_face_is_covered_by_what_was_asked_for_and_the_same_each_time(face: Face) -> None:
    hand = cover(face, Assets(), 1, "hand")
    assert hand.kind == "hand"
    assert hand.mask.any()
    np.testing.assert_array_equal(hand.image, cover(face, Assets(), 1, "hand").image)


def test_figure_5_shows_the_landmarks_that_lom_says(face: Face) -> None:
    def lom(seen: float) -> np.ndarray:
        def answer(image: np.ndarray, points: np.ndarray) -> LandmarkPrediction:
            return LandmarkPrediction(points, np.full(len(points), seen, np.float32))

        return draw.figure_5([face], answer, Assets())

    green, red = lom(1.0).astype(int), lom(0.0).astype(int)
    assert green.shape == (2 * CELL, VARIANTS * 2 * CELL, 3)
    changed = (green != red).any(-1)
    assert changed.any()
    assert (red[changed][:, 0] >= green[changed][:, 0]).mean() > 0.95


def test_figure_6_has_recovered_face_mask_and_truth_beside_each_other(face: Face) -> None:
    class Dom:
        def remove(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return face.image, np.full(image.shape[:2], 0.5, np.float32)

    cells = _cells(draw.figure_6([face], cast(DeOcclusion, Dom()), Assets()), 5)
    assert len(cells) == 5 * VARIANTS
    covered, recovered, mask, truth, clean = cells[:5]
    np.testing.assert_array_equal(recovered, clean)
    assert (mask == 128).all()
    assert truth.max() > 200
    assert (covered != clean).any()


def test_figures_7_and_13_turn_the_head(face: Face) -> None:
    completion = MirrorCompletion(64)
    cells = _cells(draw.figure_7([face], completion, _parse), 3 + len(YAWS_DEG))
    assert len(cells) == 2 * (3 + len(YAWS_DEG))
    turned = _cells(draw.figure_13([face], completion, _nothing, _parse), len(YAWS_DEG))
    straight, baseline, whole = (turned[i : i + len(YAWS_DEG)] for i in range(0, 3 * len(YAWS_DEG), len(YAWS_DEG)))
    for a, b, c in zip(straight, baseline, whole, strict=True):
        np.testing.assert_array_equal(a, b)  # background is not tinted
        assert (a != c).any()
    assert (straight[0] != straight[-1]).any()


def test_figures_11_and_12_show_a_covered_face_and_its_parts(face: Face) -> None:
    for picture in (draw.figure_11([face], _nothing, Assets()), draw.figure_12([face], _nothing, Assets())):
        cells = _cells(picture, 2 * VARIANTS)
        for covered, parsed in zip(cells[::2], cells[1::2], strict=True):
            np.testing.assert_array_equal(covered, parsed)


def test_what_is_missing_for_a_figure_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Figures((tmp_path / "none.jpg",), tmp_path / "out")() == []
    said = capsys.readouterr().out
    assert all(f"figure {number} needs" in said for number in NEEDS)
    assert "--dom (fpan-train train dom)" in said
    with pytest.raises(DataError, match=r"figure 6 needs --dom \(fpan-train train dom\)"):
        Figures((tmp_path / "none.jpg",), tmp_path / "out", only=(6,))()
    with pytest.raises(ValueError, match=r"not 9"):
        Figures((), tmp_path, only=(9,))()
