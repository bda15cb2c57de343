"""docs/security.md says what is true of settings, errors, scopes and the file of keys."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from fpan.cli._app import main
from fpan.serve.errors import GatewayError
from fpan.serve.fetch.pattern import Hosts
from fpan.serve.keys.file import SCOPES, KeyEntry, KeyFile, load
from fpan.serve.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
NO_LIMIT_OF_A_REQUEST = {
    "max_batch",
    "triton_start_timeout_s",
    "drain_timeout_s",
    "send_timeout_s",
    "webhook_timeout_s",
}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


LIMITS = rows(section("Limits"))
ERRORS = {kind.slug: kind for kind in GatewayError.__subclasses__()}


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row[0])
def test_every_limit_has_the_default_and_the_error_that_the_page_tells(row):
    name, default, _, beyond = row
    setting = re.fullmatch(r"`([A-Z_]+)`", name)
    if setting is None:
        assert name == "`concurrent` of a key"
        assert "concurrent" in KeyEntry.model_fields
    else:
        assert float(default) == getattr(Settings(), setting[1].lower())
    told = re.findall(r"(\d{3}) `([a-z-]+)`", beyond)
    assert told
    for status, slug in told:
        assert ERRORS[slug].status == int(status)


def test_no_limit_is_left_out():
    told = {row[0].strip("`").lower() for row in LIMITS}
    named = {n for n in Settings.model_fields if n.startswith("max_") or n.endswith("_timeout_s") or n == "deadline_ms"}
    assert named - NO_LIMIT_OF_A_REQUEST <= told


def test_every_setting_that_is_named_is_one():
    for name in re.findall(r"\b([A-Z]+(?:_[A-Z]+)+)\b", PAGE):
        known = name.lower() in Settings.model_fields
        assert known or name in (
            "FPAN_API_KEY",
            "SSL_CERT_FILE",
            "PERMISSION_DENIED",
            "FORWARDED_ALLOW_IPS",
            "ID_SECRET",
            "fpan_ID_SECRET",
        ), name


def test_the_scopes_are_those_there_are():
    assert [row[0].strip("`") for row in rows(section("Keys").split("### The file")[0])] == list(SCOPES)


def test_the_file_of_the_page_is_one():
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    [entry] = KeyFile.parse(example.encode()).keys
    assert set(KeyEntry.model_fields) == set(entry.model_fields_set)


def test_the_patterns_of_the_page_mean_hosts():
    patterns = [row[0].strip("`") for row in rows(section("Pictures from URLs"))]
    assert len([Hosts.parse(pattern) for pattern in patterns]) == 5
    settings = re.search(r"URL_HOSTS='([^']+)'", PAGE)
    assert Settings(url_hosts=settings[1]).url_hosts
    networks = re.search(r"URL_PRIVATE_NETWORKS=([^`\s]+)", PAGE)
    assert Settings(url_private_networks=networks[1]).url_private_networks


def test_the_command_of_the_page_makes_a_key(tmp_path, monkeypatch, capsys):
    [line] = re.findall(r"^    (fpan keys add .*)$", PAGE, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    [entry] = load(tmp_path / "keys.json").keys
    assert (entry.name, entry.requests_per_minute, entry.concurrent) == ("photo app", 600, 8)
    assert capsys.readouterr().out.startswith("fpan_")
