"""Which trace a request belongs to (W3C Trace Context): what its caller says goes on to the inference server."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Headers, or gRPC metadata."""
MAX_STATE = 512
"""Characters of :data:`TRACESTATE` that go on; a longer one is dropped (3.3.1.5 asks for that many)."""
_MAX_MEMBERS = 32
_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,200})?"
)
_MEMBER = re.compile(
    r"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_FIRST_VERSION = "00"
_PARENT_LENGTH = 55

Trace = Mapping[str, str]
"""Headers as they go on; empty without a trace."""
NO_TRACE: Trace = MappingProxyType({})


def read_trace(parents: Sequence[str], states: Sequence[str]) -> Trace:
    """What a request says of its trace. What does not follow the grammar is dropped: a wrong ``traceparent`` with its
    state, a wrong ``tracestate`` alone.

    Args:
        parents: values of :data:`TRACEPARENT`; there may be one.
        states: values of :data:`TRACESTATE`, which together are one list.
    """
    parent = parents[0].strip() if len(parents) == 1 else ""
    found = _PARENT.fullmatch(parent)
    if found is None or (found[1] == _FIRST_VERSION and found[2] is not None):
        return NO_TRACE
    # Of later versions what the first has in common with them is known, and goes on as that (3.2.3).
    told = {TRACEPARENT: _FIRST_VERSION + parent[len(_FIRST_VERSION) : _PARENT_LENGTH]}
    state = ",".join(states)
    if len(state) <= MAX_STATE and (members := _members(state)):
        told[TRACESTATE] = ",".join(members)
    return told


def _members(state: str) -> list[str]:
    """The members of a list; none where one is wrong."""
    members = [member for each in state.split(",") if (member := each.strip(" \t"))]
    keys = {found[1] for each in members if (found := _MEMBER.fullmatch(each))}
    return members if len(keys) == len(members) <= _MAX_MEMBERS else []
