"""Jobs with the blocking client."""

import time
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Unpack

import httpx

from fpan.client import _answers, _job_calls
from fpan.client._options import Drawing, Options, Output, Shape, outputs
from fpan.client._pictures import Picture, picture_bytes
from fpan.client._wire import Call
from fpan.client.errors import ApiError, ServerUnreachable, TryAgain
from fpan.client.types import Job, Result

if TYPE_CHECKING:
    from fpan.client._blocking import Client


class Jobs:
    """The jobs of a server: pictures that are handed in together and parsed when nobody else waits.

    Its methods raise what :mod:`fpan.client.errors` draws; :class:`ApiError` with 404 where there is no such job.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def submit(
        self,
        pictures: Iterable[Picture],
        *,
        output: Sequence[Output] = (),
        drawings: Sequence[Drawing] = (),
        shapes: Sequence[Shape] = (),
        webhook: str | None = None,
        key: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Hands in pictures.

        Args:
            pictures: what to parse.
            output: as for :meth:`Client.parse`.
            drawings: former name of ``output``, which warns.
            shapes: likewise.
            webhook: address that is told of the job's end, where the server allows it.
            key: the same request with the same key is the same job; None makes one for this call alone.
            options: for all pictures; ``deadline_ms`` is for each.
        """
        wanted = outputs(output, drawings=drawings, shapes=shapes)
        data = [picture_bytes(picture) for picture in pictures]
        call = _job_calls.submit_call(data, options, wanted, webhook, key)
        return self._client._ask(Call(call, _job_calls.read_job))

    def get(self, job: Job | str) -> Job:
        """How far a job is."""
        return self._client._ask(Call(_job_calls.job_call(job), _job_calls.read_job))

    def events(self, job: Job | str) -> Iterator[Job]:
        """The job now, and again whenever it has changed, until it has ended.

        Asks anew when the line is cut or the server is away or full, for minutes once it has told of the job.
        """
        line = _job_calls.Line(self._client._retry)
        while True:
            cut: TryAgain | ServerUnreachable | None = None
            try:
                for seen in self._events(job):
                    line.heard()
                    yield seen
                    if seen.ended:
                        return
            except (TryAgain, ServerUnreachable) as error:
                cut = error
            time.sleep(line.pause_s(cut))

    def _events(self, job: Job | str) -> Iterator[Job]:
        call = _job_calls.job_call(job, "/events")
        try:
            with self._client._http.stream(
                "GET", call.path, headers={"accept": "text/event-stream"}, timeout=_job_calls.EVENTS_TIMEOUT_S
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    response.read()
                    yield _job_calls.read_job(response)  # which says what is wrong
                for line in response.iter_lines():
                    if (seen := _job_calls.read_event(line, call.path)) is not None:
                        yield seen
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            return  # cut, as by a server that is restarted
        except httpx.HTTPError as error:
            raise _answers.unreachable(self._client.url, error) from error

    def wait(self, job: Job | str) -> Job:
        """The job when it has ended, however that came about."""
        for seen in self.events(job):
            if seen.ended:
                return seen
        raise AssertionError("events end with the job")

    def result(self, job: Job | str) -> list[Result | ApiError]:
        """What became of each picture: its result, or what is wrong with it."""
        return self._client._ask(Call(_job_calls.job_call(job, "/result"), _answers.read_results))

    def cancel(self, job: Job | str) -> Job | None:
        """Ends a job that waits or runs; one that has ended is deleted with its result, and None is returned."""
        return self._client._ask(Call(_job_calls.job_call(job, method="DELETE"), _job_calls.read_end))
