"""What ``fpan models`` says of versions: tables for people, plain data for programs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from fpan.cli._reference import by_source
from fpan.contract import Change, Evaluation, GateResult, ModelCard, ReferenceHistogram
from fpan.contract.aliases import CHALLENGER
from fpan.contract.figures import AREA
from fpan.registry import Cleaning, Version
from fpan.registry.compare import Difference

_SHOWN_MOVES = 10
"""Moves of the history that ``show`` tells, the newest."""
_SHOWN_SHA256 = 12
"""Digits of a sha256 that a table shows."""
_KILO = 1000


def versions_table(versions: Iterable[Version]) -> Table:
    """One row a version, with the figures of its first evaluation and what they were measured on."""
    table = Table(title_justify="left", box=None, pad_edge=False)
    numbers = ("version", "mIoU", "F1", "size")
    columns = ("model", "version", "aliases", "mIoU", "F1", "measured on", "size", "created", "licence of the weights")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for each in versions:
        card = each.card
        share = f" ({percent(each.share)})" if each.share else ""
        aliases = (alias + share if alias == CHALLENGER else alias for alias in each.aliases)
        head = (escape(each.name), str(each.version), ", ".join(aliases))
        if card is None or each.fault:
            table.add_row(*head, "", "", "", amount(each.size, "B"), "", "[bold red]broken[/]")
            continue
        figures = ("", "", "")
        if card.evaluations:
            first = card.evaluations[0]
            figures = (f"{first.miou:.3f}", f"{first.mean_f1:.3f}", escape(measured_on(first)))
        created = card.created[:16].replace("T", " ")
        table.add_row(*head, *figures, amount(each.size, "B"), created, escape(card.weights_licence))
    return table


def versions_data(versions: Iterable[Version]) -> list[dict[str, Any]]:
    """The same as members of JSON."""
    return [
        {
            "name": each.name,
            "version": each.version,
            "aliases": list(each.aliases),
            "share": each.share,
            "bytes": each.size,
            "fault": each.fault or None,
            "miou": each.card.evaluations[0].miou if each.card and each.card.evaluations else None,
            "mean_f1": each.card.evaluations[0].mean_f1 if each.card and each.card.evaluations else None,
            "measured_on": measured_on(each.card.evaluations[0]) if each.card and each.card.evaluations else None,
            "created": each.card.created if each.card else None,
            "weights_licence": each.card.weights_licence if each.card else None,
            "sha256": each.card.sha256 if each.card else None,
        }
        for each in versions
    ]


def card_lines(card: ModelCard, aliases: Sequence[str], sizes: dict[str, int]) -> Iterator[str]:
    """What people want to know of a version, less its tables."""
    yield f"{card.name} version {card.version}" + (f" ({', '.join(aliases)})" if aliases else "")
    yield card.title
    yield ""
    taxonomy = card.taxonomy
    classes = f"{len(taxonomy)} classes of {taxonomy.name}" if taxonomy else "no classes"
    inputs = ", ".join(f"{height} x {width}" for height, width in card.input_sizes)
    yield f"task       {card.task}, input {inputs}, {classes}"
    yield f"cost       {amount(card.parameters, '')} parameters, {amount(card.macs, 'MAC')} a picture"
    cooled = f", its logits divided by {card.temperature:.3g}" if card.temperature != 1 else ""
    yield f"precision  {card.precision}{cooled}"
    yield f"licences   weights: {card.weights_licence}; code: {card.code_licence}"
    for data in card.training_data:
        note = f" ({data.note})" if data.note else ""
        yield f"data       {data.name}, {data.pictures} pictures, {data.licence}{note}"
    if card.source:
        yield f"source     {card.source}"
    for line in reference_lines(card.reference):
        yield f"reference  {line}"
    yield f"created    {card.created or 'unknown'}" + (f", commit {card.git_commit}" if card.git_commit else "")
    for name, sha256 in card.files.items():
        yield f"file       {name}, {amount(sizes[name], 'B')}, sha256 {sha256}"


def reference_lines(reference: Iterable[ReferenceHistogram]) -> Iterator[str]:
    """What the reference of drift was made of, a line for each source."""
    for (source, faces), names in by_source(reference).items():
        areas = sum(name.startswith(AREA) for name in names)
        shown = [f"area of {areas} classes"] if areas else []
        shown += [name for name in names if not name.startswith(AREA)]
        yield f"{source}, {faces} faces: {', '.join(shown)}"


def measured_on(evaluation: Evaluation) -> str:
    """The test set of a figure: figures of different sets are not compared."""
    return f"{evaluation.data}, {evaluation.pictures} pictures at {evaluation.size}"


def evaluations_table(evaluations: Sequence[Evaluation]) -> Table:
    """The figures, a column each."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for e in evaluations:
        table.add_column(measured_on(e), justify="right", overflow="fold")
    for title, name in (("mIoU", "miou"), ("mean F1", "mean_f1")):
        row = []
        for e in evaluations:
            low, high = getattr(e, f"{name}_interval")
            row.append(f"{getattr(e, name):.3f} ({low:.3f} to {high:.3f})")
        table.add_row(title, *row)
    for name in dict.fromkeys(name for e in evaluations for name in e.iou):
        table.add_row(f"IoU {name}", *(f"{e.iou[name]:.3f}" if name in e.iou else "" for e in evaluations))
    return table


