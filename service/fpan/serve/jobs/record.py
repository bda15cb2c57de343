"""The record of a job, and its JSON form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States that are final."""
JOBS_PATH = "/v1/jobs"


@dataclass(frozen=True)
class JobRecord:
    """A job as stored in Redis. It holds nothing of its pictures."""

    id: str
    state: State
    owner: str
    """Keyed hash of the authenticated caller; empty without authentication."""
    total: int
    """Number of pictures."""
    done: int
    failed: int
    """Pictures that are done and have a problem instead of an answer."""
    attempts: int
    """How often a worker has taken it."""
    created_ms: int
    """Milliseconds since 1970 by Redis's clock, as are ``started_ms`` and ``finished_ms``."""
    started_ms: int | None
    finished_ms: int | None
    result_ttl_ms: int
    problem: dict[str, Any] | None
    """Why it failed."""
    webhook: str
    """URL that is called when the job ends; empty for none."""
    expired: bool
    """Whether its result is gone."""
    seq: int
    """Rises with every change."""

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes]) -> "JobRecord | None":
        """Reads a record from a Redis hash; None if the hash is empty."""
        if b"state" not in fields:
            return None
        words = {name.decode(): value.decode() for name, value in fields.items()}
        numbers = ("total", "done", "failed", "attempts", "created_ms", "result_ttl_ms", "seq")
        return cls(
            id=words["id"],
            state=cast(State, words["state"]),
            owner=words["owner"],
            problem=json.loads(words["problem"]) if words["problem"] else None,
            webhook=words["webhook"],
            expired="expired" in words,
            started_ms=int(words["started_ms"]) if "started_ms" in words else None,
            finished_ms=int(words["finished_ms"]) if "finished_ms" in words else None,
            **{name: int(words[name]) for name in numbers},
        )

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED

    @property
    def path(self) -> str:
        """Path of the job's route."""
        return f"{JOBS_PATH}/{self.id}"

    def told(self) -> dict[str, Any]:
        """The job as a JSON object, see :class:`fpan.serve.transports.http.openapi.schema.Job`."""
        has_result = self.state == "succeeded" and not self.expired
        gone_ms = self.finished_ms + self.result_ttl_ms if has_result and self.finished_ms is not None else None
        return {
            "id": self.id,
            "state": self.state,
            "progress": {"done": self.done, "failed": self.failed, "total": self.total},
            "attempts": self.attempts,
            "created_at": _time(self.created_ms),
            "started_at": _time(self.started_ms),
            "finished_at": _time(self.finished_ms),
            "problem": self.problem,
            "result": f"{self.path}/result" if has_result else None,
            "result_expires_at": _time(gone_ms),
            "events": f"{self.path}/events",
        }


def _time(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
