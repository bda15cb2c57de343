"""`fpan-train gate`: holds a trained network against every gate, without publishing it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fpan.contract import GateResult

from fpan_training.release.candidate import ReleaseCandidate


@dataclass(frozen=True)
class Gate(ReleaseCandidate):
    """Holds the best checkpoint of a run against every gate, as `fpan-train register` does; publishes nothing."""

    def __call__(self) -> tuple[GateResult, ...]:
        """Prints the table and returns what every gate says.

        Raises:
            DataError: nobody says under which terms the pictures are.
            GateError: a gate was failed, or could not be measured.
        """
        with tempfile.TemporaryDirectory() as folder:
            return self.judged(self.exported(Path(folder)))
