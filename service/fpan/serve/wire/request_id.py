"""Request ids: the caller's own where it is sane, else one made here."""

import re
import uuid

HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def choose(offered: str | None) -> str:
    """The offered id if it is short and printable, else a new one."""
    return offered if offered is not None and _SANE.fullmatch(offered) else uuid.uuid4().hex
