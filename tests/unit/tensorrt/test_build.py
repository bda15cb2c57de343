"""The way from a network to a plan, with doubles of NVIDIA's two programs: this machine has no GPU.

The double of ``trtexec`` keeps the typed network as its "plan" and computes it with ONNX Runtime. It shows what is
asked of the program, what becomes of its answers, and what happens when it fails; it shows nothing of TensorRT.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fpan.cli._app import app
from fpan.contract import ModelRepository, sha256_of
from fpan.tensorrt import build as build_module
from fpan.tensorrt import trtexec
from fpan.tensorrt.build import Wanted, build, speeds
from fpan.tensorrt.manifest import Manifest, Target
from fpan.tensorrt.pictures import load_pictures
from fpan.tensorrt.plans import Plans
from fpan.tensorrt.trtexec import EngineError, NoTool, Trtexec, gpu, target_at_hand
from PIL import Image
from typer.testing import CliRunner

from tests.support.networks import SIZE, convolutions, pictures, publish
from tests.support.plans import write_plan
from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"

TRTEXEC = """
import os, pathlib, shutil, sys
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
fault = os.environ.get("FAULT", "")
print(os.environ.get("BANNER", "&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b10] # trtexec"), flush=True)
if "saveEngine" in options:
    with open(os.environ["CALLS"], "a") as file:
        print(" ".join(sys.argv[1:]), file=file)
    if fault == "build":
        print("[E] Error[4]: no importer for Frobnicate", file=sys.stderr)
        sys.exit(1)
    if fault != "no plan":
        shutil.copyfile(options["onnx"], options["saveEngine"])
if "useSpinWait" in options:
    batch = options["shapes"].split(":")[1].split("x")[0]
    print("[I] Throughput: 250.5 qps")
    print("[I] H2D Latency: min = 0.1 ms, max = 1 ms, mean = 0.2 ms, median = 0.2 ms, percentile(99%) = 1 ms")
    if fault != "no speed":
        print(f"[I] Latency: min = 1 ms, max = 9 ms, mean = 3 ms, median = {batch}.25 ms, percentile(90%) = 4 ms, "
              "percentile(95%) = 5 ms, percentile(99%) = 8.5 ms")
elif "loadEngine" in options:
    import numpy, onnxruntime
    session = onnxruntime.InferenceSession(options["loadEngine"], providers=["CPUExecutionProvider"])
    name, file = options["loadInputs"].split(":")
    shape = [int(size) for size in options["shapes"].split(":")[1].split("x")]
    images = numpy.fromfile(file, numpy.uint8).reshape(shape)
    for output in session.get_outputs():
        values = session.run([output.name], {name: images})[0]
        if fault == "wrong" and output.name == "labels":
            values = (values + (numpy.arange(values.size) % 100 == 0).reshape(values.shape)).astype(numpy.uint8)
        if fault != "no output":
            size = ".".join(map(str, values.shape))
            values.tofile(f"{output.name}.output.{size}.{'UInt8' if values.dtype == numpy.uint8 else 'Float'}.raw")
