"""`fpan tree`, with the models that this repository carries."""

from pathlib import Path

import pytest
from fpan.cli._app import app
from fpan.contract import ModelRepository
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
from typer.testing import CliRunner, Result

from tests.support.service import ROOT

REPOSITORY = ROOT / "model_repository"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["tree", *map(str, words)])


def test_the_tree_can_be_carried_away_and_has_what_is_served(tmp_path: Path) -> None:
    result = run(tmp_path / "out", "--model-repository", REPOSITORY, "--max-batch", "4")
    assert result.exit_code == 0, result.output
    assert "detector, segm" in result.output
    repository = ModelRepository(REPOSITORY)
    for name in ("segm", "detector"):
        version = repository.current(name)
        copied = tmp_path / "out" / name / str(version) / "model.onnx"
        assert not copied.is_symlink()
        assert copied.read_bytes() == (repository.folder(name, version) / "model.onnx").read_bytes()
        config = text_format.Parse((tmp_path / "out" / name / "config.pbtxt").read_text(), ModelConfig())
        assert (config.backend, config.max_batch_size) == ("onnxruntime", 4)


def test_the_profile_for_a_gpu_asks_for_tensorrt(tmp_path: Path) -> None:
    assert run(tmp_path, "--profile", "ngc-tensorrt", "--model-repository", REPOSITORY).exit_code == 0
    config = text_format.Parse((tmp_path / "segm/config.pbtxt").read_text(), ModelConfig())
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [each.name for each in accelerators] == ["tensorrt"]


@pytest.mark.parametrize(("option", "known"), [("--profile", "ngc-tensorrt"), ("--runtime", "openvino")])
def test_an_unknown_choice_is_answered_with_those_there_are(tmp_path: Path, option: str, known: str) -> None:
    result = run(tmp_path / "out", option, "warp", "--model-repository", REPOSITORY)
    assert result.exit_code == 2
    assert known in result.output
    assert not (tmp_path / "out").exists()
