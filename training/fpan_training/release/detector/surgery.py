"""Puts a detector's network into the shape that is served: bytes in, a short list of faces out.

Both networks (RetinaFace, YuNet) are taken apart in the same way: their bodies are kept up to the last convolutions,
and everything behind those is built anew, so that both take and give the same tensors:

- ``image``: uint8 (B, H, W, 3), RGB, of the sizes that :func:`sizes` lists;
- ``faces``: float32 (B, K, 15), the K best candidates of each picture by falling score, before non-maximum
  suppression. A row is x0, y0, x1, y1, five points (x, y) in the order of ``fpan.contract.FIVE_POINTS``, score. Points
  are in pixels of the input whose integers are pixel centres; box edges likewise lie between pixels: x1 - x0 is the
  width and 0 the outer edge of the first pixel.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

OPSET = 17
IR_VERSION = 8
"""Old enough for every runtime that is served from."""
STRIDES = (8, 16, 32)
LEAST_SIDE = 256
"""Side of the smallest square input, in pixels: it must hold a face with room around it."""
CANDIDATES = 1024
"""Rows given per picture, and no more than any input has anchors: TensorRT takes no number that depends on the
input. A face makes about ten, and some hundred faces fit the largest input."""
FACE_VALUES = 15


@dataclass(frozen=True)
class Heads:
    """Names of the channel-last tensors (B, H, W, A * values) of the three levels, strides 8, 16 and 32."""

    scores: tuple[tuple[str, ...], ...]
    """One or two sets of logits; see :attr:`Layout.two_logits`."""
    boxes: tuple[str, ...]
    points: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How a detector's outputs are to be read."""

    heads: Heads
    anchors: tuple[tuple[float, ...], ...]
    """Sides of the anchors of each level, in pixels."""
    anchor_offset: float
    """Position of a cell's first anchor, in cells."""
    centre_variance: float
    size_variance: float
    mean_bgr: tuple[float, float, float]
    two_logits: bool
    """True: each candidate has the logits (no face, face). False: its score is the geometric mean of two sigmoids."""
    shift: float
    """Added to x and y to make the network's coordinates agree with pixel centres, in pixels; measured."""


def sizes(largest: int) -> tuple[tuple[int, int], ...]:
    """Heights and widths of the inputs that are served, in pixels: squares of a larger and a smaller side, first and
    last, and what photos of three by four need. Few, since what computes them compiles the network for each.

    Args:
        largest: side of the largest square in pixels.

    Raises:
        ValueError: it is no multiple of 32, or below :data:`LEAST_SIDE`.
    """
    if largest % STRIDES[-1] or largest < LEAST_SIDE:
        raise ValueError(f"the input size must be a multiple of {STRIDES[-1]} from {LEAST_SIDE} on, not {largest}")
    small = largest * 3 // 4
    if small % STRIDES[-1] or small < LEAST_SIDE:
        return ((largest, largest),)
    return (largest, largest), (small, largest), (largest, small), (small, small)


def rebuild(model: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """The network as it is served.

    Args:
        model: the network as its package ships it, with input ``input`` (B, 3, H, W) float, BGR.
        layout: how to read it.
    """
    source = version_converter.convert_version(model, OPSET).graph
    graph = _Graph()
    _front(graph, layout)
    _body(graph, source, [*sum(layout.heads.scores, ()), *layout.heads.boxes, *layout.heads.points])
    _tail(graph, layout)
    served = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "face_detector",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
            [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["batch", CANDIDATES, FACE_VALUES])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fpan_training.detector",  # as the committed file has it: a rename changes no bytes
    )
    onnx.checker.check_model(served, full_check=True)
    return served


