"""A network as TensorRT is to compute it: a strongly typed graph, whose tensors' types say the precision.

This is the way that lasts. Precision by flags, per-layer precision and implicit INT8 calibration are deprecated since
TensorRT 10.1 (calibrators) and 10.12 (weakly typed networks), and gone in 11 (NVIDIA, "Migrating from TensorRT 10.x to
11.x"). And it can be tried without a GPU: ONNX Runtime computes the same graph.

Where a picture comes in and where labels come out stays in FP32: the normalisation, and all behind the last
convolution, the mean over both sides, the upsampling, softmax and argmax among it.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from fpan.contract.network import full
from fpan.tensorrt.manifest import Precision

_EPSILON = 1e-5
"""ONNX's own, where a node names none."""


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the network in which each convolution that feeds one batch normalisation alone has taken it in.

    A convolution's weights are (channels, ...); they and the normalisation's four vectors must be constants.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    constants = {each.name: each for each in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(each.name for each in graph.output)
    makers = {name: node for node in graph.node for name in node.output}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or uses[norm.input[0]] > 1:
            continue
        if not {*conv.input[1:], *norm.input[1:]} <= constants.keys():
            continue
        weights, *bias = (numpy_helper.to_array(constants[name]) for name in conv.input[1:])
        scale, shift = _affine(norm, constants)
        made = {
            f"{norm.output[0]}_weights": weights * scale.reshape(-1, *[1] * (weights.ndim - 1)),
            f"{norm.output[0]}_bias": (bias[0] if bias else 0) * scale + shift,
        }
        for name, value in made.items():
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        conv.input[1:] = list(made)
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    return folded


def _affine(
    norm: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factor and summand of each channel."""
    scale, shift, mean, variance = (
        numpy_helper.to_array(constants[name]).astype(np.float64) for name in norm.input[1:5]
    )
    epsilon = next((helper.get_attribute_value(each) for each in norm.attribute if each.name == "epsilon"), _EPSILON)
    factor = scale / np.sqrt(variance + epsilon)
    return factor, shift - mean * factor


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that a low precision pays for."""
_ALWAYS_FULL = frozenset({"Softmax", "LogSoftmax"})
"""Operators that stay in FP32 between two of those, too."""
_FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that ONNX wants in FP32 whatever the others are: the region and the scales."""


def typed(network: Path, precision: Precision, pictures: NDArray[np.uint8] | None = None) -> onnx.ModelProto:
    """The network in a precision, with the same inputs and outputs; one that is served in int8 in float32 first.

    Args:
        network: the ONNX file.
        precision: ``fp16``: the convolutions and what is between them in FP16. ``int8``: the inputs and weights of the
            convolutions in INT8 (symmetric, weights by channel), the rest in FP32.
        pictures: what ``int8`` is calibrated with, uint8 (N, S, S, 3).

    Raises:
        ValueError: there are no pictures to calibrate ``int8`` with.
    """
    model = fold(full(onnx.load(network)))
    if precision == "fp16":
        return _half(model)
    if pictures is None:
        raise ValueError("INT8 needs pictures to be calibrated with")
    return _quantised(model, pictures)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Pictures one by one."""

    def __init__(self, name: str, pictures: NDArray[np.uint8]) -> None:
        self._inputs: Iterator[dict[str, NDArray[np.uint8]]] = ({name: each[None]} for each in pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next picture as a batch of one; None behind the last."""
        return next(self._inputs, None)


def _quantised(model: onnx.ModelProto, pictures: NDArray[np.uint8]) -> onnx.ModelProto:
    add_pre_process_metadata(model)
    with tempfile.TemporaryDirectory(prefix="fpan-engine-") as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Reader(model.graph.input[0].name, pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                # As TensorRT wants it: zero points of zero, biases left alone, weights in FP32 behind a pair of their
                # own; and no rounding of a convolution's output, which the next one's input is rounded from anyway.
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": True,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
                "QDQKeepRemovableActivations": True,
            },
        )
        return onnx.load(path)


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    writer = _HalfWriter(model)
    for index, node in enumerate(model.graph.node):
        writer.copy(node, half=index in writer.body)
    graph = helper.make_graph(
        writer.nodes, model.graph.name, model.graph.input, model.graph.output, writer.used_constants()
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(made, full_check=True)
    return made


class _HalfWriter:
    """Copies a graph's nodes in order, with casts where FP16 and FP32 meet: one for each tensor and direction."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.body = _between(model.graph)
        self._outputs = {each.name for each in model.graph.output}
        self._constants = {each.name: each for each in model.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._floats = {
            value.name
            for values in (inferred.value_info, inferred.input, inferred.output)
            for value in values
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        } | {name for name, each in self._constants.items() if each.data_type == TensorProto.FLOAT}
        self._half: set[str] = set()
        """Tensors that are FP16 under their own name."""
        self._cast: dict[str, str] = {}
        """Tensor -> its twin in the other precision."""

    def copy(self, source: onnx.NodeProto, *, half: bool) -> None:
        """Appends a node that computes in FP16 or in FP32."""
        node = onnx.NodeProto()
        node.CopyFrom(source)
        fixed = _FLOAT_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name in self._floats:
                node.input[index] = self._as(name, half=half and index not in fixed)
        for attribute in node.attribute:
            if half and node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        self.nodes.append(node)
        for index, name in enumerate(node.output if half else ()):
            if name not in self._floats:
                continue
            if name in self._outputs:
                node.output[index] = f"{name}_half"
                self._add_cast(f"{name}_half", name, TensorProto.FLOAT)
                self._cast[name] = f"{name}_half"
            else:
                self._half.add(name)

    def used_constants(self) -> list[TensorProto]:
        """The constants that the nodes take."""
        used = {name for node in self.nodes for name in node.input}
        return [each for name, each in self._constants.items() if name in used]

    def _as(self, name: str, *, half: bool) -> str:
        if half == (name in self._half):
            return name
        if name not in self._cast:
            twin = f"{name}_half" if half else f"{name}_full"
            self._cast[name] = twin
            if name in self._constants:
                value = numpy_helper.to_array(self._constants[name]).astype(np.float16)
                self._constants[twin] = numpy_helper.from_array(value, twin)
            else:
                self._add_cast(name, twin, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        return self._cast[name]

    def _add_cast(self, name: str, into: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [name], [into], name=f"cast_{into}", to=to))


def _between(graph: Any) -> set[int]:
    """Positions of the nodes from the first to the last convolution on each path, but those that stay in FP32."""
    behind = _reached(graph.node, lambda node: node.input, lambda node: node.output, range(len(graph.node)))
    before = _reached(graph.node, lambda node: node.output, lambda node: node.input, range(len(graph.node))[::-1])
    return {index for index in behind & before if graph.node[index].op_type not in _ALWAYS_FULL}


def _reached(nodes: Any, comes: Any, goes: Any, order: range) -> set[int]:
    """Positions of the convolutions and of what they reach, walking the graph in an order."""
    tensors: set[str] = set()
    found = set()
    for index in order:
        node = nodes[index]
        if node.op_type in _WEIGHTED or tensors & set(comes(node)):
            found.add(index)
            tensors |= set(goes(node)) - {""}
    return found
