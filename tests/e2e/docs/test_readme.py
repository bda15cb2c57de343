"""The README and the pages that took its tables say what is true: the request is run, its answer compared, the tables
made again."""

import re
import shutil

import httpx
import numpy as np
import pytest
from fpan.rle import decode_classes
from fpan.serve.transports.http.openapi.schema import ParseAnswer

from tests.support import readme
from tests.support.service import ROOT, Service


@pytest.fixture(scope="module")
def answer(service: Service) -> dict:
    if shutil.which("curl") is None:
        pytest.skip("no curl here: get it with 'apt-get install curl'")
    return readme.ask(service.url)


def test_request_gives_the_documented_answer(answer):
    """But for the last pixel: processors round differently."""
    documented = readme.documented_answer()
    assert answer.keys() == documented.keys()
    for name in ("image", "taxonomy", "model", "reason", "notes"):
        assert answer[name] == documented[name]
    for here, there in zip(answer["faces"], documented["faces"], strict=True):
        assert here.keys() == there.keys()
        assert here["box"] == pytest.approx(there["box"], abs=1)
        assert [p["name"] for p in here["parts"]] == [p["name"] for p in there["parts"]]
        for p, q in zip(here["parts"], there["parts"], strict=True):
            assert p["area"] == pytest.approx(q["area"], rel=0.03)
            assert p["confidence"] == pytest.approx(q["confidence"], abs=0.02)
    labels, expected = decode_classes(answer["mask"]), decode_classes(documented["mask"])
    assert (labels != expected).sum() <= 0.02 * np.count_nonzero(expected)


def test_answer_fits_the_contract(answer):
    ParseAnswer.model_validate(answer)


def test_openapi_shows_that_very_answer(service):
    document = httpx.get(f"{service.url}/openapi.json").json()
    shown = document["paths"]["/v1/parse"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert shown["mask"] == readme.documented_answer()["mask"]
    # FastAPI leaves members that are null out of the whole document, those of examples too.
    ParseAnswer.model_validate({"reason": None, **shown})


def test_tables_are_those_of_the_shipped_model():
    assert readme.block("taxonomy") == readme.taxonomy_table()
    assert readme.block("figures") == readme.figures_table()


def test_python_example_runs(service, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", readme.README.read_text(), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(ROOT)
    exec(code.group(1).replace("http://127.0.0.1:8000", service.url), {})
    assert "(512, 512)" in capsys.readouterr().out
