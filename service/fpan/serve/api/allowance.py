"""What is left of a caller's quota, and the header fields that say so."""

import math
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60
"""Length of the window that a quota applies to, in seconds."""
_POLICY: Final = '"default"'


@dataclass(frozen=True)
class Allowance:
    """State of a caller's quota after its request was counted."""

    limit: int
    """Quota: requests in a minute."""
    remaining: int
    reset_s: float
    """Seconds until more requests become available."""


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
