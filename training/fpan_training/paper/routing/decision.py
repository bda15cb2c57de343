"""The decision itself: three kinds of training picture, and where each goes."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.label_space import LabelSpace
from fpan_training.paper.routing.protocols import LandmarkPrediction

OCCLUSION = "occlusion"
"""Name of the class in the taxonomy."""


class Kind(StrEnum):
    """What a training picture is (Mask-FPAN, section III)."""

    MARKED = "occluded, marked"
    """Occluded, and the labels say where: the paper's (1)."""
    UNMARKED = "occluded, not marked"
    """Occluded, and the labels do not say where, or there are none: the paper's (2)."""
    NAKED = "naked"
    """Not occluded: the paper's (3)."""
    NO_FACE = "no face"
    """No face was found, and nothing is marked as occluding one: LOM cannot be asked."""


class Route(StrEnum):
    """Where a picture goes."""

    UVM_SEGM = "UVM and SEGM"
    """As it is, and turned to other poses."""
    DOM_SEGM = "DOM, then SEGM"
    """With labels in which DOM has marked the occlusion."""
    SEGM = "SEGM alone"
    """As it is: without a known face there is nothing to turn."""
    NOWHERE = "nowhere"
    """There is no label to learn from."""


@dataclass(frozen=True)
class RoutingConfig:
    """Where the lines are drawn."""

    visible: float = 0.5
    """A landmark counts as hidden where LOM gives it a smaller probability of being visible."""
    hidden_share: float = 0.05
    """A face counts as occluded from this share of hidden landmarks on (14 of the 264)."""
    marked_share: float = 0.01
    """Labels mark an occlusion from this share on of occlusion among the pixels of face and occlusion."""
    covering: tuple[str, ...] = ("eye_g", "hair", "hat")
    """Classes that cover faces under names of their own. A hidden landmark on one of them is marked by it, and DOM does
    not overwrite them.
    """
    unsure: tuple[float, float] = (0.1, 0.9)
    """Where DOM's probability of occlusion lies between these, bounds included, the merged label is unknown."""


@dataclass(frozen=True)
class Evidence:
    """What a decision was made of."""

    labelled: bool
    """There are labels."""
    occlusion_share: float
    """Of what is marked as occlusion, among the pixels of face and occlusion."""
    hidden_share: float | None
    """Of the landmarks that LOM says are hidden; None without a face."""
    unmarked_share: float | None
    """Of the landmarks that are hidden though the labels mark nothing there; None without a face."""


@dataclass(frozen=True)
class Decision:
    """What a picture is and where it goes."""

    name: str
    kind: Kind
    route: Route
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """As a line of the log."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "route": self.route.value,
            "evidence": asdict(self.evidence),
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Decision":
        """From a line of the log."""
        return cls(line["name"], Kind(line["kind"]), Route(line["route"]), Evidence(**line["evidence"]))


def decide(
    name: str,
    labels: NDArray[np.uint8] | None,
    answer: LandmarkPrediction | None,
    config: RoutingConfig,
    space: LabelSpace,
) -> Decision:
    """What a picture is, by F(landmark, Occlusion, Mask), and where it goes, by F(Mask).

    Args:
        name: of the picture.
        labels: uint8 (H, W); None where there are none.
        answer: LOM's; None where there is no face to ask about.
        config: where the lines are drawn.
        space: what the labels' values stand for.
    """
    evidence = gather(labels, answer, config, space)
    kind = kind_of(evidence, config)
    return Decision(name, kind, route_of(kind, evidence), evidence)


def gather(
    labels: NDArray[np.uint8] | None, answer: LandmarkPrediction | None, config: RoutingConfig, space: LabelSpace
) -> Evidence:
    """Counts hidden landmarks and marked pixels."""
    occlusion_share = 0.0 if labels is None else _occlusion_share(labels, space)
    if answer is None:
        return Evidence(labels is not None, occlusion_share, None, None)
    hidden = answer.visibility < config.visible
    unmarked = hidden if labels is None else hidden & ~_marked(answer, labels, config, space)
    return Evidence(labels is not None, occlusion_share, float(hidden.mean()), float(unmarked.mean()))


def kind_of(evidence: Evidence, config: RoutingConfig) -> Kind:
    """F(landmark, Occlusion, Mask): is the face occluded, and is that marked?

    Labels that mark an occlusion are believed, whatever LOM says.
    """
    if evidence.occlusion_share >= config.marked_share:
        return Kind.MARKED
    if evidence.hidden_share is None or evidence.unmarked_share is None:
        return Kind.NO_FACE
    if evidence.hidden_share < config.hidden_share:
        return Kind.NAKED
    return Kind.MARKED if evidence.unmarked_share < config.hidden_share else Kind.UNMARKED


def route_of(kind: Kind, evidence: Evidence) -> Route:
    """F(Mask): where a picture goes (Mask-FPAN, figure 2)."""
    if kind is Kind.UNMARKED:
        return Route.DOM_SEGM
    if not evidence.labelled:
        return Route.NOWHERE
    return Route.SEGM if evidence.hidden_share is None else Route.UVM_SEGM


def count(decisions: Iterable[Decision]) -> Counter[tuple[Kind, Route]]:
    """How many pictures are of which kind and go where."""
    return Counter((decision.kind, decision.route) for decision in decisions)


def values_within(space: LabelSpace, names: Collection[str]) -> NDArray[np.bool_]:
    """Which values of masks stand for nothing but some of these classes, bool (256,).

    The id of occlusion is one of its own in every space: generators and routing paint it over any mask.
    """
    return _values(space, lambda members, ids: members <= ids, names)


def _values(
    space: LabelSpace, holds: Callable[[set[int], set[int]], bool], names: Collection[str]
) -> NDArray[np.bool_]:
    ids = {space.taxonomy.id_of(name) for name in names}
    occlusion = space.taxonomy.id_of(OCCLUSION)
    table = np.zeros(256, np.bool_)
    for value, members in {occlusion: (occlusion,), **dict(space.declared)}.items():
        table[value] = holds(set(members), ids)
    return table


def _occlusion_share(labels: NDArray[np.uint8], space: LabelSpace) -> float:
    pixels = np.bincount(labels.ravel(), minlength=256)
    marked = values_within(space, (OCCLUSION,))
    face = _values(space, lambda members, ids: not members.isdisjoint(ids), space.taxonomy.groups["face"])
    occlusion = int(pixels[marked].sum())
    return occlusion / max(1, occlusion + int(pixels[face & ~marked].sum()))


def _marked(
    answer: LandmarkPrediction, labels: NDArray[np.uint8], config: RoutingConfig, space: LabelSpace
) -> NDArray[np.bool_]:
    """Which landmarks (264,) lie on a class that covers faces, or outside the picture, where nothing can be marked."""
    columns, rows = np.rint(answer.points).astype(int).T
    height, width = labels.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    beneath = labels[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return np.asarray(~inside | values_within(space, (OCCLUSION, *config.covering))[beneath])
