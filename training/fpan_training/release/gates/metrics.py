"""Whether the candidate labels pictures at least as well as the champion: all of them, occluded and turned ones."""

from collections.abc import Iterator
from dataclasses import dataclass

from fpan.contract import GateResult

from fpan_training.evaluate.confusion import usual_figures
from fpan_training.evaluate.paired import gains
from fpan_training.evaluate.test_set import TestSet
from fpan_training.release.gates.strata import Strata, TooFew
from fpan_training.release.gates.trial import GateInputs

_TITLES = {"miou": "mIoU", "mean_f1": "mean F1"}


@dataclass(frozen=True)
class Metrics:
    """How much worse than the champion a candidate may be.

    The rule is that of non-inferiority: the lower end of the difference's 95 % interval (bootstrap over pictures, the
    same ones drawn for both) must not be below ``-margin``. A candidate must show that it is not worse; the other rule,
    that it must not be shown to be worse, would let anything through where pictures are few. The price: with few
    pictures the interval may be wider than the margin, and a candidate that is as good is refused. Measure on more.
    """

    margin: float = 0.01
    """Of mIoU and mean F1 over all pictures, as fractions of one."""
    strata_margin: float = 0.02
    """Of the same over occluded and over turned faces, which are fewer."""

    def __call__(self, trial: GateInputs) -> Iterator[GateResult]:
        """MIoU and mean F1 of all pictures."""
        yield from self._of(trial, trial.val, "", self.margin)

    def of_strata(self, trial: GateInputs, strata: Strata, min_pictures: int) -> Iterator[GateResult]:
        """The same of occluded and of turned faces, where there are as many."""
        for choose, what in ((strata.of_occluded, "occluded faces"), (strata.of_turned, "turned faces")):
            try:
                test = choose(trial.val, min_pictures)
            except TooFew as error:
                yield from (GateResult.unmeasured(f"{title}, {what}", str(error)) for title in _TITLES.values())
            else:
                yield from self._of(trial, test, f", {what}", self.strata_margin)

    def _of(self, trial: GateInputs, test: TestSet, what: str, margin: float) -> Iterator[GateResult]:
        counts = trial.measured(trial.candidate, test).confusion
        mine, on = usual_figures(counts.scores()), f"on {len(test.folder)} pictures of {test.name}"
        champion = trial.champion if trial.comparable else None
        if champion is None:
            yield from (self._alone(trial, f"{title}{what}", f"{mine[k]:.4f} {on}") for k, title in _TITLES.items())
            return
        theirs = trial.measured(champion, test).confusion
        found = gains([counts], [theirs], usual_figures)
        for key, title in _TITLES.items():
            low, high = found[key].interval
            evidence = (
                f"{mine[key]:.4f} against {usual_figures(theirs.scores())[key]:.4f} of {champion.title}: "
                f"{found[key].mean:+z.4f} ({low:+z.4f} to {high:+z.4f}) {on}; the lower end counts"
            )
            yield GateResult.of(f"{title}{what}", low, "at least", -margin, evidence)

    def _alone(self, trial: GateInputs, name: str, figure: str) -> GateResult:
        if trial.champion is None:
            return GateResult.unopposed(name, f"{figure}; {trial.model} has no champion to compare with")
        return GateResult.unmeasured(name, f"{figure}; not compared: {trial.champion.title} has other classes")
