"""What a version must pass before it is published, and what is said of one that does not."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fpan.contract import GateResult
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fpan_training.errors import UserError
from fpan_training.release.gates.calibration import CalibrationLimit
from fpan_training.release.gates.int8 import Int8
from fpan_training.release.gates.latency import Latency
from fpan_training.release.gates.licence import Licence
from fpan_training.release.gates.metrics import Metrics
from fpan_training.release.gates.parity import Parity
from fpan_training.release.gates.size import Size
from fpan_training.release.gates.strata import Strata
from fpan_training.release.gates.taxonomy import taxonomy
from fpan_training.release.gates.trial import GateInputs

_WIDE = 160
"""Columns of a table that goes to a file or another program."""
_STYLES = {"passed": "green", "failed": "bold red", "not measured": "yellow"}


class GateError(UserError):
    """A version was refused; the message names every gate that it failed, with figure and limit."""


@dataclass(frozen=True)
class Gates:
    """All gates with their margins and limits."""

    strata: Strata = field(default_factory=Strata)
    """Where occluded and turned faces are."""
    metrics: Metrics = field(default_factory=Metrics)
    parity: Parity = field(default_factory=Parity)
    int8: Int8 = field(default_factory=Int8)
    latency: Latency = field(default_factory=Latency)
    size: Size = field(default_factory=Size)
    calibration: CalibrationLimit = field(default_factory=CalibrationLimit)
    licence: Licence = field(default_factory=Licence)

    def __call__(self, trial: GateInputs) -> tuple[GateResult, ...]:
        """What every gate says, none left out because another has failed."""
        return (
            *self.metrics(trial, self.strata),
            *self.parity(trial),
            *self.int8(trial),
            *self.latency(trial),
            *self.size(trial),
            *taxonomy(trial),
            *self.calibration(trial),
            *self.licence(trial),
        )


def show(results: Iterable[GateResult]) -> None:
    """Prints a table of gate, figure, limit and verdict, and what there is to say of each."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for column in ("gate", "figure (limit)", "verdict", "evidence"):
        table.add_column(column, overflow="fold")
    for result in results:
        verdict = f"[{_STYLES[result.verdict]}]{result.verdict}[/]"
        table.add_row(escape(result.name), result.told, verdict, escape(result.evidence))
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


def refuse_failed(results: Iterable[GateResult]) -> None:
    """Lets pass what has failed no gate.

    Raises:
        GateError: a gate was failed.
    """
    failed = [result for result in results if result.verdict == "failed"]
    if failed:
        lines = "\n  ".join(f"{result.name}: {result.told}; {result.evidence}" for result in failed)
        what = "a gate" if len(failed) == 1 else f"{len(failed)} gates"
        raise GateError(f"the version is not fit to be published, it fails {what}:\n  {lines}")
