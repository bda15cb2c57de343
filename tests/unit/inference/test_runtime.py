"""The runtimes: both compute the same, and nothing that nobody asked for."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import openvino
import pytest
from fpan.serve.inference.backends.runtime import Network, RuntimeName, version_of

from tests.support.networks import convolutions, echo, echoed, fragile, pictures

ALL = ["labels", "confidence", "logits"]


FIRST_BATCH = """
import sys
from pathlib import Path
import numpy as np
from fpan.serve.inference.backends.runtime import Network

sys.setswitchinterval(1e-6)  # threads meet where they seldom do
network = Network(Path(sys.argv[1]), sys.argv[2], threads=4)
print(network.run({"images": np.load(sys.argv[3])}, ["labels"])["labels"].shape)
"""


@pytest.fixture(params=get_args(RuntimeName))
def runtime(request: pytest.FixtureRequest) -> RuntimeName:
    return request.param


def network(model: onnx.ModelProto, folder: Path, runtime: RuntimeName, threads: int = 1, streams: int = 1) -> Network:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return Network(path, runtime, threads, streams)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_pixel_of_every_picture_goes_in_and_comes_out(tmp_path: Path, runtime: RuntimeName, count: int) -> None:
    images = pictures(count)
    outputs = network(echo(), tmp_path, runtime).run({"images": images}, ALL)
    for name, expected in echoed(images).items():
        np.testing.assert_array_equal(outputs[name], expected)
        assert outputs[name].dtype == expected.dtype


@pytest.mark.parametrize("threads", [1, 2])
def test_what_only_an_unwanted_output_needs_is_not_computed(tmp_path: Path, runtime: RuntimeName, threads: int) -> None:
    net = network(fragile(), tmp_path, runtime, threads)
    images = pictures(2)
    outputs = net.run({"images": images}, ["labels", "confidence"])
    assert outputs.keys() == {"labels", "confidence"}
    np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])
    with pytest.raises(Exception, match=r"MatMul|shape"):
        net.run({"images": images}, ALL)


def test_bf16_is_computed_where_it_is_asked_for_alone(tmp_path: Path, runtime: RuntimeName) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(convolutions(), path)
    images = {"images": pictures(1)}
    plain, full, half = (
        Network(path, runtime, 1, precision=precision).run(images, ["logits"])["logits"]
        for precision in ("fp32", "int8", "bf16")
    )
    np.testing.assert_array_equal(plain, full)  # int8 is written into a graph, and this one has none
    has = runtime == "openvino" and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert (np.abs(plain - half).max() > 0) == has
    np.testing.assert_allclose(half, plain, atol=0.05 * np.abs(plain).max())


def test_results_are_not_overwritten_by_the_next_run(tmp_path: Path, runtime: RuntimeName) -> None:
    net = network(echo(), tmp_path, runtime)
    first = net.run({"images": pictures(1, seed=1)}, ALL)
    net.run({"images": pictures(1, seed=2)}, ALL)
    for name, expected in echoed(pictures(1, seed=1)).items():
        np.testing.assert_array_equal(first[name], expected)
        assert first[name].flags.writeable
        assert first[name].flags.c_contiguous


def test_runs_at_the_same_time_do_not_mix(tmp_path: Path, runtime: RuntimeName) -> None:
    net = network(echo(), tmp_path, runtime, streams=2)
    batches = [pictures(3, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda images: net.run({"images": images}, ["labels", "logits"]), batches))
    for images, outputs in zip(batches, results, strict=True):
        np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])
        np.testing.assert_array_equal(outputs["logits"], echoed(images)["logits"])


def test_an_item_does_not_depend_on_its_company(tmp_path: Path, runtime: RuntimeName) -> None:
    net = network(convolutions(), tmp_path, runtime)
    images = pictures(4)
    together = net.run({"images": images}, ["labels"])["labels"]
    alone = np.concatenate([net.run({"images": images[i : i + 1]}, ["labels"])["labels"] for i in range(4)])
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together)) > 2


def test_both_runtimes_agree(tmp_path: Path) -> None:
    images = pictures(4)
    a, b = (network(convolutions(), tmp_path, name).run({"images": images}, ALL) for name in get_args(RuntimeName))
    assert (a["labels"] == b["labels"]).mean() > 0.999
    np.testing.assert_allclose(a["logits"], b["logits"], atol=1e-4)
    assert np.abs(a["confidence"].astype(int) - b["confidence"]).max() <= 1


def test_an_unknown_output_is_named(tmp_path: Path, runtime: RuntimeName) -> None:
    net = network(echo(), tmp_path, runtime)
    with pytest.raises(KeyError, match="depth"):
        net.run({"images": pictures(1)}, ["labels", "depth"])


def test_version_names_the_runtime(runtime: RuntimeName) -> None:
    assert version_of(runtime).split()[0] in {"ONNX", "OpenVINO"}


def test_the_first_batch_of_a_process_may_have_many_items(tmp_path: Path, runtime: RuntimeName) -> None:
    """OpenVINO's first use of a type by two threads at once hangs the process, and nothing tells."""
    onnx.save(echo(), tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", pictures(8))
    command = [sys.executable, "-c", FIRST_BATCH, tmp_path / "model.onnx", runtime, tmp_path / "images.npy"]
    for _ in range(3):
        first = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert first.returncode == 0, first.stderr
        assert first.stdout.startswith("(8,")
