"""What a request carries besides its picture and options. Its transport makes it, and every stage is handed it."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from fpan.serve.api.deadline import Deadline
from fpan.serve.telemetry.traces import NO_TRACE, Trace

PRIORITY = "priority"
"""Name of the header, and of the metadata."""
BACKGROUND = "u=7"
"""What a caller sends who wants everybody else to go first."""
_URGENCY = re.compile(r"u=(\d)")
_DEFAULT_URGENCY, _LEAST_URGENCY = 3, 7


@dataclass(frozen=True)
class RequestContext:
    """A request as every stage sees it."""

    request_id: str = ""
    """The caller's own, or one made here; see :func:`choose_request_id`."""
    deadline: Deadline = field(default_factory=Deadline.never)
    """Until when its answer is of use."""
    caller: str | None = None
    """Who sends it, see :class:`~fpan.serve.admission.caller.Caller`; None for somebody whom no challenger answers."""
    account: str = ""
    """Who may notice from a cached answer that the same was asked before, see there."""
    background: bool = False
    """Whether everybody else goes first."""
    group: object | None = None
    """Requests of one group share one place in every queue; None: a place of its own."""
    trace: Trace = field(default_factory=lambda: NO_TRACE)
    """Which trace its inferences belong to."""


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


REQUEST_ID = "x-request-id"
"""Name of the header, and of the metadata."""
_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def choose_request_id(offered: str | None) -> str:
    """The offered id if it is short and printable, else a new one."""
    return offered if offered is not None and _SANE.fullmatch(offered) else uuid.uuid4().hex
