"""How much a caller minds waiting: RFC 9218's ``Priority``, in HTTP and in gRPC's metadata."""

import re
import uuid
from collections.abc import Iterable

PRIORITY = "priority"
"""Name of the header, and of the metadata."""
BACKGROUND = "u=7"
"""What a caller sends who wants everybody else to go first."""
_URGENCY = re.compile(r"u=(\d)")
_DEFAULT_URGENCY, _LEAST_URGENCY = 3, 7


def is_background(offered: Iterable[str | None]) -> bool:
    """Whether the work may wait until there is no other.

    Args:
        offered: values of :data:`PRIORITY`. An urgency (``u``) of more than 3, the default, is less urgent; what cannot
            be read counts as not sent (RFC 9218, 4).
    """
    urgency = _DEFAULT_URGENCY
    for value in offered:
        for member in (value or "").split(","):
            found = _URGENCY.fullmatch(member.partition(";")[0].strip())
            if found and int(found[1]) <= _LEAST_URGENCY:
                urgency = int(found[1])  # the last counts (RFC 9651, 3.2)
    return urgency > _DEFAULT_URGENCY


HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def choose(offered: str | None) -> str:
    """The offered id if it is short and printable, else a new one."""
    return offered if offered is not None and _SANE.fullmatch(offered) else uuid.uuid4().hex
