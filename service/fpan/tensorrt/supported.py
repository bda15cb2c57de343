"""Whether a network has only what TensorRT's ONNX parser takes. No GPU, and no TensorRT, is needed to tell.

The operators and their types are those of ``operators.json``, taken from the parser's own documentation; its
restrictions on attributes are written out here for the operators that a face network is made of. That the parser takes
a network does not say that a plan of it is right: that is measured when one is built.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

_LIST = Path(__file__).with_name("operators.json")
_TYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
}
_BYTES_FROM_AND_TO = ("FP32", "FP16")
"""All that TensorRT casts bytes from and to (``nvinfer1::DataType::kUINT8`` in NvInferRuntimeBase.h)."""
_TOP_K_LIMIT = 3840
_A_BATCH = 2
"""Any size but 1, which might stand somewhere for good."""
_RESIZE_FRAMES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
_RESIZE_MODES = ("nearest", "linear")
_RESIZE_ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@dataclass(frozen=True)
class OperatorList:
    """Which operators TensorRT's parser takes."""

    tensorrt: str
    """The version of TensorRT that it is the list of."""
    opsets: tuple[int, int]
    """First and last version of ONNX's operators."""
    operators: dict[str, frozenset[str]]
    """Operator -> types of its data."""


@cache
def operator_list() -> OperatorList:
    """The list that this package carries."""
    read = json.loads(_LIST.read_text())
    first, last = read["opsets"]
    return OperatorList(read["tensorrt"], (first, last), {k: frozenset(v) for k, v in read["operators"].items()})


def findings(model: onnx.ModelProto, size: tuple[int, int] | None = None) -> list[str]:
    """What of a network TensorRT would not take, each a sentence without its full stop; empty where there is nothing.

    Operators, types and their restrictions are looked at, and that no dimension but the batch is left open: once it is
    known, so is every other, of every tensor.

    Args:
        model: the network.
        size: height and width of its inputs, where the network leaves them open.
    """
    return list(_Check(model, size))


