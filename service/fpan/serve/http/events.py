"""A job's changes as server-sent events (WHATWG HTML, 9.2)."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator

from fpan.serve.errors import NotFound, Unavailable
from fpan.serve.jobs.bulletin import look_up
from fpan.serve.jobs.office import Office
from fpan.serve.jobs.record import Record

EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = "last-event-id"
_LOOK_S = 2.0
"""How often the job is looked at, in seconds, also when nothing was told: what tells may have been away."""
_COME_AGAIN_MS = 2000
_NUMBER = re.compile(r"[0-9]{1,19}")
"""What was told is one; a longer one is none of ours, and at some length none that is read."""
_NOTHING = b":\n\n"


def parse_event_id(offered: str | None) -> int | None:
    """The number of the last event that a client has seen; None for none."""
    found = _NUMBER.fullmatch(offered or "")
    return int(found[0]) if found else None


async def events(
    office: Office, record: Record, caller: str, seen: int | None, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """The state of a job, and again whenever it has changed, until it has ended, or this server does.

    Args:
        office: knows the job.
        record: what is known of it.
        caller: whose it is.
        seen: number of the last event that need not be told.
        heartbeat_s: how often something is said when there is nothing to say, so that the line is not cut.
    """
    loop = asyncio.get_running_loop()
    yield b"retry: %d\n\n" % _COME_AGAIN_MS
    spoken = loop.time()
    with office.bulletin.changes(record.id) as changed:
        while True:
            if record.seq != seen:
                seen, spoken = record.seq, loop.time()
                yield b"id: %d\nevent: %b\ndata: %b\n\n" % (
                    record.seq,
                    record.state.encode(),
                    json.dumps(record.told()).encode(),
                )
            if record.ended or office.draining:
                return
            await look_up(changed, min(_LOOK_S, heartbeat_s))
            if loop.time() - spoken >= heartbeat_s:
                spoken = loop.time()
                yield _NOTHING
            try:
                record = await office.record(record.id, caller)
            except NotFound:
                return  # somebody has deleted it
            except Unavailable:
                continue  # the client would only come again
