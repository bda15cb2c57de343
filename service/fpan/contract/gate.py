"""What the gates of publishing said of a version: one record a gate, kept in its card."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Verdict = Literal["passed", "failed", "not measured"]
"""``not measured`` is neither: what the gate needs was not given, and the version was published without it."""
Bound = Literal["at least", "at most"]


class GateResult(BaseModel):
    """What one gate said of a version."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Of the gate, for people; no two of a version are the same."""
    verdict: Verdict
    figure: float | None = None
    """What was measured; None where nothing was."""
    bound: Bound | None = None
    """How the figure is held against ``limit``."""
    limit: float | None = None
    """In the figure's unit; None where there was nothing to hold it against."""
    unit: str = ""
    """Of figure and limit; empty for shares, counts and ratios."""
    evidence: str
    """What the figure is, what it was measured on, and what else one would ask: a line for people."""

    @classmethod
    def of(cls, name: str, figure: float, bound: Bound, limit: float, evidence: str, unit: str = "") -> Self:
        """Holds a figure against its limit. One that is no number (NaN) fails: it was measured, and came to nothing."""
        passed = figure >= limit if bound == "at least" else figure <= limit
        known = None if math.isnan(figure) else figure
        verdict: Verdict = "passed" if passed else "failed"
        return cls(name=name, verdict=verdict, figure=known, bound=bound, limit=limit, unit=unit, evidence=evidence)

    @classmethod
    def unopposed(cls, name: str, evidence: str) -> Self:
        """Passed, there being nothing that the version could be worse than."""
        return cls(name=name, verdict="passed", evidence=evidence)

    @classmethod
    def unmeasured(cls, name: str, evidence: str) -> Self:
        """Not measured; the evidence says what was missing."""
        return cls(name=name, verdict="not measured", evidence=evidence)

    @property
    def told(self) -> str:
        """Figure and limit in a few words, such as ``0.9991 (at least 0.999)``."""
        if self.figure is None and self.limit is None:
            return ""
        figure = "no number" if self.figure is None else _amount(self.figure, self.unit)
        return figure if self.limit is None else f"{figure} ({self.bound} {_amount(self.limit, self.unit)})"


def _amount(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value == int(value) else f"{value:.4g}" if abs(value) >= 1 else f"{value:z.4f}"
    return f"{text} {unit}".rstrip()
