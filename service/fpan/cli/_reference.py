"""The reference of drift from the live traffic of a gateway."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fpan.contract import ModelCard, ReferenceHistogram


class NoReference(ValueError):
    """The traffic makes no reference; the message says why and what to do."""


def from_traffic(drift: Any, card: ModelCard, min_faces: int, *, anew: bool) -> tuple[ReferenceHistogram, ...]:
    """The card's reference with what the traffic adds.

    Args:
        drift: what ``/v1/drift`` tells.
        card: of the version.
        min_faces: fewest faces of a quantity.
        anew: also what the card has a reference of is taken from the traffic.

    Raises:
        NoReference: the gateway does not serve the version, has seen too few faces, or nothing would change.
    """
    seen = next((v for v in drift["versions"] if (v["model"], v["version"]) == (card.name, card.version)), None)
    if seen is None or seen["sha256"] != card.sha256:
        raise NoReference(f"the gateway does not serve {card.name} version {card.version}: start one that does")
    known = {histogram.quantity: histogram for histogram in card.reference}
    wanted = {name: told for name, told in seen["quantities"].items() if anew or name not in known}
    if not wanted:
        raise NoReference("the card has a reference of every quantity: --all takes them anew from the traffic")
    source = f"live traffic of version {card.version} until {datetime.now(UTC).isoformat(timespec='minutes')}"
    taken = {name: _histogram(name, told, source) for name, told in wanted.items() if sum(told["counts"]) >= min_faces}
    if not taken:
        raise NoReference(
            f"the gateway counts {seen['faces']} faces, fewer than the {min_faces} of a reference: wait, or lower "
            "--min-faces; more than DRIFT_WINDOW_FACES are never counted"
        )
    return tuple({**known, **taken}.values())


def by_source(reference: Iterable[ReferenceHistogram]) -> dict[tuple[str, int], list[str]]:
    """Names of the quantities by what their reference was made of: its name and number of faces."""
    found: dict[tuple[str, int], list[str]] = {}
    for histogram in reference:
        found.setdefault((histogram.source, histogram.faces), []).append(histogram.quantity)
    return found


def _histogram(quantity: str, told: dict[str, Any], source: str) -> ReferenceHistogram:
    return ReferenceHistogram.of(quantity, tuple(told["edges"]), np.array(told["counts"], np.int64), source)
