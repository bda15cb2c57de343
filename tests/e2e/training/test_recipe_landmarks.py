"""`fpan-train recipe landmarks --budget smoke`: two rounds of LOM and a page, by every stage."""

import json
from pathlib import Path

import pytest
from fpan_training.recipes.context import Context
from fpan_training.recipes.landmarks import SHARES, Landmarks
from fpan_training.recipes.recipe import RunRecipe


@pytest.mark.timeout(600)
def test_its_second_round_learns_from_what_the_first_finds_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunRecipe("landmarks", tmp_path / "run", budget="smoke")()
    out = capsys.readouterr().out
    first, second = (out.partition("4/7 round-2")[i] for i in (0, 2))
    assert "train of full: 20 faces: 20 taken for clean" in first
    assert "train of unlabelled: 20 faces: 20 not used for visibility" in first
    assert "clean by LOM at 0.2" in second
    assert "taken for clean" not in second.partition("report-1")[0]
    figures = json.loads((run / "report-2/lom.json").read_text())
    assert {"nme", "auc/val", "alarms/val"} <= figures.keys()
    page = (run / "landmarks.md").read_text()
    assert "| NME, val, % | 4.70 | " in page


def test_every_data_set_has_a_share_of_an_epoch(tmp_path: Path) -> None:
    training = Landmarks(Context(tmp_path, tmp_path, "full", "", 0)).training(2)
    assert [data.name for data in training.data[1:]] == list(SHARES)
    assert 0 < sum(training.share) < 1
    assert training.clean.clean_by == tmp_path / "round-1/best.pt"
