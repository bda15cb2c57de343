"""A network in eight bits: statically quantised, what hurts left in float.

ONNX Runtime writes pairs of QuantizeLinear and DequantizeLinear around convolutions and what stands between them, with
ranges from training pictures: activations as bytes without a sign (which both runtimes are fastest with), weights
symmetric, by channel. Weights and biases stay as they are, the pairs quantise them at load, so that the same file gives
the network in float32 again (:func:`fpan.contract.network.full`). The convolution that makes the logits is left in
float: rounded logits are equal too often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from fpan.contract.network import full, halved, quantised_nodes, unquantised
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from fpan_training.data.folder import FaceFolder
from fpan_training.modules.segm.step import to_size
from fpan_training.release.export.onnx_file import INPUT, open_session

_OPERATORS = ["Add", "Clip", "Concat", "Conv", "MatMul", "Mul", "Relu"]
"""What is computed in eight bits: where the time goes. The rest, the head among it, stays. Without Clip and Relu in the
list the ranges before them are taken, of which half is cut off: mIoU falls by three points."""
_LOGITS = "logits"


@dataclass(frozen=True)
class Quantise:
    """How a network is brought into eight bits."""

    pictures: int = 64
    """Training pictures that the ranges are taken from, spread over all of them."""
    least_agreement: float = 0.99
    """Share of the pixels of training pictures that must keep their label; convolutions are left in float, those first
    that hurt most, until it is so."""
    judged: int = 24
    """Training pictures that that is measured on, others than those of the ranges where there are enough."""
    most_in_float: int = 16
    """Convolutions that are left in float at most."""

    def __call__(self, source: Path, target: Path, pictures: FaceFolder, size: int) -> "Quantised":
        """Writes the file in eight bits.

        Args:
            source: the ONNX file in float32.
            target: the file that is made.
            pictures: training pictures, at least one.
            size: side of the network's input in pixels.
        """
        step = -(-len(pictures) // self.pictures)
        chosen = range(0, len(pictures), step)
        others = [i for i in range(len(pictures)) if step == 1 or i % step][:: max(1, step // 2)][: self.judged]
        whole = full(onnx.load(source))
        model = with_pairs(whole, target, _Reader(pictures, chosen, size))
        makers = {name: node.name for node in model.graph.node for name in node.output}
        model = unquantised(model, [_maker_of_logits(model, makers)])
        images = [to_size(pictures[i].image, size)[None] for i in others]
        left, agreement = self._leave(whole, model, images)
        onnx.save(halved(unquantised(model, left) if left else model), target)
        return Quantised(len(chosen), tuple(left), agreement)

    def _leave(
        self, whole: onnx.ModelProto, model: onnx.ModelProto, images: Sequence[NDArray[np.uint8]]
    ) -> tuple[list[str], float]:
        """Names of the convolutions that are left in float, and how many labels stay the same then."""
        expected = _labels(whole, images)

        def agreement(left: list[str]) -> float:
            found = _labels(unquantised(model, left) if left else model, images)
            return float(np.mean(found == expected))

        return search(quantised_nodes(model), agreement, self.least_agreement, self.most_in_float)


def search(
    nodes: Sequence[str], agreement: Callable[[list[str]], float], least: float, most: int
) -> tuple[list[str], float]:
    """Which nodes to leave in float: none if that is enough, else those that hurt most, twice as many at each try.

    Args:
        nodes: those in eight bits.
        agreement: of the network with some of them in float.
        least: what it must be.
        most: how many may be left in float.

    Returns:
        The nodes left in float, and the agreement with them; below ``least`` where ``most`` are not enough.
    """
    left: list[str] = []
    found = agreement(left)
    if found >= least:
        return left, found
    gains = {name: agreement([name]) for name in nodes}
    ranked = sorted(nodes, key=lambda name: -gains[name])
    count = 1
    while found < least and len(left) < min(most, len(ranked)):
        left = ranked[: min(count, most)]
        found, count = agreement(left), 2 * count
    return left, found


@dataclass(frozen=True)
class Quantised:
    """How a network was quantised."""

    pictures: int
    """That the ranges are from."""
    in_float: tuple[str, ...]
    """Convolutions that are left in float, beside the one that makes the logits."""
    agreement: float
    """Share of the pixels of training pictures with the same label as in float32."""

    @property
    def told(self) -> str:
        """In a few words."""
        left = f"{len(self.in_float)} convolutions left in float" if self.in_float else "no layer left in float"
        return f"ranges from {self.pictures} training pictures, {left} beside the last"


def with_pairs(
    whole: onnx.ModelProto, target: Path, pictures: CalibrationDataReader, operators: Sequence[str] = _OPERATORS
) -> onnx.ModelProto:
    """A network with pairs of QuantizeLinear and DequantizeLinear around what is computed in eight bits.

    Args:
        whole: in float32.
        target: file that it is written to on the way.
        pictures: what the ranges of activations are taken from.
        operators: what is computed in eight bits.
    """
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    add_pre_process_metadata(model)  # the exporter has folded the batch norms already, and shapes are inferred
    quantize_static(
        onnx.shape_inference.infer_shapes(model),
        target,
        pictures,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=list(operators),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "QDQKeepRemovableActivations": True,
        },
    )
    made = onnx.load(target)
    del made.metadata_props[:]
    made.producer_name, made.producer_version = whole.producer_name, whole.producer_version
    return made


def _maker_of_logits(model: onnx.ModelProto, makers: dict[str, str]) -> str:
    """Name of the node whose output, rounded, is the logits."""
    nodes = {node.name: node for node in model.graph.node}
    node = nodes[makers[_LOGITS]]
    while node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = nodes[makers[node.input[0]]]
    return str(node.name)


def _labels(model: onnx.ModelProto, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    session = open_session(model.SerializeToString())
    return np.concatenate([session.run(["labels"], {INPUT: each})[0] for each in images])


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Gives pictures one by one, as the network takes them."""

    def __init__(self, folder: FaceFolder, chosen: range, size: int) -> None:
        self._folder, self._size, self._left = folder, size, iter(chosen)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next one as a batch of its own, uint8 (1, S, S, 3); None after the last."""
        index = next(self._left, None)
        if index is None:
            return None
        return {INPUT: to_size(self._folder[index].image, self._size)[None]}
