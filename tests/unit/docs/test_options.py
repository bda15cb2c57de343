"""The page of options lists those that there are."""

import dataclasses
import re

from fpan.serve.api.options import ParseOptions

from tests.support.service import ROOT

PAGE = (ROOT / "docs/reference/options.md").read_text()


def test_every_option_is_on_the_page_and_no_other():
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {
        field.name for field in dataclasses.fields(ParseOptions)
    }
