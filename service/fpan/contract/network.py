"""The forms of a network file: how ``model.onnx`` keeps its weights, and how other forms are made of it.

Weights stand once, in half precision, each behind a ``Cast`` that the runtimes carry out when they load the file. A
version in int8 has pairs of QuantizeLinear and DequantizeLinear around what it computes in eight bits; its weights are
the same halves, quantised at load. Taking the pairs out gives the network in float32 again, of which bfloat16,
TensorRT's plans, what goes to phones and the checkpoint that training goes on from are made.

Apart from the rest of :mod:`fpan.contract`, since it needs ``onnx``.
"""

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_QUANTISE, _DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
_HALF, _ROUNDED = "_half", "_rounded"
_LEAST = 64
"""Numbers of a weight that is worth a node of its own to be halved."""


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights are float16, cast to float32 by a node each; what is no weight stays as it is.

    Raises:
        ValueError: a weight does not fit into float16.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    wanted = _weights(graph)
    casts = []
    for constant in graph.initializer:
        if constant.name not in wanted or constant.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(constant)
        if value.size < _LEAST:
            continue
        name = constant.name
        if not np.abs(value).max() <= np.finfo(np.float16).max:
            raise ValueError(f"the weights {name} do not fit into half precision")
        constant.CopyFrom(numpy_helper.from_array(value.astype(np.float16), name + _HALF))
        casts.append(helper.make_node("Cast", [name + _HALF], [name], name=f"{name}_full", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return made


def full(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network in float32: without pairs of quantisation, its weights float32 constants under their own names."""
    return whole(unquantised(model))


def whole(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights are float32 constants again: what :func:`halved` did, undone but for the rounding."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = {each.name: each for each in graph.initializer}
    kept = []
    for node in graph.node:
        stored = constants.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is None or stored.data_type != TensorProto.FLOAT16:
            kept.append(node)
            continue
        value = numpy_helper.to_array(stored).astype(np.float32)
        stored.CopyFrom(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return made


def unquantised(model: onnx.ModelProto, nodes: Collection[str] | None = None) -> onnx.ModelProto:
    """A copy in which some nodes, or all, are computed in float32.

    Args:
        model: with pairs of QuantizeLinear and DequantizeLinear.
        nodes: names of the nodes; their inputs and outputs are no longer rounded. None: all, no pair is left.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    makers = {name: node for node in graph.node for name in node.output}
    source = {}
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == _DEQUANTISE else None
        if before is not None and before.op_type == _QUANTISE:
            source[node.output[0]] = before.input[0]

    def free(node: onnx.NodeProto | None) -> bool:
        return nodes is None or (node is not None and node.name in nodes)

    renamed = {}
    for name in (each.name for each in graph.output):
        if name in source and free(makers.get(source[name])):
            renamed[source[name]] = name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in source and (free(node) or free(makers.get(source[name]))):
                node.input[index] = source[name]
    for node in graph.node:
        if node.op_type == _DEQUANTISE and node.output[0] in renamed.values():
            node.output[0] += _ROUNDED  # nobody takes it any more
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)
    _drop_unused(graph)
    return made


def quantised_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions and products that are computed in eight bits."""
    dequantised = {node.output[0] for node in model.graph.node if node.op_type == _DEQUANTISE}
    return [node.name for node in model.graph.node if node.op_type in _WEIGHTED and node.input[0] in dequantised]


def _weights(graph: onnx.GraphProto) -> set[str]:
    """Names of the constants that convolutions and products take, quantised or not."""
    takers = {name: node for node in graph.node for name in node.input}
    found = set()
    for constant in graph.initializer:
        name, node = constant.name, takers.get(constant.name)
        while node is not None and node.op_type in (_QUANTISE, _DEQUANTISE) and node.input[0] == name:
            name, node = node.output[0], takers.get(node.output[0])
        if node is not None and node.op_type in _WEIGHTED and name in node.input[:2]:
            found.add(constant.name)
    return found


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Takes out nodes and constants that no output needs."""
    outputs = {each.name for each in graph.output}
    while True:
        uses = Counter(name for node in graph.node for name in node.input)
        kept = [node for node in graph.node if any(name in uses or name in outputs for name in node.output)]
        if len(kept) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(kept)
    constants = [each for each in graph.initializer if each.name in uses or each.name in outputs]
    del graph.initializer[:]
    graph.initializer.extend(constants)
