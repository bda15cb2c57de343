"""The alerting rules: what Prometheus itself says of them, and whether they speak of metrics that there are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from fpan.serve.telemetry.metrics import Metrics

from tests.support.service import ROOT

RULES = ROOT / "deploy/prometheus/rules"
FILES = sorted(RULES.glob("*.yml"))
ROLLOUT, REDIS = RULES / "rollout.yml", RULES / "redis.yml"


def rules(path: Path) -> list[dict]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def metrics() -> set[str]:
    """Names that a scrape may have, those without a sample yet among them."""
    of_all = Metrics()
    of_all.jobs.begin()
    families = {family.name: family.type for family in of_all.registry.collect()}
    names = set()
    for name, kind in families.items():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(kind, ("",))
        names |= {name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_alert_asks_for_metrics_that_the_gateway_has_and_says_what_to_do(path):
    assert rules(path)
    for rule in rules(path):
        asked = set(re.findall(r"\bfpan_\w+", rule["expr"]))
        assert asked, rule["alert"]
        assert asked <= metrics() | {"fpan_drift_psi"}, rule["alert"]  # which is there once there are faces
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert {"summary", "description"} <= rule["annotations"].keys()


def promtool() -> str:
    return shutil.which("promtool") or pytest.skip("promtool (Debian's package prometheus) is not installed")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_prometheus_takes_the_rules(path):
    ended = subprocess.run([promtool(), "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_alerts_on_rollouts_go_off_when_they_should(tmp_path):
    labels = 'model="segm",version="2"'
    series = {
        f'fpan_shadow_agreement_bucket{{{labels},le="0.95"}}': "0+30x60",
        f'fpan_shadow_agreement_bucket{{{labels},le="+Inf"}}': "0+100x60",
        f"fpan_shadow_agreement_count{{{labels}}}": "0+100x60",
        f"fpan_shadow_dropped_total{{{labels}}}": "0+300x60",
        f"fpan_shadow_failed_total{{{labels}}}": "0+0x60",
        'fpan_automatic_rollbacks_total{model="segm",alias="champion",reason="errors"}': "0x30 1x30",
        f"fpan_rollback_unwritten{{{labels}}}": "0x60",
        f"fpan_model_refused{{{labels}}}": "1x60",
    }
    check_alerts(tmp_path, ROLLOUT, series, {"ShadowDisagrees", "VersionTakenBack", "VersionRefused"})


@pytest.mark.parametrize(
    ("up", "writable", "firing"),
    [
        ("1x60", "1x60", set()),
        ("1x20 0x40", "1x20 0x40", {"RedisDoesNotAnswer"}),
        ("1x60", "1x20 0x40", {"RedisTakesNoWrites"}),
    ],
)
def test_the_alerts_on_redis_go_off_when_they_should(tmp_path, up, writable, firing):
    told = (("up", "1x60", up), ("writable", "1x60", writable))
    series = {
        f'fpan_redis_{name}{{role="cache",instance="{number}"}}': values
        for name, *each in told
        for number, values in enumerate(each)
    }
    check_alerts(tmp_path, REDIS, series, firing)


@pytest.mark.parametrize(("one", "other", "fires"), [(1, 1, set()), (1, 0, {"FileNotInUse"})])
def test_one_gateway_with_a_file_of_no_use_is_enough(tmp_path, one, other, fires):
    each = {f'fpan_file_in_use{{file="keys",instance="{i}"}}': f"{value}x60" for i, value in enumerate((one, other))}
    check_alerts(tmp_path, RULES / "files.yml", each, fires)


@pytest.mark.parametrize(
    ("changed", "firing"),
    [
        ({}, set()),
        ({"fpan_jobs_redis_reachable": "1x20 0x40"}, {"JobsRedisDoesNotAnswer"}),
        ({"fpan_jobs_store_reachable": "1x20 0x40"}, {"JobsStoreDoesNotAnswer"}),
        ({"fpan_jobs_redis_noeviction": "0x60"}, {"JobsRedisMayForget"}),
        ({"fpan_worker_gateway_usable": "1x20 0x40"}, {"WorkerCannotUseItsGateway"}),
        ({'fpan_jobs{state="queued"}': "3x60", 'fpan_jobs{state="running"}': "0x60"}, {"JobsWaitAndNobodyRunsThem"}),
        ({'fpan_jobs{state="queued"}': "20+1x60"}, {"JobsPileUp"}),
        ({'fpan_jobs_ended_total{state="failed"}': "0+1x60"}, {"ManyJobsFail"}),
        ({'fpan_job_webhooks_total{outcome="failed"}': "0+2x60"}, {"WebhooksFail"}),
        # The last to be told of many, and one job of a hundred: nobody is woken.
        ({'fpan_job_webhooks_total{outcome="given up"}': "0x30 1x30"}, set()),
        ({'fpan_jobs_ended_total{state="failed"}': "0x30 4x30", 'fpan_jobs_ended_total{state="succeeded"}': "0+9x60"},
         set()),
    ],
)  # fmt: skip
def test_the_alerts_on_jobs_go_off_when_they_should(tmp_path, changed, firing):
    fine = {f"fpan_{name}": "1x60" for name in (
        "jobs_redis_reachable", "jobs_store_reachable", "jobs_redis_noeviction", "worker_gateway_usable"
    )} | {
        'fpan_jobs{state="queued"}': "20x60",
        'fpan_jobs{state="running"}': "1x60",
        'fpan_jobs_ended_total{state="succeeded"}': "0+1x60",
        'fpan_jobs_ended_total{state="failed"}': "0x60",
        'fpan_job_webhooks_total{outcome="delivered"}': "0+1x60",
    }  # fmt: skip
    check_alerts(tmp_path, RULES / "jobs.yml", fine | changed, firing)


def check_alerts(tmp_path: Path, path: Path, series: dict[str, str], firing: set[str]) -> None:
    expected = {name: name in firing for name in (rule["alert"] for rule in rules(path))}
    alerts = [
        {f"count(ALERTS{{alertname='{name}',alertstate='firing'}}) or vector(0)": on} for name, on in expected.items()
    ]
    test = {
        "rule_files": [str(path)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": expr, "eval_time": "40m", "exp_samples": [{"labels": "{}", "value": int(on)}]}
                    for alert in alerts
                    for expr, on in alert.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    told = subprocess.run(
        [promtool(), "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stdout + told.stderr
