"""Whether the operator allows the terms of everything that the weights were made from."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from fpan.contract import GateResult

from fpan_training.release.gates.trial import GateInputs

ALLOWED_LICENCES = "ALLOWED_LICENCES"
"""Environment variable with the list."""


@dataclass(frozen=True)
class Licence:
    """Which terms of training data are allowed."""

    allowed: str = field(default_factory=lambda: os.environ.get(ALLOWED_LICENCES, ""))
    """Terms as the data sets name them, separated by commas; those with a comma of their own stand in double quotes.
    Upper and lower case are the same. Empty: any. Without the flag, what the environment variable ``ALLOWED_LICENCES``
    says."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """Number of training sets, backgrounds and occluders whose terms are not on the list."""
        terms = ", ".join(dict.fromkeys(source.licence for source in trial.sources))
        allowed = {term.strip().casefold() for term in next(csv.reader([self.allowed], skipinitialspace=True), [])} - {
            ""
        }
        if not allowed:
            yield GateResult.unopposed("licence", f"not restricted: {ALLOWED_LICENCES} is empty; data under {terms}")
            return
        refused = [s for s in trial.sources if s.licence.strip().casefold() not in allowed]
        evidence = f"all data under {terms}, allowed by {ALLOWED_LICENCES}"
        if refused:
            named = "; ".join(f"{source.name} is under {source.licence!r}" for source in refused)
            evidence = f"{named}: {ALLOWED_LICENCES} has {self.allowed}"
        yield GateResult.of("licence", len(refused), "at most", 0, evidence)