class _Graph:
    """Nodes in order and their constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Appends a node with one output, and returns that output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Adds a constant, and returns its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _front(graph: _Graph, layout: Layout) -> None:
    """RGB bytes to the planes ``input`` that the body takes. Cast before the transpose: TensorRT wants it so."""
    graph.add("Cast", ["image"], "image_float", to=TensorProto.FLOAT)
    graph.add("Transpose", ["image_float"], "image_rgb", perm=[0, 3, 1, 2])
    graph.constant("bgr", np.array([2, 1, 0], np.int64))
    graph.add("Gather", ["image_rgb", "bgr"], "image_bgr", axis=1)
    graph.constant("mean_bgr", np.array(layout.mean_bgr, np.float32).reshape(1, 3, 1, 1))
    graph.add("Sub", ["image_bgr", "mean_bgr"], "input")


def _body(graph: _Graph, source: onnx.GraphProto, outputs: list[str]) -> None:
    """Copies what the outputs depend on. Upsampling always doubles, so its computed sizes become a constant."""
    makers = {name: node for node in source.node for name in node.output}
    same = {node.output[0]: node.input[0] for node in source.node if node.op_type == "Identity"}
    constants = {c.name: c for c in source.initializer}
    graph.constant("no_region", np.zeros(0, np.float32))
    graph.constant("doubled", np.array([1, 1, 2, 2], np.float32))
    done: set[str] = {"input", "no_region", "doubled", ""}

    def copy(name: str) -> None:
        if name in done:
            return
        done.add(name)
        if name in constants:
            graph.constants.append(constants[name])
            return
        node = onnx.NodeProto()
        node.CopyFrom(makers[name])
        if node.op_type == "Resize":
            node.input[:] = [node.input[0], "no_region", "doubled"]
        node.input[:] = [same.get(needed, needed) for needed in node.input]
        for needed in node.input:
            copy(needed)
        graph.nodes.append(node)

    for name in outputs:
        copy(name)


def _tail(graph: _Graph, layout: Layout) -> None:
    """Scores, the best candidates, and the decoding of those alone."""
    heads = layout.heads
    width = 2 if layout.two_logits else 1
    logits = [_levels(graph, names, f"logits{i}", width) for i, names in enumerate(heads.scores)]
    graph.constant("last", np.array([2], np.int64))
    if layout.two_logits:
        graph.constant("face_against_none", np.array([[-1], [1]], np.float32))
        margin = graph.add("MatMul", [logits[0], "face_against_none"], "margin")
        graph.add("Sigmoid", [margin], "score_column")
    else:
        both = [graph.add("Sigmoid", [name], f"{name}_sigmoid") for name in logits]
        graph.add("Mul", both, "score_product")
        graph.add("Sqrt", ["score_product"], "score_column")
    graph.add("Squeeze", ["score_column", "last"], "score_all")

    graph.constant("candidates", np.array([CANDIDATES], np.int64))
    graph.nodes.append(
        helper.make_node("TopK", ["score_all", "candidates"], ["score", "index"], "best", axis=1, largest=1, sorted=1)
    )
    graph.add("Unsqueeze", ["index", "last"], "index_column")
    for name, tensors, values in (("box", heads.boxes, 4), ("point", heads.points, 10)):
        every = _levels(graph, tensors, f"{name}_all", values)
        graph.add("GatherND", [every, "index_column"], name, batch_dims=1)
    graph.add("Gather", [_anchors(graph, layout), "index"], "anchor", axis=0)
    _decode(graph, layout)


def _levels(graph: _Graph, names: tuple[str, ...], output: str, values: int) -> str:
    """Joins the levels' (B, H, W, A * values) to (B, N, values)."""
    shape = graph.constant(f"{output}_shape", np.array([0, -1, values], np.int64))
    flat = [graph.add("Reshape", [name, shape], f"{output}_{s}") for name, s in zip(names, STRIDES, strict=True)]
    return graph.add("Concat", flat, output, axis=1)