def gates_table(gates: Iterable[GateResult]) -> Table:
    """One row a gate."""
    table = Table(box=None, pad_edge=False)
    for column in ("gate", "verdict", "figure (limit)", "evidence"):
        table.add_column(column, overflow="fold")
    for gate in gates:
        table.add_row(escape(gate.name), gate.verdict, gate.told, escape(gate.evidence))
    return table


def moves(changes: Sequence[Change]) -> Iterator[str]:
    """The newest moves of a model's aliases, a line each."""
    for change in changes[-_SHOWN_MOVES:]:
        yield f"{change.at}  {moved(change)}  `{change.command}`"


def moved(change: Change) -> str:
    """A move in a few words."""
    now = "nothing" if change.version is None else f"version {change.version}"
    before = "nothing" if change.before is None else f"version {change.before}"
    answers = f", answers {percent(change.share)} of the callers" if change.share else ""
    return f"{change.alias} is {now}, was {before}{answers}"


def percent(share: float) -> str:
    """A share of 0 to 1 for people: 5 %."""
    return f"{100 * share:.3g} %"


def differences_table(found: Iterable[Difference], before: str, after: str) -> Table:
    """One row a difference."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "", before, after):
        table.add_column(column, overflow="fold")
    section = ""
    for each in found:
        first = each.section if each.section != section else ""
        section = each.section
        table.add_row(first, escape(each.name), escape(_value(each, each.before)), escape(_value(each, each.after)))
    return table


def cleaning_lines(plan: Cleaning, dry_run: bool) -> Iterator[str]:
    """What went, or would go, and why the rest stays."""
    verb = "would remove" if dry_run else "removed"
    for version in plan.removed:
        yield f"{plan.name}: {verb} version {version}"
    for name in plan.leftovers:
        yield f"{plan.name}: {verb} {name}, which a write that never ended has left"
    for version, why in plan.kept.items():
        yield f"{plan.name}: version {version} stays: {why}"


def amount(number: float, unit: str) -> str:
    """With a prefix: 23.4 MB."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < _KILO or prefix == "T":
            break
        number /= _KILO
    return f"{number:.3g} {prefix}{unit}".rstrip()


def _value(difference: Difference, value: Any) -> str:
    if value is None or value == "":
        return "none"
    if difference.section == "files":
        return str(value)[:_SHOWN_SHA256]
    if difference.section == "metrics":
        change = (
            "" if value is difference.before or difference.before is None else f" ({value - difference.before:+.4f})"
        )
        return f"{value:.4f}{change}"
    return str(value)
