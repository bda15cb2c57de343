"""The typed networks: what is in which precision, and that they say what the network says."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from fpan.contract import ModelRepository
from fpan.serve.inference.triton_server.profiles import MODEL_FILE
from fpan.tensorrt.supported import findings
from fpan.tensorrt.typed import fold, typed
from onnx import TensorProto, helper, numpy_helper

from tests.support.networks import CLASSES, convolutions, pictures
from tests.support.service import ROOT

SHIPPED = ModelRepository(ROOT / "model_repository")
SEGM = SHIPPED.folder("segm", SHIPPED.current("segm")) / MODEL_FILE
HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return found | {each.name: each.data_type for each in graph.initializer}


def run(model: onnx.ModelProto | Path, images: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The astronaut's face, as large in its square as in a crop."""
    photo = cv2.cvtColor(cv2.imread(str(ROOT / "docs/astronaut.jpg")), cv2.COLOR_BGR2RGB)
    side = SHIPPED.card("segm", SHIPPED.current("segm")).input_size
    return cv2.resize(photo[0:256, 96:352], (side, side))[None]


def test_in_half_precision_convolutions_are_half_and_what_decides_labels_is_not() -> None:
    model = typed(SEGM, "fp16")
    kinds = types(model)
    by_kind = {
        kind: [n for n in model.graph.node if n.op_type == kind] for kind in {n.op_type for n in model.graph.node}
    }
    for node in by_kind["Conv"]:
        assert {kinds[name] for name in (*node.input, *node.output)} == {HALF}
    for kind in ("Softmax", "ArgMax", "ReduceMax", "Div"):
        assert {kinds[node.input[0]] for node in by_kind[kind]} == {FULL}
    last = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    resizes = {i > last: kinds[node.input[0]] for i, node in enumerate(model.graph.node) if node.op_type == "Resize"}
    assert resizes == {False: HALF, True: FULL}
    assert "BatchNormalization" not in by_kind
    # One cast into the body for each way in (the crop and its mirror image), one out of it for each side.
    assert [node.op_type for node in model.graph.node].count("Cast") == 4 + 4


def test_in_half_precision_the_shipped_network_gives_the_same_labels(face: np.ndarray) -> None:
    expected, got = run(SEGM, face), run(typed(SEGM, "fp16"), face)
    assert len(np.unique(expected["labels"])) > 5
    assert (expected["labels"] == got["labels"]).mean() > 0.999
    assert np.abs(expected["logits"] - got["logits"]).max() > 0  # it is another precision indeed
    assert got["logits"].dtype == np.float32


def test_int8_rounds_convolutions_alone_and_symmetrically(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(convolutions(), path)
    images = pictures(4)
    model = typed(path, "int8", images)
    assert findings(model) == []
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 2
    for conv in convs:
        for name in conv.input[:2]:
            pair = [makers[name], makers[makers[name].input[0]]]
            assert [node.op_type for node in pair] == ["DequantizeLinear", "QuantizeLinear"]
            assert {constants[node.input[2]].dtype.name for node in pair} == {"int8"}
            assert not any(constants[node.input[2]].any() for node in pair)
        assert constants[makers[conv.input[1]].input[1]].size == {"w0": 8}.get(conv.input[1][:2], CLASSES) or 8
    expected, got = run(path, images), run(model, images)
    assert (expected["labels"] == got["labels"]).mean() > 0.9
    assert np.abs(expected["logits"] - got["logits"]).max() > 0


def test_int8_needs_pictures() -> None:
    with pytest.raises(ValueError, match="pictures"):
        typed(SEGM, "int8")


@pytest.mark.parametrize("bias", [False, True])
def test_folding_a_normalisation_changes_nothing_but_rounding(bias: bool) -> None:
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(5, 3, 3, 3)),
        "b": rng.normal(size=5),
        **{name: rng.uniform(0.5, 2, 5) for name in ("scale", "shift", "mean", "variance")},
    }
    conv = ["x", "w", "b"] if bias else ["x", "w"]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", conv, ["y"], pads=[1] * 4),
            helper.make_node("BatchNormalization", ["y", "scale", "shift", "mean", "variance"], ["z"], epsilon=0.1),
            helper.make_node("BatchNormalization", ["x", "m3", "m3", "m3", "m3"], ["alone"]),
        ],
        "norms",
        [helper.make_tensor_value_info("x", FULL, ["batch", 3, 8, 8])],
        [
            helper.make_tensor_value_info("z", FULL, ["batch", 5, 8, 8]),
            helper.make_tensor_value_info("alone", FULL, ["batch", 3, 8, 8]),
        ],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in (constants | {"m3": np.arange(1.0, 4)}).items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folded = fold(model)
    onnx.checker.check_model(folded, full_check=True)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "BatchNormalization"]
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected, got = run(model, x), run(folded, x)
    for name in ("z", "alone"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-5)
