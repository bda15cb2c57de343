"""The forms of a network file: weights once, in half precision; pairs of quantisation, and without them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from fpan.contract.network import full, halved, quantised_nodes, unquantised, whole

from tests.support.networks import Arrays, convolutions, in_int8, pictures

ALL = ["labels", "confidence", "logits"]


def run(model: onnx.ModelProto, images: np.ndarray) -> Arrays:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(ALL, session.run(ALL, {"images": images}), strict=True))


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    model = convolutions(width=32)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="module")
def paired(plain: onnx.ModelProto) -> onnx.ModelProto:
    return in_int8(plain)


def test_halved_weights_are_half_as_large_and_computed_in_float32(plain: onnx.ModelProto) -> None:
    small, images = halved(plain), pictures(2)
    onnx.checker.check_model(small, full_check=True)
    assert small.ByteSize() < 0.7 * plain.ByteSize()
    halves = {each.name for each in small.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16}
    assert halves == {"w0_half", "w1_half"}
    rounded = whole(small)
    assert [node.op_type for node in rounded.graph.node] == [node.op_type for node in plain.graph.node]
    expected, found, again = (run(each, images) for each in (plain, small, rounded))
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.01 * np.abs(expected["logits"]).max())
    np.testing.assert_array_equal(found["logits"], again["logits"])


def test_what_does_not_fit_into_half_precision_is_refused(plain: onnx.ModelProto) -> None:
    large = onnx.ModelProto()
    large.CopyFrom(plain)
    [weights] = [each for each in large.graph.initializer if each.name == "w0"]
    weights.CopyFrom(onnx.numpy_helper.from_array(1e6 * onnx.numpy_helper.to_array(weights), "w0"))
    with pytest.raises(ValueError, match="the weights w0 do not fit"):
        halved(large)


def test_without_its_pairs_a_version_in_int8_is_the_network_in_float32_again(
    plain: onnx.ModelProto, paired: onnx.ModelProto
) -> None:
    onnx.checker.check_model(paired, full_check=True)
    assert len(quantised_nodes(paired)) == 2
    assert paired.ByteSize() < plain.ByteSize()
    images = pictures(2)
    again = full(paired)
    assert not quantised_nodes(again)
    assert {"QuantizeLinear", "DequantizeLinear"}.isdisjoint(node.op_type for node in again.graph.node)
    np.testing.assert_array_equal(run(again, images)["logits"], run(whole(halved(plain)), images)["logits"])
    assert np.abs(run(paired, images)["logits"] - run(again, images)["logits"]).max() > 0


def test_nodes_that_are_named_are_left_in_float_with_what_they_give(paired: onnx.ModelProto) -> None:
    first, last = quantised_nodes(paired)
    free = unquantised(paired, [last])
    onnx.checker.check_model(free, full_check=True)
    assert quantised_nodes(free) == [first]
    assert run(free, pictures(1)).keys() == set(ALL)
    makers = {name: node.op_type for node in free.graph.node for name in node.output}
    assert makers["logits"] == "Conv"
    assert not quantised_nodes(unquantised(free, [first]))