def _anchors(graph: _Graph, layout: Layout) -> str:
    """Centre x, centre y and side of every candidate, in pixels, float32 (N, 3); rows, columns, sides in that order.

    Rows and columns are counted by adding up ones, so that they follow from the size of the input.
    """
    graph.constant("height_width", np.array([1, 2], np.int64))
    graph.constant("row_axis", np.array(0, np.int64))
    graph.constant("column_axis", np.array(1, np.int64))
    graph.constant("value_axis", np.array([3], np.int64))
    flat = graph.constant("anchor_shape", np.array([-1, 3], np.int64))
    levels = []
    for stride, sides, level in zip(STRIDES, layout.anchors, layout.heads.boxes, strict=True):
        name, first = f"anchor_{stride}", (layout.anchor_offset - 1) * stride
        graph.add("Shape", [level], f"{name}_level")
        graph.add("Gather", [f"{name}_level", "height_width"], f"{name}_cells")
        graph.constant(f"{name}_count", np.array([len(sides)], np.int64))
        graph.add("Concat", [f"{name}_cells", f"{name}_count"], f"{name}_grid", axis=0)
        one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
        graph.add("ConstantOfShape", [f"{name}_grid"], f"{name}_ones", value=one)
        graph.constant(f"{name}_sides", np.array(sides, np.float32))
        graph.add("CumSum", [f"{name}_ones", "column_axis"], f"{name}_x")
        graph.add("CumSum", [f"{name}_ones", "row_axis"], f"{name}_y")
        graph.add("Mul", [f"{name}_ones", f"{name}_sides"], f"{name}_side")
        parts = [f"{name}_{part}" for part in ("x", "y", "side")]
        values = [graph.add("Unsqueeze", [part, "value_axis"], f"{part}_value") for part in parts]
        graph.add("Concat", values, f"{name}_cell_values", axis=3)
        graph.constant(f"{name}_unit", np.array([stride, stride, 1], np.float32))
        graph.constant(f"{name}_first", np.array([first, first, 0], np.float32))
        graph.add("Mul", [f"{name}_cell_values", f"{name}_unit"], f"{name}_scaled")
        graph.add("Add", [f"{name}_scaled", f"{name}_first"], f"{name}_values")
        levels.append(graph.add("Reshape", [f"{name}_values", flat], name))
    return graph.add("Concat", levels, "anchor_all", axis=0)


def _decode(graph: _Graph, layout: Layout) -> None:
    """Offsets from the anchors to ``faces``: centre = anchor + side * offset, size = side * exp(offset)."""
    split = graph.constant("split", np.array([2, 1], np.int64))
    graph.nodes.append(helper.make_node("Split", ["anchor", split], ["anchor_xy", "anchor_side"], "anchors", axis=2))
    halves = graph.constant("halves", np.array([2, 2], np.int64))
    graph.nodes.append(helper.make_node("Split", ["box", halves], ["box_xy", "box_wh"], "boxes", axis=2))
    graph.constant("half", np.float32(0.5).reshape(1))
    graph.constant("centre_variance", np.float32(layout.centre_variance).reshape(1))
    graph.constant("size_variance", np.float32(layout.size_variance).reshape(1))
    graph.constant("edge_shift", np.float32(layout.shift + 0.5).reshape(1))
    graph.constant("point_shift", np.float32(layout.shift).reshape(1))
    graph.add("Mul", ["anchor_side", "centre_variance"], "unit")

    graph.add("Mul", ["box_xy", "unit"], "box_offset")
    graph.add("Add", ["box_offset", "anchor_xy"], "box_centre_raw")
    graph.add("Add", ["box_centre_raw", "edge_shift"], "box_centre")
    graph.add("Mul", ["box_wh", "size_variance"], "box_log")
    graph.add("Exp", ["box_log"], "box_ratio")
    graph.add("Mul", ["box_ratio", "anchor_side"], "box_size")
    graph.add("Mul", ["box_size", "half"], "box_half")
    graph.add("Sub", ["box_centre", "box_half"], "box_low")
    graph.add("Add", ["box_centre", "box_half"], "box_high")

    graph.constant("five", np.array([1, 1, 5], np.int64))
    graph.add("Tile", ["anchor_xy", "five"], "anchor_five")
    graph.add("Mul", ["point", "unit"], "point_offset")
    graph.add("Add", ["point_offset", "anchor_five"], "point_raw")
    graph.add("Add", ["point_raw", "point_shift"], "points")
    graph.add("Unsqueeze", ["score", "last"], "score_best")
    graph.add("Concat", ["box_low", "box_high", "points", "score_best"], "faces", axis=2)


def parameters(model: onnx.ModelProto) -> int:
    """Number of weights of the convolutions."""
    sizes = {c.name: int(np.prod(c.dims)) for c in model.graph.initializer}
    return sum(sizes[name] for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:])


def macs(model: onnx.ModelProto, size: int) -> int:
    """Multiply-accumulates of the convolutions for one square input with sides of ``size`` pixels."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for axis in (1, 2):
        fixed.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    inferred = onnx.shape_inference.infer_shapes(fixed).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.value_info}
    kernels = {c.name: list(c.dims) for c in inferred.initializer}
    convolutions = [node for node in inferred.node if node.op_type == "Conv"]
    return sum(cast(int, np.prod(kernels[n.input[1]]) * np.prod(shapes[n.output[0]][2:])) for n in convolutions)
