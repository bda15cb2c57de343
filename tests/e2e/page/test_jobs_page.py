"""`docs/how-to/jobs.md` says what the service does: its requests are made, its settings are there."""

import json
import re

import pytest
from fpan.serve.config import Settings

from tests.support.jobs_page import PAGE, STEPS, ask_all, block, marks, served, steady


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    with served() as url:
        return ask_all(url)


@pytest.mark.parametrize("name", STEPS)
def test_requests_answer_what_the_page_says(answers: dict[str, str], name: str) -> None:
    begin, end = marks(name)
    assert STEPS[name].command in PAGE.read_text().split(begin)[1].split(end)[0]
    told, documented = steady(answers[name]), steady(block(name))
    if documented.startswith("{"):
        told, documented = json.loads(told), json.loads(documented)
    assert told == documented


def test_settings_that_the_page_names_are_there_with_the_defaults_that_it_tells() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 15
    for name, default in rows:
        known = Settings.model_fields[name.lower()].default
        if default.strip():
            assert float(default.replace(" ", "").split("(")[0]) == float(known), name
