"""HTTP calls of jobs as data, and how their responses are read."""

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
"""Read timeout of the event stream in seconds. The server sends something several times in that time."""
_COME_AGAIN_S = 0.5
"""Seconds to wait before reconnecting to an event stream that has ended."""
_RESTART = Retry(attempts=14, longest_wait_s=30.0)
"""Retries when a server has reported a job and is now unreachable or busy: about five minutes, enough for a restart."""


class Line:
    """Decides when to reconnect to the event stream of a job, which may break any number of times."""

    def __init__(self, retry: Retry) -> None:
        """Until the first event, retries are those of any other call."""
        self._retry = retry
        self._patience = Patience(retry)

    def heard(self) -> None:
        """Records that the server has reported the job, which starts the retries anew."""
        self._patience = Patience(self._retry if self._retry.attempts == 1 else _RESTART)

    def pause_s(self, cut: TryAgain | ServerUnreachable | None) -> float:
        """Seconds to wait before reconnecting.

        Args:
            cut: the error that ended the stream; None if the stream just ended, which is allowed.

        Raises:
            TryAgain, ServerUnreachable: ``cut`` itself, when no retries are left.
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
    """A request that submits pictures. It always has an idempotency key, so that it can be repeated safely."""
    call = _calls.several_call(_PATH, pictures, options, outputs, idempotency_key=key or uuid.uuid4().hex)
    return call if webhook is None else replace(call, params={**call.params, "webhook": webhook})


def job_call(job: Job | str, part: str = "", method: str = "GET") -> _calls.Request:
    """A request for a job, or for the part of it at the subpath ``part``."""
    return replace(_calls.get(f"{_PATH}/{job.id if isinstance(job, Job) else job}{part}"), method=method)


def read_job(response: httpx.Response) -> Job:
    """The state of a job; errors as :func:`~fpan.client._answers.expect`."""
    return _job(_answers.read_json(response, HTTPStatus.OK, HTTPStatus.ACCEPTED), str(response.url))


def read_end(response: httpx.Response) -> Job | None:
    """The job after a cancel request; None if it had ended before and is deleted now."""
    return None if response.status_code == HTTPStatus.NO_CONTENT else read_job(response)


def read_event(line: str, url: str) -> Job | None:
    """The job in a line of server-sent events; None for a line without data."""
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