"""
NVIDIA_SMI = "import os\nprint(os.environ.get('GPUS', 'NVIDIA L4, 8.9, 580.95.05\\nNVIDIA L4, 8.9, 580.95.05'))\n"


def program(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the doubles, on the PATH alone; returns the file of the builds that were asked for."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs, "trtexec", TRTEXEC)
    program(programs, "nvidia-smi", NVIDIA_SMI)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    card = publish(tmp_path / "models", "segm", convolutions())
    return Wanted(ModelRepository(tmp_path / "models"), card, "fp16")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    return tmp_path / "plans"


def made(wanted: Wanted, plans: Path, count: int = 2) -> Manifest:
    return build(wanted, pictures(count), plans, lambda line: None)


def test_a_plan_is_measured_with_the_batches_it_was_built_for(
    machine: Path, wanted: Wanted, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(wanted, plans)
    assert [(each.batch, each.median_ms, each.p99_ms, each.pictures_per_s) for each in speeds(wanted, plans)] == [
        *((1, 1.25, 8.5, 250.5), (8, 8.25, 8.5, 2004), (32, 32.25, 8.5, 8016))
    ]
    assert speeds(wanted, plans)[0].told == "batch of 1: median 1.25 ms, 99 % within 8.50 ms, 250 pictures/s"
    monkeypatch.setenv("FAULT", "no speed")
    with pytest.raises(EngineError, match="does not tell how fast"):
        speeds(wanted, plans)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_built_compared_and_written_down(machine: Path, wanted: Wanted, plans: Path) -> None:
    manifest = made(wanted, plans, 10)  # more than one batch
    assert manifest.target == Target(tensorrt="10.16.2.10", gpu="NVIDIA L4")
    assert (manifest.compute_capability, manifest.driver) == ("8.9", "580.95.05")
    assert manifest.network == wanted.card.sha256
    assert manifest.agreement >= 0.995
    assert manifest.pictures == 10
    plan = Plans(plans, manifest.target).find(wanted.card, max_batch=32)
    assert everything(plans).keys() == {str(p.relative_to(plans)) for p in (plan, plan.with_name("manifest.json"))}
    assert sha256_of(plan) == manifest.plan
    assert Manifest.model_validate_json(plan.with_name("manifest.json").read_bytes()) == manifest

    asked = machine.read_text().split()
    for bound, batch in (("min", 1), ("opt", 8), ("max", 32)):
        assert f"--{bound}Shapes=images:{batch}x{SIZE}x{SIZE}x3" in asked
    assert "--stronglyTyped" in asked
    assert not {"--fp16", "--int8", "--best"} & set(asked)  # gone in TensorRT 11
    kinds = {each.data_type for each in onnx.load(plan).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_int8_is_calibrated_with_the_same_pictures_and_lies_beside(
    machine: Path, wanted: Wanted, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "MIN_AGREEMENT", 0.9)  # noise and random weights are at odds with INT8
    write_plan(plans, wanted.card)
    manifest = made(Wanted(wanted.repository, wanted.card, "int8"), plans)
    assert manifest.precision == "int8"
    int8 = Plans(plans, manifest.target, "int8").find(wanted.card, 8)
    assert int8 != Plans(plans, manifest.target, "fp16").find(wanted.card, 8)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(int8).graph.node}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("build", "no importer for Frobnicate"),
        ("no plan", "wrote no plan"),
        ("no output", "gave no output labels"),
        ("wrong", "it is not kept"),
    ],
)
def test_a_build_that_fails_or_disagrees_leaves_what_was_there(
    machine: Path, wanted: Wanted, plans: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    write_plan(plans, wanted.card)
    before = everything(plans)
    monkeypatch.setenv("FAULT", fault)
    with pytest.raises(EngineError, match=words):
        made(wanted, plans)
    assert everything(plans) == before


def test_a_new_plan_replaces_the_old_one_of_its_place(machine: Path, wanted: Wanted, plans: Path) -> None:
    write_plan(plans, wanted.card)
    manifest = made(wanted, plans, 3)
    assert len(everything(plans)) == 2
    [written] = plans.rglob("manifest.json")
    assert json.loads(written.read_text())["pictures"] == manifest.pictures == 3


def test_a_network_that_tensorrt_does_not_take_is_not_even_tried(machine: Path, tmp_path: Path, plans: Path) -> None:
    model = convolutions()
    next(node for node in model.graph.node if node.op_type == "Resize").attribute[0].s = b"cubic"
    card = publish(tmp_path / "cubic", "segm", model)
    with pytest.raises(EngineError, match="mode is cubic"):
        made(Wanted(ModelRepository(tmp_path / "cubic"), card, "fp16"), plans)
    assert not machine.exists()
    assert not plans.exists()


def test_without_nvidias_programs_it_says_which_is_missing(
    machine: Path, wanted: Wanted, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trtexec, "_IN_IMAGE", plans)
    (machine.parent / "programs/nvidia-smi").unlink()
    assert target_at_hand() is None
    with pytest.raises(NoTool, match="no GPU"):
        made(wanted, plans)
    (machine.parent / "programs/trtexec").unlink()
    with pytest.raises(NoTool, match="no trtexec"):
        made(wanted, plans)
    assert not plans.exists()


@pytest.mark.parametrize(
    ("gpus", "words"),
    [("NVIDIA L4, 8.9, 580\nNVIDIA T4, 7.5, 580", "L4.*T4"), ("", "none"), ("no devices", "no name")],
    ids=["two types", "none", "nonsense"],
)
def test_one_type_of_gpu_is_needed(machine: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, words: str) -> None:
    monkeypatch.setenv("GPUS", gpus)
    with pytest.raises(EngineError, match=words):
        gpu()


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("[TensorRT v101602] [b10]", "10.16.2.10"),
        ("[TensorRT v100800]", "10.8.0"),
        ("[TensorRT v110401] [b7]", "11.4.1.7"),
    ],
)
def test_the_version_is_read_from_the_banner(
    machine: Path, monkeypatch: pytest.MonkeyPatch, banner: str, version: str
) -> None:
    monkeypatch.setenv("BANNER", f"&&&& RUNNING TensorRT.trtexec {banner} # trtexec --help")
    assert Trtexec.find().version() == version


@pytest.mark.parametrize("banner", ["hello", "&&&& RUNNING TensorRT.trtexec [TensorRT v8602]"])
def test_a_program_that_does_not_tell_a_version_from_10_on_is_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch, banner: str
) -> None:
    monkeypatch.setenv("BANNER", banner)
    with pytest.raises(EngineError, match="does not tell"):
        Trtexec.find().version()


def test_pictures_come_from_the_version_an_archive_or_a_folder(wanted: Wanted, tmp_path: Path) -> None:
    images = pictures(3)
    np.savez(tmp_path / "golden.npz", images=images, labels=images[..., 0])
    folder = tmp_path / "crops"
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("no picture")
    for source, version in ((None, tmp_path), (tmp_path / "golden.npz", folder), (folder, folder)):
        np.testing.assert_array_equal(load_pictures(source, version, wanted.card), images)


def test_pictures_that_are_missing_or_do_not_fit_are_refused(wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"carries no golden\.npz.*--pictures"):
        load_pictures(None, tmp_path, wanted.card)
    with pytest.raises(EngineError, match="there is no"):
        load_pictures(tmp_path / "nowhere", tmp_path, wanted.card)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineError, match="no picture in"):
        load_pictures(tmp_path / "empty", tmp_path, wanted.card)
    for bad in (
        {"images": pictures(2, size=16)},
        {"images": np.zeros((0, SIZE, SIZE, 3), np.uint8)},
        {"x": pictures(1)},
    ):
        np.savez(tmp_path / "bad.npz", **bad)
        with pytest.raises(EngineError, match="images"):
            load_pictures(tmp_path / "bad.npz", tmp_path, wanted.card)
    (tmp_path / "torn.npz").write_bytes(b"PK")
    with pytest.raises(EngineError, match="no pictures"):
        load_pictures(tmp_path / "torn.npz", tmp_path, wanted.card)
    Image.new("RGB", (20, 10)).save(tmp_path / "empty/wide.png")
    with pytest.raises(EngineError, match="square"):
        load_pictures(tmp_path / "empty", tmp_path, wanted.card)


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, words)))
    return result.exit_code, result.output


def test_the_command_builds_and_the_tree_takes_the_plan(
    machine: Path, wanted: Wanted, plans: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "crops.npz"
    np.savez(archive, images=pictures(4))
    shared = ("--plans", plans, "--model-repository", wanted.repository.root)
    code, said = run("engine", "segm", "--pictures", archive, *shared)
    assert code == 0, said
    assert "FP16 plan for NVIDIA L4 and TensorRT 10.16.2.10" in said
    [plan] = plans.rglob("model.plan")

    shutil.copytree(SHIPPED / "detector", wanted.repository.root / "detector")
    tree = tmp_path / "tree"
    assert run("tree", tree, "--profile", "ngc-tensorrt", *shared)[0] == 0
    assert (tree / "segm/1/model.plan").read_bytes() == plan.read_bytes()
    assert 'platform: "tensorrt_plan"' in (tree / "segm/config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in (tree / "detector/config.pbtxt").read_text()
    assert run("tree", tree, "--profile", "ngc-tensorrt", *shared, "--gpu", "NVIDIA H200")[0] == 0
    assert 'backend: "onnxruntime"' in (tree / "segm/config.pbtxt").read_text()
    assert not list(tree.rglob("model.plan"))


def test_the_command_tells_without_a_gpu_what_can_be_told(wanted: Wanted, tmp_path: Path) -> None:
    repository = ("--model-repository", wanted.repository.root)
    code, said = run("engine", "segm", "--check", *repository)
    assert code == 0
    assert "takes its operators, types and shapes" in said
    assert "golden.npz" in said
    np.savez(tmp_path / "crops.npz", images=pictures(2))
    code, said = run("engine", "segm", "--check", "--pictures", tmp_path / "crops.npz", *repository)
    assert code == 0
    assert "of the labels of 2 pictures stay the same" in said


def test_the_command_says_what_is_wrong_and_fails(machine: Path, wanted: Wanted, tmp_path: Path) -> None:
    code, said = run("engine", "segm", "--model-repository", wanted.repository.root)
    assert code == 1
    assert "carries no golden.npz" in said
    assert run("engine", "se:gm")[0] == 2
