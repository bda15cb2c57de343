"""The Kubernetes training job, against the schemas of Kubernetes and of JobSet."""

import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fpan_training import cli
from fpan_training.modules.segm.train import SegmTraining
from kubeflow_trainer_api.models import JobsetV1alpha2JobSet
from torch.distributed.run import get_args_parser

from tests.support.service import ROOT

_FOLDER = ROOT / "k8s/training"
_KUBERNETES = "1.34"


def _read(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((_FOLDER / name).read_text())
    return read


@pytest.fixture(scope="module")
def jobset() -> dict[str, Any]:
    return _read("jobset.yaml")


@pytest.fixture(scope="module")
def job(jobset: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "worker"},
        "spec": jobset["spec"]["replicatedJobs"][0]["template"]["spec"],
    }


def test_the_job_set_is_what_its_controller_reads(jobset: dict[str, Any]) -> None:
    parsed = JobsetV1alpha2JobSet.from_dict(jobset)
    assert parsed is not None
    spec = parsed.to_dict()["spec"]
    # A field that the schema does not know would be lost.
    assert spec["failurePolicy"] == jobset["spec"]["failurePolicy"]
    assert spec["network"] == jobset["spec"]["network"]
    assert [jobs.keys() for jobs in spec["replicatedJobs"]] == [jobset["spec"]["replicatedJobs"][0].keys()]


def test_the_objects_inside_pass_the_schema_of_kubernetes(job: dict[str, Any]) -> None:
    kubernetes_validate.validate(job, _KUBERNETES, strict=True)
    kubernetes_validate.validate(_read("runs.yaml"), _KUBERNETES, strict=True)


def test_a_field_that_does_not_exist_is_found(job: dict[str, Any]) -> None:
    broken = {**job, "spec": {**job["spec"], "no_such_field": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, _KUBERNETES, strict=True)


def test_the_command_is_one_that_the_program_takes(jobset: dict[str, Any], job: dict[str, Any]) -> None:
    container = job["spec"]["template"]["spec"]["containers"][0]
    words = shlex.split(" ".join(container["command"]))
    assert words[0] == "torchrun"
    given = get_args_parser().parse_args(words[1:])
    assert given.module
    assert given.training_script == "fpan_training.cli"
    training = cli.read(given.training_script_args)
    assert isinstance(training, SegmTraining)
    assert training.run == Path("/runs/segm")
    machines = job["spec"]["parallelism"]
    assert f"--nnodes={machines}" in words
    assert job["spec"]["completions"] == machines
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in words
    assert training.settings.loop.batch_size % machines == 0
    first = f"{jobset['metadata']['name']}-workers-0-0.{jobset['metadata']['name']}"
    assert f"--rdzv-endpoint={first}:29500" in words


def test_nothing_runs_as_root_or_writes_to_its_own_file_system(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
