"""How large the candidate's file is."""

from collections.abc import Iterator
from dataclasses import dataclass

from fpan.contract import GateResult

from fpan_training.release.gates.trial import GateInputs

_MB = 1_000_000


@dataclass(frozen=True)
class Size:
    """How large the ONNX file may be."""

    budget_mb: float = 100.0
    """In megabytes (10^6 bytes). Larger files are refused by the usual hosts of Git, where repositories are kept."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Megabytes."""
        size = trial.candidate.path.stat().st_size
        champion = trial.champion
        against = "" if champion is None else f"; {champion.path.stat().st_size:,} bytes of {champion.title}"
        yield GateResult.of("size", size / _MB, "at most", self.budget_mb, f"{size:,} bytes{against}", "MB")
