"""Whether the candidate's labels mean what the champion's mean."""

from collections.abc import Iterator

from fpan.contract import GateResult

from fpan_training.release.gates.trial import GateInputs

_SHOWN = 5
"""Classes that the evidence names."""


def taxonomy(trial: GateInputs) -> Iterator[GateResult]:
    """Number of classes that differ in name, id or left-right partner, or that only one of the two has.

    Callers hold on to ids, and mirror labels by partners.
    """
    count, champion = len(trial.candidate.taxonomy), trial.champion
    if champion is None:
        yield GateResult.unopposed("taxonomy", f"{count} classes; {trial.model} has no champion to compare with")
        return
    names = sorted({name for name, _, _ in trial.candidate.meanings ^ champion.meanings})
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        evidence = (
            f"{', '.join(names[:_SHOWN])}{more} differ from those of {champion.title} in name, id or partner: publish "
            "it under another name with --name"
        )
    else:
        evidence = f"{count} classes, ids and partners as those of {champion.title}"
    yield GateResult.of("taxonomy", len(names), "at most", 0, evidence)
