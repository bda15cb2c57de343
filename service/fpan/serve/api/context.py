"""What a request carries besides its picture and options. The transport makes it and passes it to every stage."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from fpan.serve.api.deadline import Deadline
from fpan.serve.telemetry.traces import NO_TRACE, Trace

PRIORITY = "priority"
"""Name of the HTTP header and of the gRPC metadata."""
BACKGROUND = "u=7"
"""Value of :data:`PRIORITY` that lets all other requests go first."""
_URGENCY = re.compile(r"u=(\d)")
_DEFAULT_URGENCY, _LEAST_URGENCY = 3, 7


@dataclass(frozen=True)
class RequestContext:
    """Identity, deadline, caller and priority of one request."""

    request_id: str = ""
    """The id that the caller sent, or a new one; see :func:`choose_request_id`."""
    deadline: Deadline = field(default_factory=Deadline.never)
    """When the request expires."""
    caller: str | None = None
    """Id of the caller, see :class:`~fpan.serve.admission.caller.Caller`; None is never answered by a challenger."""
    account: str = ""
    """Cached answers are shared only within one account, see ``Caller.account``."""
    background: bool = False
    """Whether all other requests go first."""
    group: object | None = None
    """Requests of one group share one place in every queue. None: the request has a place of its own."""
    trace: Trace = field(default_factory=lambda: NO_TRACE)
    """The trace that the inferences of this request belong to."""


def is_background(offered: Iterable[str | None]) -> bool:
    """Returns whether a request may wait until no other request waits.

    Args:
        offered: values of :data:`PRIORITY`. An urgency (``u``) above the default of 3 is less urgent. A value that
            cannot be read is ignored (RFC 9218, 4).
    """
    urgency = _DEFAULT_URGENCY
    for value in offered:
        for member in (value or "").split(","):
            found = _URGENCY.fullmatch(member.partition(";")[0].strip())
            if found and int(found[1]) <= _LEAST_URGENCY:
                urgency = int(found[1])  # the last one is valid (RFC 9651, 3.2)
    return urgency > _DEFAULT_URGENCY


REQUEST_ID = "x-request-id"
"""Name of the HTTP header and of the gRPC metadata."""
_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def choose_request_id(offered: str | None) -> str:
    """Returns the id that the caller sent if it is short and printable, else a new one."""
    return offered if offered is not None and _SANE.fullmatch(offered) else uuid.uuid4().hex
