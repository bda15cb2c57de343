"""What others rely on is what it was: nothing disappears, nothing changes its meaning."""

import difflib

import pytest

from tests.frozen.surfaces import SURFACES

HOW = "an addition is written down by `python -m tests.frozen`; what is gone or changed breaks those who rely on it"


def difference(before: str, now: str) -> str:
    """The lines that are gone, changed and new, for people; empty where nothing is."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "written down", "now", lineterm="", n=2)
    return "\n".join(lines)


@pytest.mark.parametrize("file", SURFACES, ids=lambda file: file.name)
def test_a_surface_is_what_is_written_down(file):
    changed = difference(file.read_text(), SURFACES[file]())
    assert not changed, f"{file}: {HOW}\n{changed}"


def test_a_difference_can_be_read():
    assert difference("PORT integer 8000\n", "PORT integer 8000\n") == ""
    told = difference("PORT integer 8000\nAUTH auto\n", "PORT integer 9000\nAUTH auto\n")
    assert "-PORT integer 8000" in told
    assert "+PORT integer 9000" in told
