"""The pages of settings and commands are what their commands make of the code."""

import re

import pytest
from fpan.serve.config import Settings
from fpan.serve.setting_types import Mark, marked

from tools import cli_page, settings_page


@pytest.mark.parametrize("made", [settings_page, cli_page], ids=lambda module: module.__name__)
def test_a_page_is_what_its_command_makes(made):
    assert made.PAGE.read_text() == made.page(), f"run `python -m {made.__name__}`"


def test_every_setting_is_on_the_page_once_with_its_flag_and_whether_it_changes_answers():
    rows = re.findall(r"^\| `([A-Z0-9_]+)` `--([a-z0-9-]+)`.*\| (yes|) \|$", settings_page.page(), re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(name.upper() for name in Settings.model_fields)
    assert all(flag == name.lower().replace("_", "-") for name, flag, _ in rows)
    assert {name.lower() for name, _, changes in rows if changes} == marked(Settings, Mark.CHANGES_ANSWERS)
