"""The pages of security, limits and privacy say what is true of settings, errors, scopes and the file of keys."""

import re
import shlex
import sys

import pytest
from fpan.cli._app import main
from fpan.serve.admission.keys import SCOPES, KeyEntry, KeyFile, load
from fpan.serve.api.errors import GatewayError
from fpan.serve.config import Settings
from fpan.serve.fetch.host_pattern import Hosts

from tests.support.service import ROOT

PAGE = (ROOT / "docs/how-to/security.md").read_text()
LIMITS_PAGE = (ROOT / "docs/reference/limits.md").read_text()
PRIVACY_PAGE = (ROOT / "docs/explanation/privacy.md").read_text()
NO_SETTINGS = {
    "FPAN_API_KEY",
    "FPAN_CA",
    "FPAN_CLIENT_CERTIFICATE",
    "FPAN_CLIENT_KEY",
    "SSL_CERT_FILE",
    "FORWARDED_ALLOW_IPS",
    "PERMISSION_DENIED",
    "ID_SECRET",
    "fpan_ID_SECRET",
}
NO_LIMIT_OF_A_REQUEST = {
    "port", "grpc_port", "registry_poll_s", "golden_agreement", "shadow_share", "shadow_queue", "watch_window_s",
    "watch_min_requests", "watch_error_rate", "watch_latency_ratio", "watch_latency_floor_ms", "watch_champion_s",
    "runtime_threads", "instances", "triton_start_timeout_s", "max_batch", "batch_wait_ms", "detector_threshold",
    "polygon_tolerance_px", "redact_detector_threshold", "redact_cells", "redact_margin", "redact_min_confidence",
    "redact_min_share", "drift_window_faces", "drift_min_faces", "decode_threads", "drain_timeout_s",
    "redis_timeout_ms", "redis_retry_s", "cache_ttl_s", "cache_max_value_bytes", "files_poll_s",
    "batch_concurrency", "background_concurrency", "background_batch", "background_pause_ms", "background_wait_s",
    "job_workers", "worker_metrics_port", "job_lease_s", "job_attempts", "job_input_ttl_s", "job_result_ttl_s",
    "job_record_ttl_s", "job_sweep_s", "job_heartbeat_s", "webhook_attempts", "webhook_concurrency",
    "webhook_timeout_s",
    "send_timeout_s", "drain_delay_s",
}  # fmt: skip
"""Numbers that bound nothing a caller could ask for: ports, pauses, thresholds, sizes of batches."""


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


LIMITS = rows(LIMITS_PAGE)
ERRORS = {kind.slug: kind for kind in GatewayError.__subclasses__()}


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row[0])
def test_every_limit_has_the_default_and_the_error_that_the_page_tells(row):
    name, default, _, beyond = row
    setting = re.fullmatch(r"`([A-Z0-9_]+)`", name)
    if setting is None:
        of_key = re.fullmatch(r"`([a-z_]+)` of a key", name)
        assert of_key[1] in KeyEntry.model_fields
    else:
        assert float(default) == getattr(Settings(), setting[1].lower())
    told = re.findall(r"(\d{3}) `([a-z-]+)`", beyond)
    assert told
    for status, slug in told:
        assert ERRORS[slug].status == int(status)


def test_no_limit_is_left_out():
    """Whatever is a number bounds something, unless it is listed above: a new setting is in one of the two."""
    told = {row[0].strip("`").lower() for row in LIMITS if "of a key" not in row[0]}
    numbers = {name for name in Settings.model_fields if type(getattr(Settings(), name)) in (int, float)}
    assert numbers == told | NO_LIMIT_OF_A_REQUEST
    assert not told & NO_LIMIT_OF_A_REQUEST


def test_every_setting_that_is_named_is_one():
    for name in re.findall(r"\b([A-Z]+(?:_[A-Z]+)+)\b", PAGE + LIMITS_PAGE + PRIVACY_PAGE):
        known = name.lower() in Settings.model_fields
        assert known or name in NO_SETTINGS, name


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
