"""The serving tree: what lies where, and what its configurations say."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fpan.contract import ModelCard, ModelRepository, RepositoryError
from fpan.contract.card import Tensor
from fpan.serve.inference.triton_server import install, tree
from fpan.serve.inference.triton_server.install import supported
from fpan.serve.inference.triton_server.profiles import PROFILES, Profile, ServingOptions, config_of
from fpan.serve.inference.triton_server.tree import put_together
from fpan.tensorrt.manifest import BatchProfile, Manifest, Target
from fpan.tensorrt.plans import NoPlan, Plans
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from tests.support.networks import SIZE, convolutions, echo, publish
from tests.support.plans import TARGET, manifest_of, write_plan


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    root = tmp_path / "models"
    publish(root, "segm", convolutions(), 1)
    publish(root, "segm", echo(), 2)
    publish(root, "detector", echo())
    return ModelRepository(root)


def config(folder: Path, name: str = "segm") -> ModelConfig:
    return text_format.Parse((folder / name / "config.pbtxt").read_text(), ModelConfig())


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_only_chosen_versions_are_in_the_tree_as_links(repository: ModelRepository, tmp_path: Path) -> None:
    into = tmp_path / "tree"
    names = put_together(repository, [("segm", 2), ("detector", 1)], into, ServingOptions("ngc-cpu"))
    assert names == ["detector", "segm"]
    assert files(into) == {
        *("detector/config.pbtxt", "detector/1/model.onnx"),
        *("segm/config.pbtxt", "segm/2/model.onnx"),
    }
    link = into / "segm/2/model.onnx"
    assert link.is_symlink()
    assert link.samefile(repository.folder("segm", 2) / "model.onnx")
    assert list(config(into).version_policy.specific.versions) == [2]


def test_the_embedded_tree_has_its_python_model_beside_every_network(
    repository: ModelRepository, tmp_path: Path
) -> None:
    into = tmp_path / "tree"
    put_together(repository, [("segm", 1), ("segm", 2)], into, ServingOptions(runtime="onnxruntime", threads=3))
    for version in ("1", "2"):
        assert {path.name for path in (into / "segm" / version).iterdir()} == {
            *("model.onnx", "model.py", "fpan_runtime.py")
        }
    written = config(into)
    assert written.backend == "python"
    assert list(written.version_policy.specific.versions) == [1, 2]
    parameters = {name: value.string_value for name, value in written.parameters.items()}
    assert parameters == {
        **{"runtime": "onnxruntime", "threads": "3", "on_demand": "logits", "model_file": "model.onnx"},
        "bf16_versions": "",
        **{f"shapes_{version}": json.dumps([{"images": [SIZE, SIZE, 3]}]) for version in (1, 2)},
    }


def test_versions_in_bf16_are_named_to_the_embedded_server(repository: ModelRepository, tmp_path: Path) -> None:
    cards = [repository.card("segm", 1), repository.card("segm", 2).model_copy(update={"precision": "bf16"})]
    written = text_format.Parse(config_of(cards, ServingOptions()), ModelConfig())
    assert written.parameters["bf16_versions"].string_value == "2"


def test_a_second_tree_in_the_same_folder_leaves_nothing_of_the_first_in_traffic(
    repository: ModelRepository, tmp_path: Path
) -> None:
    into = tmp_path / "tree"
    put_together(repository, [("segm", 1), ("detector", 1)], into, ServingOptions())
    put_together(repository, [("segm", 2)], into, ServingOptions("ngc-cpu"))
    assert {path.name for path in into.iterdir()} == {"segm"}
    assert list(config(into).version_policy.specific.versions) == [2]
    assert config(into).backend == "openvino"


@pytest.mark.parametrize("cause", ["asked for", "links fail"])
def test_files_are_copied_where_asked_for_or_links_fail(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    if cause == "links fail":

        def refuse(self: Path, target: Path) -> None:
            raise OSError("no links on this file system")

        monkeypatch.setattr(tree.Path, "symlink_to", refuse)
    into = tmp_path / "tree"
    put_together(repository, [("segm", 1)], into, ServingOptions(), copy=cause == "asked for")
    copied = into / "segm/1/model.onnx"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (repository.folder("segm", 1) / "model.onnx").read_bytes()
    assert not any(path.is_symlink() for path in into.rglob("*"))


def test_a_changed_or_missing_network_is_refused_and_nothing_is_made(
    repository: ModelRepository, tmp_path: Path
) -> None:
    path = repository.folder("segm", 2) / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RepositoryError, match="changed"):
        put_together(repository, [("detector", 1), ("segm", 2)], tmp_path / "tree", ServingOptions())
    path.unlink()
    with pytest.raises(RepositoryError, match="missing"):
        put_together(repository, [("segm", 2)], tmp_path / "tree", ServingOptions())
    with pytest.raises(RepositoryError, match="missing"):
        put_together(repository, [("segm", 9)], tmp_path / "tree", ServingOptions())
    assert not (tmp_path / "tree").exists()


def test_versions_with_other_tensors_need_another_name(repository: ModelRepository, tmp_path: Path) -> None:
    publish(repository.root, "segm", convolutions(size=64), 3, size=64)
    both = [("segm", 2), ("segm", 3)]
    for profile in ("ngc-cpu", "ngc-tensorrt"):
        with pytest.raises(ValueError, match="segm"):
            put_together(repository, both, tmp_path / "tree", ServingOptions(profile))
    put_together(repository, both, tmp_path / "tree", ServingOptions())  # the embedded server takes several sizes
    written = config(tmp_path / "tree")
    assert list(written.input[0].dims) == [-1, -1, 3]
    assert not written.model_warmup
    cards = [repository.card(*each) for each in both]
    renamed = cards[1].model_copy(update={"outputs": cards[1].outputs[:2]})
    with pytest.raises(ValueError, match="segm"):
        config_of([cards[0], renamed], ServingOptions())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("plan", [False, True])
def test_every_profile_says_the_cards_tensors_batches_and_warms_up(
    repository: ModelRepository, profile: Profile, plan: bool
) -> None:
    card = repository.card("segm", 1)
    options = ServingOptions(profile, "onnxruntime", instances=2, max_batch=4)
    parsed = text_format.Parse(config_of([card], options, plan=plan), ModelConfig())
    assert parsed.name == "segm"
    assert parsed.max_batch_size == 4
    assert [(t.name, t.data_type, list(t.dims)) for t in parsed.input] == [("images", 2, [SIZE, SIZE, 3])]
    assert [t.name for t in parsed.output] == ["labels", "confidence", "logits"]
    assert not parsed.HasField("dynamic_batching")  # see test_a_request_that_follows_upon_an_answer_does_not_lie_about
    assert [sample.batch_size for sample in parsed.model_warmup] == [1, 4]
    assert list(parsed.model_warmup[0].inputs["images"].dims) == [SIZE, SIZE, 3]
    kind = ModelInstanceGroup.KIND_GPU if profile == "ngc-tensorrt" else ModelInstanceGroup.KIND_CPU
    assert [(group.kind, group.count) for group in parsed.instance_group] == [(kind, 2)]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_cpu_container_computes_with_either_runtime(repository: ModelRepository, runtime: str) -> None:
    options = ServingOptions("ngc-cpu", runtime, threads=5)
    parsed = text_format.Parse(config_of([repository.card("segm", 1)], options), ModelConfig())
    assert parsed.backend == runtime
    assert parsed.default_model_filename == "model.onnx"
    assert "5" in {value.string_value for value in parsed.parameters.values()}


def with_plans(repository: ModelRepository, tmp_path: Path, plans: Plans) -> ModelConfig:
    options = ServingOptions("ngc-tensorrt")
    put_together(repository, [("segm", 1), ("segm", 2)], tmp_path / "tree", options, plans=plans)
    return config(tmp_path / "tree")


def test_tensorrt_takes_a_plan_where_every_version_has_one(
    repository: ModelRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plans = Plans(tmp_path / "plans", TARGET)
    write_plan(plans.folder, repository.card("segm", 1))
    written = with_plans(repository, tmp_path, plans)
    assert written.backend == "onnxruntime"
    accelerator = written.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_profile_max_shapes"] == f"images:8x{SIZE}x{SIZE}x3"
    assert "segm version 2: no plan of it is in" in caplog.text

    caplog.clear()
    plan = write_plan(plans.folder, repository.card("segm", 2))
    written = with_plans(repository, tmp_path, plans)
    assert written.platform == "tensorrt_plan"
    assert written.default_model_filename == "model.plan"
    assert (tmp_path / "tree/segm/2/model.plan").samefile(plan)
    assert not caplog.records

    plan.unlink()
    assert with_plans(repository, tmp_path, plans).backend == "onnxruntime"
    assert not list((tmp_path / "tree").rglob("model.plan"))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "0" * 64}, "was built from another network (000000000000, not "),
        ({"target": Target(tensorrt="10.9.0", gpu=TARGET.gpu)}, "was built by TensorRT 10.9.0, not 10.16.2.10"),
        ({"target": Target(tensorrt=TARGET.tensorrt, gpu="NVIDIA H200")}, "was built on NVIDIA H200, not on NVIDIA L4"),
        ({"precision": "int8"}, "is in INT8, not in FP16"),
        ({"inputs": ()}, "takes other inputs than the card says"),
        ({"profile": BatchProfile(max=4)}, "takes batches of 1 to 4, not of 1 to 8"),
        ({"profile": BatchProfile(min=2)}, "takes batches of 2 to 32, not of 1 to 8"),
        ({"plan": "0" * 64}, "was changed after it was built"),
    ],
    ids=["network", "tensorrt", "gpu", "precision", "inputs", "small batches", "no single crop", "plan"],
)
def test_a_plan_whose_manifest_does_not_fit_is_refused_with_one_warning_that_says_what(
    repository: ModelRepository,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, object],
    words: str,
) -> None:
    plans = Plans(tmp_path / "plans", TARGET)
    for version in (1, 2):
        card = repository.card("segm", version)
        write_plan(plans.folder, card, manifest_of(card).model_copy(update=changes if version == 2 else {}))
    written = with_plans(repository, tmp_path, plans)
    assert (written.backend, written.platform) == ("onnxruntime", "")
    assert not list((tmp_path / "tree").rglob("model.plan"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert words in caplog.text
    assert "segm" in caplog.text


def damaged(path: Path) -> None:
    path.write_text("{")


def cut(path: Path) -> None:
    plan = path.with_name("model.plan")
    plan.write_bytes(plan.read_bytes()[:-1])


def gone(path: Path) -> None:
    path.with_name("model.plan").unlink()


@pytest.mark.parametrize(
    ("fault", "words"),
    [(damaged, "is not a plan's manifest"), (cut, "was changed after it was built"), (gone, "lacks its model.plan")],
)
def test_a_damaged_plan_or_manifest_is_refused(
    repository: ModelRepository,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Path], None],
    words: str,
) -> None:
    plans = Plans(tmp_path / "plans", TARGET)
    plan = [write_plan(plans.folder, repository.card("segm", version)) for version in (1, 2)][1]
    fault(plan.with_name("manifest.json"))
    assert with_plans(repository, tmp_path, plans).backend == "onnxruntime"
    assert words in caplog.text


def test_plans_for_a_machine_that_is_not_known_are_not_used(
    repository: ModelRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (1, 2):
        write_plan(tmp_path / "plans", repository.card("segm", version))
    assert with_plans(repository, tmp_path, Plans(tmp_path / "plans", None)).backend == "onnxruntime"
    assert "--tensorrt and --gpu" in caplog.text


def test_of_several_plans_the_one_that_fits_is_taken_and_else_the_closest_is_told(
    repository: ModelRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plans = Plans(tmp_path / "plans", TARGET)
    card = repository.card("segm", 1)
    other = Target(tensorrt="9.1.0", gpu="NVIDIA T4")
    near = Target(tensorrt=TARGET.tensorrt, gpu="NVIDIA L40S")

    def manifests(*targets: Target) -> list[Manifest]:
        return [manifest_of(card).model_copy(update={"target": target}) for target in targets]

    for manifest in manifests(other, near):
        write_plan(plans.folder, card, manifest)
    with pytest.raises(NoPlan) as caught:
        plans.find(card, 8)
    assert "NVIDIA L40S" in str(caught.value)
    assert "NVIDIA T4" not in str(caught.value)
    fitting = write_plan(plans.folder, card, *manifests(TARGET))
    assert plans.find(card, 8) == fitting
    assert not caplog.records


def several_sizes(repository: ModelRepository) -> ModelCard:
    any_size = (Tensor(name="images", dtype="UINT8", shape=(-1, -1, 3)),)
    card = repository.card("detector", 1)
    return card.model_copy(update={"inputs": any_size, "sizes": ((64, 64), (32, 64), (16, 16))})


def test_every_size_is_warmed_up_in_small_and_large_batches(repository: ModelRepository) -> None:
    parsed = text_format.Parse(config_of([several_sizes(repository)], ServingOptions(max_batch=4)), ModelConfig())
    assert list(parsed.input[0].dims) == [-1, -1, 3]
    warmed = {(each.batch_size, *each.inputs["images"].dims) for each in parsed.model_warmup}
    assert warmed == {(n, h, w, 3) for n in (1, 4) for h, w in ((64, 64), (32, 64), (16, 16))}
    assert len({each.name for each in parsed.model_warmup}) == 6


def test_tensorrt_is_told_the_range_of_sizes(repository: ModelRepository) -> None:
    text = config_of([several_sizes(repository)], ServingOptions("ngc-tensorrt", max_batch=4))
    (accelerator,) = text_format.Parse(
        text, ModelConfig()
    ).optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["trt_profile_min_shapes"] == "images:1x16x16x3"
    assert accelerator.parameters["trt_profile_max_shapes"] == "images:4x64x64x3"


def test_openvinos_backend_gets_no_network_of_several_sizes(repository: ModelRepository) -> None:
    options = ServingOptions("ngc-cpu", "openvino")
    backends = {c.name: config_of([c], options) for c in (several_sizes(repository), repository.card("segm", 1))}
    assert 'backend: "onnxruntime"' in backends["detector"]
    assert "intra_op_thread_count" in backends["detector"]
    assert 'backend: "openvino"' in backends["segm"]


@pytest.mark.parametrize(
    ("owner", "name", "value", "word"),
    [
        (install.sys, "platform", "darwin", "Linux"),
        (install.platform, "machine", lambda: "aarch64", "aarch64"),
        (install.platform, "libc_ver", lambda: ("", ""), "GNU C library"),
        (install.platform, "libc_ver", lambda: ("glibc", "2.17"), "2.17"),
        (install, "_WHEEL", "no-such-wheel-of-triton", "not installed"),
        (install, "_PYTHON", "3.99", "3.99"),
        (install, "SHARED_MEMORY", Path("/nowhere"), "/nowhere"),
        (install, "_CANNOT_LOAD", 1, "cannot be loaded"),
    ],
    ids=["macos", "arm", "musl", "old glibc", "no wheel", "no stub", "no shared memory", "library missing"],
)
def test_where_the_embedded_server_cannot_run_one_sentence_says_why(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, value: object, word: str
) -> None:
    assert supported() is None
    monkeypatch.setattr(owner, name, value)
    reason = supported()
    assert reason is not None
    assert word in reason
    assert reason.endswith(".")
    assert "\n" not in reason


def test_the_server_gets_nothing_of_the_gateways_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FPAN_TEST_SECRET", "hush")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    environment = install.Installation.find().environment(tmp_path)
    assert not {"FPAN_TEST_SECRET", "PYTHONHOME"} & environment.keys()
    run = subprocess.run(["env"], env=environment, capture_output=True, text=True, check=True)
    assert "hush" not in run.stdout
    assert os.environ["FPAN_TEST_SECRET"] == "hush"
