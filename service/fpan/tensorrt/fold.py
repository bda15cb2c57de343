"""Batch normalisations folded into the convolutions before them, so that INT8 rounds the weights it computes with.

ONNX Runtime's optimiser folds them too, but it also merges casts: it goes from int64 to uint8 at once, where the
network goes by way of a float, as TensorRT needs it.
"""

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

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
