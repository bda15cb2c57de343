"""The settings of the components, composed into one."""

import ast
from pathlib import Path

import fpan
import pytest
from fpan.serve.admission.settings import AdmissionSettings
from fpan.serve.config import Settings
from fpan.serve.jobs.settings import JobSettings
from fpan.serve.main import read_settings
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.rollout.settings import RolloutSettings
from fpan.serve.setting_types import ComponentSettings
from fpan.serve.transport_settings import TransportSettings
from pydantic import ValidationError

FPAN = Path(fpan.__file__).parent
COMPONENTS = [kind for kind in Settings.__bases__ if issubclass(kind, ComponentSettings)]
COMPOSITION_ROOT = ("serve/app.py", "serve/main.py", "serve/worker.py", "cli/")

DISAGREEING = [
    ("max_pixels_in_flight", {"max_pixels": 10**9}, "MAX_PIXELS"),
    ("max_bodies_bytes", {"max_body_bytes": 2**31}, "MAX_BODY_BYTES"),
    ("max_bodies_bytes", {"max_batch_bytes": 2**31}, "MAX_BATCH_BYTES"),
    ("max_bodies_bytes", {"max_job_bytes": 2**31}, "MAX_JOB_BYTES"),
    ("drift_min_faces", {"drift_window_faces": 10, "drift_min_faces": 11}, "DRIFT_WINDOW_FACES"),
    ("jobs_secret", {"redis_jobs_url": "redis://localhost"}, "REDIS_JOBS_URL"),
]
"""The setting that is to be changed, a choice that is refused, and what the error names beside it."""


def test_every_setting_is_of_one_component_and_has_a_help_text():
    names = [name for kind in COMPONENTS for name in kind.model_fields]
    assert sorted(names) == sorted(Settings.model_fields)
    assert len({*names}) == len(names)
    assert all(field.description for field in Settings.model_fields.values())
    assert all(isinstance(Settings(), kind) for kind in COMPONENTS)


def test_nothing_below_the_composition_root_imports_the_composed_settings():
    for path in FPAN.rglob("*.py"):
        imported = [node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        if "fpan.serve.config" in imported:
            assert str(path.relative_to(FPAN)).startswith(COMPOSITION_ROOT), path


@pytest.mark.parametrize(("name", "chosen", "beside"), DISAGREEING)
def test_settings_that_disagree_are_refused_by_the_name_of_the_one_to_change(name, chosen, beside):
    for words in (chosen, dict(reversed(chosen.items()))):
        flags = [word for key, value in words.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        with pytest.raises(SystemExit) as ended:
            read_settings(flags)
        assert str(ended.value).startswith(f"fpan serve: {name.upper()}: Value error, ")
        assert beside in str(ended.value)


@pytest.mark.parametrize(("name", "chosen", "beside"), DISAGREEING)
def test_a_component_checks_its_own_settings_as_all_of_them_together_do(name, chosen, beside):
    kind = next(each for each in COMPONENTS if name in each.model_fields)
    if not chosen.keys() <= kind.model_fields.keys():
        assert issubclass(kind, TransportSettings)  # the other one is of jobs
        return
    with pytest.raises(ValidationError, match=beside) as refused:
        kind(**chosen)
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]


def test_a_setting_that_is_refused_itself_is_compared_with_no_other():
    with pytest.raises(ValidationError) as refused:
        Settings(max_pixels=10**9, max_pixels_in_flight=-1, max_job_bytes=2**40)
    assert [error["loc"] for error in refused.value.errors()] == [("max_pixels_in_flight",)]


@pytest.mark.parametrize("kind", [AdmissionSettings, JobSettings, PipelineSettings, RolloutSettings])
def test_a_component_alone_reads_no_environment(kind, monkeypatch):
    for name in kind.model_fields:
        monkeypatch.setenv(name.upper(), "nonsense")
    assert kind().model_dump() == {name: field.default for name, field in kind.model_fields.items()}
