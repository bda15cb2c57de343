"""Pages that commands write leave people's words alone."""

from pathlib import Path

import pytest
from fpan_training.engine.page import PROSE_ENDING, included, table, write_page

from tests.support.service import ROOT

RESULTS = ROOT / "docs/results"


def test_words_of_people_survive_a_rerun(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    (tmp_path / f"figures{PROSE_ENDING}").write_text("What it **means**.\n")
    for figure in (1, 2):
        write_page(page, "Figures", table(("a",), [(figure,)]))
        assert page.read_text() == f"# Figures\n\nWhat it **means**.\n\n| a |\n| --- |\n| {figure} |\n"
    assert (tmp_path / f"figures{PROSE_ENDING}").read_text() == "What it **means**.\n"


def test_a_page_without_words_is_whole(tmp_path: Path) -> None:
    assert write_page(tmp_path / "new/figures.md", "Figures", ["none"]).read_text() == "# Figures\n\nnone\n"


@pytest.mark.parametrize("prose", sorted(RESULTS.rglob(f"*{PROSE_ENDING}")), ids=lambda path: path.name)
def test_committed_pages_hold_the_words_that_were_written_for_them(prose: Path) -> None:
    page = prose.with_name(prose.name.removesuffix(PROSE_ENDING) + ".md")
    assert page.read_text().split("\n", 2)[2].startswith(included(page)[0])