class _Check:
    def __init__(self, model: onnx.ModelProto, size: tuple[int, int] | None) -> None:
        inferred = onnx.shape_inference.infer_shapes(_closed(model, size), data_prop=True)
        self._graph = inferred.graph
        self._opsets = {each.domain: each.version for each in model.opset_import}
        self._constants = {each.name: each for each in self._graph.initializer}
        for node in self._graph.node:
            value = next((each.t for each in node.attribute if each.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                self._constants[node.output[0]] = value
        values = (*self._graph.value_info, *self._graph.input, *self._graph.output)
        self._values = {each.name: each.type.tensor_type for each in values}
        self._edge = {each.name for each in (*self._graph.input, *self._graph.output)}

    def __iter__(self) -> Iterator[str]:
        first, last = operator_list().opsets
        if not first <= self._opsets.get("", 0) <= last:
            yield f"its opset is {self._opsets.get('', 0)}: TensorRT takes {first} to {last}"
        yield from self._dimensions()
        for node in self._graph.node:
            name = f"{node.op_type} {node.name or node.output[0]}"
            yield from (f"{name}: {what}" for what in self._node(node))

    def _dimensions(self) -> Iterator[str]:
        produced = [name for node in self._graph.node for name in node.output if name]
        for name in (*(each.name for each in self._graph.input), *produced):
            value = self._values.get(name)
            if value is None or not value.HasField("shape"):
                if name not in self._constants:
                    yield f"the shape of {name} is not known before it runs"
                continue
            open_ = [axis for axis, size in enumerate(value.shape.dim) if not size.HasField("dim_value")]
            if open_:
                yield f"dimension {', '.join(map(str, open_))} of {name} is open: only the batch may be"

    def _node(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.domain not in ("", "ai.onnx") or node.op_type not in operator_list().operators:
            yield "TensorRT has no such operator"
            return
        takes = operator_list().operators[node.op_type]
        if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in node.attribute):
            yield "its inner graph is not looked at"
        data = self._type(node.input[0]) if node.input else None
        if data is not None and data not in takes:
            yield f"takes {', '.join(sorted(takes))}, not {data}"
        yield from self._bytes(node, data)
        rule = _RULES.get(node.op_type)
        if rule is not None:
            yield from rule(self, node)

    def _bytes(self, node: onnx.NodeProto, data: str | None) -> Iterator[str]:
        """TensorRT has bytes at the network's edge alone, and casts them from and to floats only."""
        for name in (*node.input, *node.output):
            if self._type(name) == "UINT8" and name not in self._edge:
                yield f"{name} is UINT8, which only inputs and outputs of the network may be"
        made = self._type(node.output[0])
        if node.op_type == "Cast" and "UINT8" in (data, made):
            other = data if made == "UINT8" else made
            if other not in _BYTES_FROM_AND_TO:
                yield f"casts between UINT8 and {other}: TensorRT does so with {' and '.join(_BYTES_FROM_AND_TO)} only"

    def _type(self, name: str) -> str | None:
        if name in self._constants:
            code: int = self._constants[name].data_type
        elif name in self._values:
            code = self._values[name].elem_type
        else:
            return None
        return _TYPES.get(code) or str(TensorProto.DataType.Name(code))

    def resize(self, node: onnx.NodeProto) -> Iterator[str]:
        """Modes, frames, rounding, no antialiasing."""
        has = _attributes(node)
        for name, default, allowed in (
            ("mode", "nearest", _RESIZE_MODES),
            ("coordinate_transformation_mode", "half_pixel", _RESIZE_FRAMES),
            ("keep_aspect_ratio_policy", "stretch", ("stretch",)),
        ):
            value = _text(has.get(name, default))
            if value not in allowed:
                yield f"{name} is {value}: TensorRT takes {', '.join(allowed)}"
        rounding = _text(has.get("nearest_mode", "round_prefer_floor"))
        if _text(has.get("mode", "nearest")) == "nearest" and rounding not in _RESIZE_ROUNDINGS:
            yield f"nearest_mode is {rounding}: TensorRT takes {', '.join(_RESIZE_ROUNDINGS)}"
        if has.get("antialias", 0):
            yield "TensorRT has no antialiasing"

    def pool(self, node: onnx.NodeProto) -> Iterator[str]:
        """No dilation, and no second output."""
        if any(step != 1 for step in _attributes(node).get("dilations", ())):
            yield "TensorRT pools without dilations"
        if len([name for name in node.output if name]) > 1:
            yield "TensorRT has no output Indices"

    def top_k(self, node: onnx.NodeProto) -> Iterator[str]:
        """K is a constant under a limit, and what comes out is sorted."""
        count = self._constants.get(node.input[1])
        if count is None:
            yield "K is no constant"
        elif not 0 < int(numpy_helper.to_array(count).item()) < _TOP_K_LIMIT:
            yield f"K is {int(numpy_helper.to_array(count).item())}: TensorRT takes less than {_TOP_K_LIMIT}"
        if not _attributes(node).get("sorted", 1):
            yield "TensorRT's TopK is sorted"

    def constant_axes(self, node: onnx.NodeProto) -> Iterator[str]:
        """The axes are known when the plan is built."""
        if len(node.input) > 1 and node.input[1] and node.input[1] not in self._constants:
            yield "its axes are no constant"

    def zero_point(self, node: onnx.NodeProto) -> Iterator[str]:
        """INT8 is symmetric."""
        if len(node.input) < 3 or not node.input[2]:  # then it is a byte without a sign
            if node.op_type == "QuantizeLinear":
                yield "without a zero point it rounds to UINT8: TensorRT takes INT8"
            return
        point = self._constants.get(node.input[2])
        if point is None or numpy_helper.to_array(point).any():
            yield "its zero point is not 0"
        elif point.data_type != TensorProto.INT8:
            yield f"its zero point is {self._type(node.input[2])}: TensorRT takes INT8"


def _closed(model: onnx.ModelProto, size: tuple[int, int] | None) -> onnx.ModelProto:
    """A copy for batches of one size, the first dimension of what goes in and comes out, and inputs of one size."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    for value in (*fixed.graph.input, *fixed.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = _A_BATCH
    for value in fixed.graph.input if size else ():
        open_ = [side for side in value.type.tensor_type.shape.dim if not side.HasField("dim_value")]
        for side, known in zip(open_, size or (), strict=False):
            side.dim_value = known
    return fixed


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_RULES: dict[str, Callable[[_Check, onnx.NodeProto], Iterator[str]]] = {
    "Resize": _Check.resize,
    "MaxPool": _Check.pool,
    "AveragePool": _Check.pool,
    "TopK": _Check.top_k,
    "QuantizeLinear": _Check.zero_point,
    "DequantizeLinear": _Check.zero_point,
    **dict.fromkeys(("Squeeze", "Unsqueeze", *(f"Reduce{each}" for each in _REDUCTIONS)), _Check.constant_axes),
}
