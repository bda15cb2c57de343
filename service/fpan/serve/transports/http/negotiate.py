"""Which media type a caller wants."""

from collections.abc import Sequence

from fpan.serve.api.errors import NotAcceptable


def negotiate(accept: str, offered: Sequence[str]) -> str:
    """The offered media type that ``Accept`` (all such headers, joined by commas) prefers; the first where it is empty.

    Source: RFC 9110, 12.5.1.

    Raises:
        NotAcceptable: none of them is wanted.
    """
    if not accept.strip():
        return offered[0]
    weights = [_weight(part) for part in accept.split(",")]
    best = max(offered, key=lambda media: (_quality(media, weights), -offered.index(media)))
    if _quality(best, weights) <= 0:
        raise NotAcceptable(f"this answers with {' or '.join(offered)}, not with {accept.strip()[:100]}")
    return best


def _weight(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, float(parameter[2:])
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(media: str, weights: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific range that covers ``media``."""
    kind = media.split("/")[0]
    for covering in (media, f"{kind}/*", "*/*"):
        matching = [weight for name, weight in weights if name == covering]
        if matching:
            return max(matching)
    return 0.0
