"""`fpan-train card-page`: what the page of a version says, and where that is from."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.folder import DataError
from fpan_training.evaluate.quality import ModelQuality
from fpan_training.release.quality import CardPage, card_page
from fpan_training.release.quality.card_page import draw_examples

from tests.support.networks import publish_saying
from tests.support.service import ROOT
from tests.unit.training.knowing import Knowing


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without running the network."""
    monkeypatch.setattr(card_page, "draw_examples", lambda network: np.zeros((4, 14, 3), np.uint8))


@pytest.fixture
def command(tmp_path: Path, undrawn: None) -> CardPage:
    """Of a version with figures of two strata of each kind."""
    publish_saying(tmp_path / "models", 1)
    names = ("tone/light", "tone/dark", "yaw/0° to 20°", "yaw/not found")
    strata = {f"{name}/{figure}": [0.5, 0.4, 0.6] for name in names for figure in ("core_f1", "mean_f1")}
    strata |= {f"{name}/pictures": [12, None, None] for name in names}
    sizes = {"32/pictures": [333, None, None], "32/core_f1": [0.25, 0.2, 0.3], "32/mean_f1": [0.2, 0.1, 0.3]}
    shares = {"share/5% to 20%/pictures": [7, None, None], "share/5% to 20%/mean_f1": [0.75, None, None]}
    shares["share/5% to 20%/occlusion_iou"] = [None, None, None]
    common = {"definition": 1, "pictures": 333, "digest": "0"}
    rows = {"strata": strata, "size": sizes, "occluders": shares}
    quality = ModelQuality.model_validate(
        {
            "model": "segm:1",
            "sha256": "0",
            "input_size": 32,
            "rows": {name: {**common, "figures": figures} for name, figures in rows.items()},
        }
    )
    quality.write(tmp_path / "quality")
    return CardPage(str(tmp_path / "models"), "segm", tmp_path / "quality", tmp_path / "docs/models/segm.md")


def test_the_page_tells_terms_figures_by_stratum_and_what_people_wrote(command: CardPage) -> None:
    command.out.parent.mkdir(parents=True)
    command.out.with_suffix(".prose.md").write_text("## Must not be used for\n\nTelling who somebody is.\n")
    text = command().read_text()
    assert text.startswith("# Model card: segm version 1\n")
    assert "| **terms of the weights** | **non-commercial research" in text
    assert "| CelebAMask-HQ, celeba19 subset | 763 | non-commercial research |  |" in text
    assert "## Must not be used for\n\nTelling who somebody is." in text
    for cells in (
        "| light | 12 | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |",
        "| not found | 12 |",
        "| 32 | 333 | 0.250 (0.200 to 0.300) | 0.200 (0.100 to 0.300) |",
        "| 5% to 20% | 7 | 0.750 | - |",
    ):
        assert cells in text
    assert "very light" not in text  # no picture
    assert "Grey" not in text  # not measured
    assert "| in colour |" not in text
    assert command.out.with_suffix(".jpg").is_file()


def test_a_version_without_figures_says_how_to_get_them(command: CardPage) -> None:
    (command.quality / "segm-1.json").unlink()
    with pytest.raises(DataError, match="fpan-train measure --model segm:1"):
        command()


def test_the_person_who_is_shown_is_found_and_shown_in_seven_pictures() -> None:
    shown = draw_examples(Knowing(64))
    assert shown.shape == (2 * 192, 7 * 192, 3)
    columns = np.split(shown[:192], 7, 1)
    assert (columns[6][:, 96:] == 0).all()
    assert (columns[3].max(2) == columns[3].min(2)).all()
    assert columns[4].mean() < columns[0].mean() / 2


def test_the_shipped_page_is_the_one_that_card_and_figures_make(tmp_path: Path, undrawn: None) -> None:
    docs = ROOT / "docs"
    shipped = (docs / "models/segm.md").read_text()
    (version,) = re.findall(r"^# Model card: segm version (\d+)$", shipped, re.MULTILINE)
    out = tmp_path / "models/segm.md"
    out.parent.mkdir(exist_ok=True)
    shutil.copy(docs / "models/segm.prose.md", out.parent)
    page = CardPage(str(ROOT / "model_repository"), f"segm:{version}", docs / "results/quality", out)
    assert page().read_text() == shipped
