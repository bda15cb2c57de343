"""The calls of jobs as data, and what comes back."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, cast

import httpx

from fpan.client import _answers, _calls
from fpan.client._options import Drawing, Options, Shape
from fpan.client.errors import UnexpectedAnswer
from fpan.client.types import Job

_PATH = "/v1/jobs"
EVENTS_TIMEOUT_S = 60.0
"""How long nothing may come on the line of events, in seconds: a server says something several times as often."""
COME_AGAIN_S = 0.5
"""How long to wait, in seconds, before a line of events that was cut is asked for anew."""


def submit_call(
    pictures: Iterable[bytes],
    options: Options,
    drawings: Iterable[Drawing],
    shapes: Iterable[Shape],
    webhook: str | None,
    key: str | None,
) -> _calls.Request:
    """Hands in pictures. It always has a key, so that it can be sent again when no answer comes."""
    call = _calls.several_call(_PATH, pictures, options, drawings, shapes, idempotency_key=key or uuid.uuid4().hex)
    return call if webhook is None else replace(call, params={**call.params, "webhook": webhook})


def job_call(job: Job | str, part: str = "", method: str = "GET") -> _calls.Request:
    """Asks after a job, or a part of it."""
    return replace(_calls.get(f"{_PATH}/{job.id if isinstance(job, Job) else job}{part}"), method=method)


def read_job(response: httpx.Response) -> Job:
    """The state of a job; errors as :func:`~fpan.client._answers.expect`."""
    return _job(_answers.read_json(response, HTTPStatus.OK, HTTPStatus.ACCEPTED), str(response.url))


def read_end(response: httpx.Response) -> Job | None:
    """What became of a job that was ended; None for one that had ended and is forgotten."""
    return None if response.status_code == HTTPStatus.NO_CONTENT else read_job(response)


def read_event(line: str, url: str) -> Job | None:
    """The job that a line of server-sent events tells; None for a line that tells none."""
    name, _, value = line.partition(": ")
    if name != "data":
        return None
    try:
        return _job(json.loads(value), url)
    except ValueError as error:
        raise UnexpectedAnswer(f"{url} told an event that is no JSON: {error}") from error


def _job(body: Mapping[str, Any], url: str) -> Job:
    try:
        counts = {name: int(body["progress"][name]) for name in ("done", "failed", "total")}
        detail = str(body["problem"]["detail"]) if body["problem"] else ""
        return Job(id=str(body["id"]), state=cast(Any, body["state"]), detail=detail, raw=dict(body), **counts)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"{url} answered with no job: {error!r}") from error
