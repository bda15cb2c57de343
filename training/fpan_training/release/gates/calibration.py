"""Whether a candidate that says 0.9 is right nine times in ten."""

from collections.abc import Iterator
from dataclasses import dataclass

from fpan.contract import GateResult

from fpan_training.release.gates.trial import GateInputs


@dataclass(frozen=True)
class CalibrationLimit:
    """How far confidences may be from the share that is right; callers abstain by them."""

    most_error: float = 0.05
    """Expected calibration error on ``val``, as a fraction of one."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Expected calibration error."""
        found = trial.measured(trial.candidate, trial.val).calibration
        low, high = found.interval()
        against = ""
        if trial.champion is not None and trial.comparable:
            error = trial.measured(trial.champion, trial.val).calibration.error()
            against = f"; {error:.4f} of {trial.champion.title}"
        evidence = f"expected calibration error on {trial.val.name} ({low:.4f} to {high:.4f}){against}"
        yield GateResult.of("calibration", found.error(), "at most", self.most_error, evidence)
