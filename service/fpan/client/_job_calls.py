"""The calls of jobs as data, and what comes back."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, cast

import httpx

from fpan.client import _answers, _calls
from fpan.client._options import Options, Output
from fpan.client._patience import Patience, Retry
from fpan.client.errors import ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.client.types import Job

_PATH = "/v1/jobs"
EVENTS_TIMEOUT_S = 60.0
"""How long nothing may come on the line of events, in seconds: a server says something several times as often."""
_COME_AGAIN_S = 0.5
"""How long to wait, in seconds, before a line of events that was cut is asked for anew."""
_RESTART = Retry(attempts=14, longest_wait_s=30.0)
"""Patience with a server that has told of a job and is gone or refuses now: about five minutes, as for a restart."""


class Line:
    """The line on which a server tells of a job, which may be cut any number of times."""

    def __init__(self, retry: Retry) -> None:
        """Has the patience of any other call until something was heard."""
        self._retry = retry
        self._patience = Patience(retry)

    def heard(self) -> None:
        """The server has told of the job."""
        self._patience = Patience(self._retry if self._retry.attempts == 1 else _RESTART)

    def pause_s(self, cut: TryAgain | ServerUnreachable | None) -> float:
        """Seconds after which the line is asked for anew.

        Args:
            cut: why there is none; None where it has only ended, as it may.

        Raises:
            TryAgain, ServerUnreachable: ``cut``, where patience is over.
        """
        if cut is None:
            return _COME_AGAIN_S
        pause_s = self._patience.wait_s(cut)
        if pause_s is None:
            raise cut
        return pause_s


def submit_call(
    pictures: Iterable[bytes],
    options: Options,
    outputs: Sequence[Output],
    webhook: str | None,
    key: str | None,
) -> _calls.Request:
    """Hands in pictures. It always has a key, so that it can be sent again when no answer comes."""
    call = _calls.several_call(_PATH, pictures, options, outputs, idempotency_key=key or uuid.uuid4().hex)
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
