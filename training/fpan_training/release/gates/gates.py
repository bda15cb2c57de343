"""What a version must pass before it is published, and what is said of one that does not."""

from collections.abc import Iterable, Iterator, Sized
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
    """A version was refused; the message names every gate that it failed or that was not measured, and why."""


@dataclass(frozen=True)
class Gates:
    """All gates with their margins and limits."""

    min_pictures: int = 100
    """Fewest pictures that a figure is measured on; with fewer the gate is not measured, whatever the figure says."""
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
            *self._of_enough(trial, self.metrics(trial)),
            *self.metrics.of_strata(trial, self.strata, self.min_pictures),
            *self._of_enough(trial, self.parity(trial)),
            *self._of_enough(trial, self.int8(trial)),
            *self.latency(trial),
            *self.size(trial),
            *taxonomy(trial),
            *self._of_enough(trial, self.calibration(trial)),
            *self.licence(trial),
        )

    def _of_enough(self, trial: GateInputs, results: Iterable[GateResult]) -> Iterator[GateResult]:
        """What is measured on ``val``, if that has as many pictures as are needed."""
        pictures = len(trial.val.folder)
        for result in results:
            if pictures >= self.min_pictures or result.verdict == "not measured":
                yield result
                continue
            few = f"{trial.val.name} has {pictures} pictures, less than {self.min_pictures} (--gates.min-pictures)"
            seen = ": ".join(filter(None, (result.told, result.evidence)))
            yield GateResult.unmeasured(result.name, f"not measured: {few}; on these, {seen}")


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


def refuse_failed(results: Iterable[GateResult], *, allow_unmeasured: bool) -> None:
    """Lets pass what has failed no gate, and none was left out.

    Args:
        results: what the gates say.
        allow_unmeasured: let pass, too, what was not measured.

    Raises:
        GateError: a gate was failed, or not measured.
    """
    results = tuple(results)
    failed = [result for result in results if result.verdict == "failed"]
    if failed:
        lines = "\n  ".join(f"{result.name}: {result.told}; {result.evidence}" for result in failed)
        raise GateError(f"the version is not fit to be published, it fails {_count(failed)}:\n  {lines}")
    unmeasured = [result for result in results if result.verdict == "not measured"]
    if unmeasured and not allow_unmeasured:
        lines = "\n  ".join(f"{result.name}: {result.evidence}" for result in unmeasured)
        raise GateError(
            f"nobody knows whether the version is fit to be published, {_count(unmeasured)} could not be measured:\n  "
            f"{lines}\ngive what they need, or publish it all the same with --allow-unmeasured"
        )


def _count(results: Sized) -> str:
    return "a gate" if len(results) == 1 else f"{len(results)} gates"
