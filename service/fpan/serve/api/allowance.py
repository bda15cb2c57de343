"""What a caller may still ask, and how answers tell it."""

import math
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60
"""Seconds that a quota is for."""
_POLICY: Final = '"default"'


@dataclass(frozen=True)
class Allowance:
    """What is left of a caller's quota after its request was counted."""

    limit: int
    """Requests in a minute."""
    remaining: int
    reset_s: float
    """Seconds until more of it is there."""


def limit_fields(allowance: Allowance | None) -> dict[str, str]:
    """The fields ``ratelimit-policy`` and ``ratelimit``; none without a quota.

    Source: draft-ietf-httpapi-ratelimit-headers-10: quota and window; what remains, and seconds until there is more.
    """
    if allowance is None:
        return {}
    return {
        "ratelimit-policy": f"{_POLICY};q={allowance.limit};w={WINDOW_S}",
        "ratelimit": f"{_POLICY};r={allowance.remaining};t={math.ceil(allowance.reset_s)}",
    }
