"""What TensorRT would take is told without one: of the shipped networks, of what is made of them, and of faults."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from fpan.contract import ModelCard, ModelRepository
from fpan.serve.inference.triton_server.profiles import MODEL_FILE
from fpan.tensorrt.supported import findings, operator_list
from fpan.tensorrt.typed import typed
from onnx import TensorProto, helper, numpy_helper

from tests.support.networks import convolutions, fragile
from tests.support.service import ROOT

SHIPPED = ModelRepository(ROOT / "model_repository")


@pytest.mark.parametrize("card", [*SHIPPED.cards()], ids=lambda card: card.name)
def test_tensorrt_takes_the_shipped_networks_and_their_twins_in_half_precision(card: ModelCard) -> None:
    network = SHIPPED.folder(card.name, card.version) / MODEL_FILE
    for size in card.sizes or (None,):
        assert findings(onnx.load(network), size) == []
        assert findings(typed(network, "fp16"), size) == []


def test_the_list_names_its_version_and_knows_what_there_is_not() -> None:
    known = operator_list()
    assert known.tensorrt.startswith("10.")
    assert known.opsets == (9, 24)
    assert "UINT8" in known.operators["Cast"]
    assert known.operators["Conv"] == {"FP32", "FP16", "BF16"}
    assert not {"QLinearConv", "DynamicQuantizeLinear", "ConvInteger", "MaxUnpool"} & known.operators.keys()


def node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.op_type == kind)


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def add(model: onnx.ModelProto, kind: str, inputs: list[str], domain: str = "", **attributes: object) -> None:
    model.graph.node.append(helper.make_node(kind, inputs, ["more"], domain=domain, **attributes))


def labels_from_int64(model: onnx.ModelProto) -> None:
    last = next(each for each in model.graph.node if each.output[0] == "labels")
    last.input[0] = "classes"


def bytes_inside(model: onnx.ModelProto) -> None:
    add(model, "Transpose", ["images"], perm=[0, 3, 1, 2])


def cubic(model: onnx.ModelProto) -> None:
    node(model, "Resize").attribute[0].s = b"cubic"


def antialias(model: onnx.ModelProto) -> None:
    node(model, "Resize").attribute.append(helper.make_attribute("antialias", 1))


def open_side(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[2].dim_param = "width"


def computed_length(model: onnx.ModelProto) -> None:
    model.CopyFrom(fragile())


def unsigned(model: onnx.ModelProto) -> None:
    add(model, "QuantizeLinear", ["logits", constant(model, "one", np.float32(1))])


def askew(model: onnx.ModelProto) -> None:
    point = constant(model, "point", np.array(3, np.int8))
    add(model, "QuantizeLinear", ["logits", constant(model, "one", np.float32(1)), point])


def many(model: onnx.ModelProto) -> None:
    add(model, "TopK", ["logits", constant(model, "k", np.array([4000]))])
    model.graph.node[-1].output.append("where")


def foreign(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    add(model, "Gelu", ["logits"], domain="com.microsoft")


def unlisted(model: onnx.ModelProto) -> None:
    add(model, "Unique", ["logits"])


def double(model: onnx.ModelProto) -> None:
    add(model, "Cast", ["logits"], to=TensorProto.DOUBLE)
    model.graph.node.append(helper.make_node("Sqrt", ["more"], ["root"]))


def dilated(model: onnx.ModelProto) -> None:
    add(model, "MaxPool", ["logits"], kernel_shape=[2, 2], dilations=[2, 2])


def old(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 8


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (labels_from_int64, "casts between UINT8 and INT64"),
        (bytes_inside, "more is UINT8, which only inputs and outputs of the network may be"),
        (cubic, "mode is cubic"),
        (antialias, "no antialiasing"),
        (open_side, "dimension 2 of images is open: only the batch may be"),
        (computed_length, "is open: only the batch may be"),
        (unsigned, "rounds to UINT8"),
        (askew, "its zero point is not 0"),
        (many, "K is 4000: TensorRT takes less than 3840"),
        (foreign, "TensorRT has no such operator"),
        (unlisted, "Unique more: TensorRT has no such operator"),
        (double, "not DOUBLE"),
        (dilated, "without dilations"),
        (old, "its opset is 8"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_tensorrt_does_not_take_is_found_and_named(fault: Callable[[onnx.ModelProto], None], words: str) -> None:
    model = convolutions()
    assert findings(model) == []
    fault(model)
    assert any(words in found for found in findings(model)), findings(model)
