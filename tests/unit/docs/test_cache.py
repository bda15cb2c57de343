"""What docs/how-to/cache.md says of settings, metrics and headers."""

import re

from fpan.serve.api.allowance import Allowance, limit_fields
from fpan.serve.cache.cache import CACHE_STATUS
from fpan.serve.config import Settings
from fpan.serve.telemetry.metrics import Metrics
from pydantic import SecretStr

from tests.support.service import ROOT

PAGE = (ROOT / "docs/how-to/cache.md").read_text()
ELSEWHERE = {"FORWARDED_ALLOW_IPS", "TRUSTED_PROXIES", "WORKER_GATEWAY_URL"}
"""Told of in other pages."""


def test_settings_and_their_defaults():
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (\S*) ?\|$", PAGE, re.MULTILINE))
    names = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)\b", PAGE)) - ELSEWHERE
    assert names == set(told)
    for name, default in told.items():
        value = Settings.model_fields[name.lower()].default
        assert default == (value.get_secret_value() if isinstance(value, SecretStr) else str(value)), name


def test_metrics():
    families = {f.name + ("_total" if f.type == "counter" else "") for f in Metrics().registry.collect()}
    assert set(re.findall(r"\bfpan_\w+", PAGE)) <= families


def test_what_headers_say():
    assert set(re.findall(r"^\| `(fpan; [^`]+)` \|", PAGE, re.MULTILINE)) == set(CACHE_STATUS.values())
    told = {name.lower(): value for name, value in re.findall(r"^    (RateLimit\S*): (.+)$", PAGE, re.MULTILINE)}
    assert told == limit_fields(Allowance(600, 599, 59.2))
