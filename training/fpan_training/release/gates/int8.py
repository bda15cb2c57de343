"""What the candidate loses by the precision that it is served in; of one in float32, what int8 would cost it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from fpan.contract import GateResult
from numpy.typing import NDArray

from fpan_training.modules.segm.step import to_size
from fpan_training.release.gates.contender import EvaluatedModel, has_bf16
from fpan_training.release.gates.trial import GateInputs
from fpan_training.release.quantise import Quantise


@dataclass(frozen=True)
class Int8:
    """How much worse the candidate may be in eight bits, or in bfloat16, than in float32.

    A candidate that is served in float32 is quantised as one that is served in int8 would be; that file is not
    published: it is evidence for whoever wants to serve it so.
    """

    margin: float = 0.02
    """Of mIoU on ``val``, as a fraction of one, where the candidate is served in float32."""
    served_margin: float = 0.005
    """The same where it is served in int8 or bf16."""
    pictures: int = 64
    """Training pictures that the ranges are taken from, spread over all of them."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Loss of mIoU; of a candidate that is served in less than float32, how many labels stay, too."""
        if trial.whole is not None:
            yield from self._served(trial, trial.whole)
            return
        name = "int8 loss"
        if not len(trial.train):
            yield GateResult.unmeasured(name, "not measured: there are no training pictures beside those of val")
            return
        path = trial.work / "int8.onnx"
        made = Quantise(self.pictures)(trial.candidate.path, path, trial.train, trial.candidate.input_size)
        small = replace(trial.candidate, title="candidate in int8", path=path, precision="int8")
        yield _loss(trial, name, trial.candidate, small, self.margin, f"; {made.told}")

    def _served(self, trial: GateInputs, whole: EvaluatedModel) -> Iterator[GateResult]:
        precision = trial.candidate.precision
        names = f"{precision} loss", f"labels in {precision}"
        if precision == "bf16" and not has_bf16():
            missing = "not measured: this processor has no bfloat16, or OpenVINO is not installed"
            yield from (GateResult.unmeasured(name, missing) for name in names)
            return
        yield _loss(trial, names[0], whole, trial.candidate, self.served_margin, "")
        same = [float(np.mean(before == after)) for before, after in _labels(trial, whole, trial.candidate)]
        evidence = (
            f"share of the pixels of {len(same)} pictures of {trial.val.name} with the same label in {precision} as in "
            f"float32; {min(same):.4f} of the worst picture"
        )
        yield GateResult(name=names[1], verdict="passed", figure=float(np.mean(same)), evidence=evidence)


def _loss(
    trial: GateInputs, name: str, whole: EvaluatedModel, small: EvaluatedModel, margin: float, more: str
) -> GateResult:
    before, after = (trial.measured(who, trial.val).confusion for who in (whole, small))
    evidence = (
        f"{after.scores().miou:.4f} in {small.precision} against {before.scores().miou:.4f} in float32 on "
        f"{len(before.matrices)} pictures of {trial.val.name}{more}"
    )
    return GateResult.of(name, before.scores().miou - after.scores().miou, "at most", margin, evidence)


def _labels(trial: GateInputs, *contenders: EvaluatedModel) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    """Label maps of each picture of ``val``, one a contender."""
    folder = trial.val.folder
    for i in range(len(folder)):
        crop = to_size(folder[i].image, trial.candidate.input_size)[None]
        yield tuple(who.run(crop)[0] for who in contenders)
