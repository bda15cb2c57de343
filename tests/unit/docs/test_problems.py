"""The page of problems is what the command makes of the tree of errors."""

import pytest
from fpan.serve.api.errors import PROBLEM_BASE, every_error

from tools.problems_page import PAGE, page, parts

HOW = "change the texts in fpan/serve/api/errors.py and run `python -m tools.problems_page`"


def test_the_page_is_what_the_command_makes():
    assert PAGE.read_text() == page(), HOW


@pytest.mark.parametrize("error", [*every_error()], ids=lambda error: error.slug)
def test_every_error_says_what_it_means_and_what_to_do(error):
    text = page()
    assert error.__doc__ is not None
    meaning, advice = parts(error)[:2]
    for part in (meaning, advice):
        assert len(part) > 40
        assert part.endswith(".")
    assert f"`{PROBLEM_BASE}{error.slug}`" in text
    assert f"\n## {error.slug}\n" in text


def test_no_two_errors_have_one_type():
    slugs = [error.slug for error in every_error()]
    assert len({*slugs}) == len(slugs)
