"""`fpan keys`: what it prints, what it writes, and what it says when it cannot."""

import json
import re
import sys

import pytest
from fpan.cli._app import main
from fpan.serve.admission.keys import KeyFile, KeyRing, load


@pytest.fixture
def fpan(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KEYS_FILE", str(tmp_path / "keys.json"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fpan", "keys", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, re.sub(r"[\s│╭╮╰╯─]+", " ", err)

    return run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def test_a_key_is_printed_alone_and_works(fpan, path):
    status, out, err = fpan("add", "photo app")
    assert status == 0
    [key] = out.splitlines()
    entry = KeyRing(load(path)).owner(key)
    assert (entry.name, entry.scopes, entry.requests_per_minute, entry.concurrent, entry.expires) == (
        "photo app",
        {"parse"},
        None,
        None,
        None,
    )
    assert entry.id in err
    assert key not in err


def test_scopes_quotas_and_an_end_are_kept(fpan, path):
    words = ("--scopes", "parse,jobs", "--requests-per-minute", 600, "--concurrent", 8, "--expires", "2030-12-31")
    assert fpan("add", "photo app", *words)[0] == 0
    [entry] = load(path).keys
    assert (entry.scopes, entry.requests_per_minute, entry.concurrent) == ({"parse", "jobs"}, 600, 8)
    assert entry.expires.isoformat() == "2030-12-31T00:00:00+00:00"
    assert fpan("add", "soon over", "--expires", "90d")[0] == 0
    assert (load(path).keys[1].expires - load(path).keys[1].created).days in (89, 90)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--scopes", "admin"), "'admin' is no scope: they are parse, jobs, inference, metrics"),
        (("--scopes", ","), "a key needs one of"),
        (("--expires", "soon"), "'soon' is no time"),
        (("--requests-per-minute", "0"), "requests-per-minute"),
    ],
)
def test_what_means_nothing_is_refused_and_nothing_is_written(fpan, path, words, says):
    status, out, err = fpan("add", "x", *words)
    assert (status, out) == (2, "")
    assert says in err
    assert not path.exists()


def test_the_list_tells_all_but_hashes(fpan, path):
    key = fpan("add", "photo app", "--requests-per-minute", 600)[1].strip()
    fpan("add", "old", "--expires", "2020-01-01")
    out = fpan("list")[1]
    assert re.search(r"photo app .* parse .* 600 .* server's .* never .* valid", out)
    assert re.search(r"old .* 2020-01-01 .* expired", out)
    told = json.loads(fpan("list", "--json")[1])
    assert [each["name"] for each in told] == ["photo app", "old"]
    for text in (out, json.dumps(told)):
        assert load(path).keys[0].sha256 not in text
        assert key not in text


def test_a_revoked_key_stays_in_the_list_and_opens_nothing(fpan, path):
    fpan("add", "photo app")
    [entry] = load(path).keys
    assert fpan("revoke", entry.id)[1] == f"{entry.id} (photo app) is revoked\n"
    assert "revoked" in fpan("list")[1]
    assert KeyRing(load(path)).usable == 0
    assert "already" in fpan("revoke", entry.id)[1]
    status, _, err = fpan("revoke", "nobody")
    assert (status, "there is no key 'nobody'" in err) == (2, True)


def test_a_broken_file_is_told_and_left_alone(fpan, path):
    path.write_text("{")
    for words in (("add", "x"), ("list",), ("revoke", "x")):
        status, out, err = fpan(*words)
        assert (status, out) == (1, "")
        assert "fpan:" in err
    assert path.read_text() == "{"


def test_a_file_that_cannot_be_written_is_told(fpan, path):
    path.parent.joinpath("folder").write_bytes(KeyFile().dump())
    status, _, err = fpan("add", "x", "--file", path.parent / "folder" / "keys.json")
    assert (status, "cannot be written" in err or "cannot be read" in err) == (1, True)
