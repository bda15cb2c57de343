"""Differences between two versions, as data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fpan.contract import Evaluation, ModelCard, Taxonomy
from fpan.registry.store import Store

CONFIG_FILE = "config.json"
"""File with the resolved training configuration of a version."""

Section = Literal["card", "metrics", "gates", "taxonomy", "files", "config"]
_PLAIN = (
    *("title", "created", "git_commit", "source", "task", "input_size", "sizes"),
    *("parameters", "macs", "code_licence", "weights_licence"),
)
"""Members of a card that are compared by their plain values."""


@dataclass(frozen=True)
class Difference:
    """One value that differs; None on the side that does not have it."""

    section: Section
    name: str
    before: Any
    after: Any


def differences(store: Store, before: ModelCard, after: ModelCard) -> list[Difference]:
    """All differences between two versions, of the same model or of two models.

    Raises:
        RepositoryError: a file cannot be read.
    """
    sections: tuple[tuple[Section, dict[str, Any], dict[str, Any]], ...] = (
        ("card", _card(before), _card(after)),
        ("metrics", _metrics(before), _metrics(after)),
        ("gates", _gates(before), _gates(after)),
        ("taxonomy", _taxonomy(before.taxonomy), _taxonomy(after.taxonomy)),
        ("files", dict(before.files), dict(after.files)),
        ("config", _config(store, before), _config(store, after)),
    )
    return [each for section, left, right in sections for each in _differing(section, left, right)]


def _differing(section: Section, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Difference(section, name, before.get(name), after.get(name))


def _card(card: ModelCard) -> dict[str, Any]:
    tensors = {f"{t.name} (tensor)": f"{t.dtype} {list(t.shape)}" for t in (*card.inputs, *card.outputs)}
    data = {f"{d.name} (training data)": f"{d.pictures} pictures, {d.licence}" for d in card.training_data}
    plain = {name: getattr(card, name) for name in _PLAIN}
    asked = {"on_demand": ", ".join(card.on_demand)}
    template = {} if card.alignment is None else dict(_flat(card.alignment.model_dump(mode="json"), "alignment"))
    reference = {f"{h.quantity} (reference)": f"{h.faces} faces, {h.source}" for h in card.reference}
    return {**plain, **asked, **tensors, **data, **template, **reference}


def _metrics(card: ModelCard) -> dict[str, Any]:
    return {f"{e.data} at {e.size}: {name}": value for e in card.evaluations for name, value in _figures(e)}


def _gates(card: ModelCard) -> dict[str, str]:
    return {gate.name: f"{gate.verdict} {gate.told}".rstrip() for gate in card.gates}


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    yield "mIoU", evaluation.miou
    yield "mean F1", evaluation.mean_f1
    for name, value in evaluation.iou.items():
        yield f"IoU {name}", value


def _taxonomy(taxonomy: Taxonomy | None) -> dict[str, Any]:
    if taxonomy is None:
        return {}
    classes = {f"class {c.name}": {**c.model_dump(mode="json", exclude={"name"})} for c in taxonomy.classes}
    groups = {f"group {name}": list(names) for name, names in taxonomy.groups.items()}
    remaps = {f"remap {name}": list(ids) for name, ids in taxonomy.remaps.items()}
    return {"name": taxonomy.name, **classes, **groups, **remaps}


def _config(store: Store, card: ModelCard) -> dict[str, Any]:
    return dict(_flat(json.loads(store.read(card, CONFIG_FILE)))) if CONFIG_FILE in card.files else {}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields nested members with their dotted paths."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _flat(below, f"{path}.{name}" if path else name)
    else:
        yield path, value
