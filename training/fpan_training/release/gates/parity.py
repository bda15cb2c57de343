"""Whether the exported file says what the network says that was trained."""

from collections.abc import Iterator
from dataclasses import dataclass

from fpan.contract import GateResult

from fpan_training.release.gates.trial import GateInputs


@dataclass(frozen=True)
class Parity:
    """How far the ONNX file may differ from PyTorch."""

    least_agreement: float = 0.999
    """Share of the pixels of ``val`` with the same label."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Label agreement."""
        found = trial.agreement
        evidence = (
            f"labels differ on {found.differing:,} of {found.pixels:,} pixels of {trial.val.name}, PyTorch against "
            f"ONNX Runtime; logits by {found.largest_logit_difference:.2g} at most"
        )
        yield GateResult.of("export parity", found.share, "at least", self.least_agreement, evidence)
