"""What the candidate loses in eight bits: evidence for whoever wants to serve it so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fpan.contract import GateResult
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from fpan_training.data.folder import FaceFolder
from fpan_training.modules.segm.step import to_size
from fpan_training.release.export.onnx_file import INPUT
from fpan_training.release.gates.trial import GateInputs

_OPERATORS = ["Add", "Clip", "Concat", "Conv", "MatMul", "Mul", "Relu"]
"""What is computed in eight bits: where the time goes. The rest, softmax and the last upsampling among it, stays."""


@dataclass(frozen=True)
class Int8:
    """How much worse the candidate may be in eight bits than in float32.

    The ONNX file is quantised statically by ONNX Runtime (QDQ, weights per channel), its ranges taken from training
    pictures. The file itself is not published.
    """

    margin: float = 0.02
    """Of mIoU on ``val``, as a fraction of one."""
    pictures: int = 64
    """Training pictures that the ranges are taken from, spread over all of them."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Loss of mIoU."""
        name = "int8 loss"
        if not len(trial.train):
            yield GateResult.unmeasured(name, "not measured: there are no training pictures beside those of val")
            return
        step = -(-len(trial.train) // self.pictures)
        chosen = range(0, len(trial.train), step)
        path = trial.work / "int8.onnx"
        quantise(trial.candidate.path, path, _Reader(trial.train, chosen, trial.candidate.input_size))
        small = replace(trial.candidate, title="candidate in int8", path=path)
        whole, in_int8 = (trial.measured(who, trial.val).confusion for who in (trial.candidate, small))
        before, after = whole.scores().miou, in_int8.scores().miou
        evidence = (
            f"{after:.4f} in int8 against {before:.4f} in float32 on "
            f"{len(whole.matrices)} pictures of {trial.val.name}; ranges from {len(chosen)} training pictures; "
            f"{path.stat().st_size / trial.candidate.path.stat().st_size:.0%} of the bytes"
        )
        yield GateResult.of(name, before - after, "at most", self.margin, evidence)


def quantise(
    source: Path,
    target: Path,
    pictures: CalibrationDataReader,
    operators: Sequence[str] = _OPERATORS,
    activations: QuantType = QuantType.QInt8,
) -> None:
    """Writes the file in eight bits, with ranges from ``pictures``.

    Args:
        source: the ONNX file in float32.
        target: the file to write.
        pictures: what ranges are taken from.
        operators: what is computed in eight bits.
        activations: with or without a sign. Without one, processors that multiply unsigned by signed bytes (VNNI) take
            two thirds of the time.
    """
    prepared = target.with_name(f"prepared_{target.name}")
    # Shapes are known; batch norms are folded into the convolutions here, which quantising needs.
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        pictures,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=list(operators),
        activation_type=activations,
    )
    prepared.unlink()


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
