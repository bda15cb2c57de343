"""Jobs with the asynchronous client."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
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
    from fpan.client._asynchronous import AsyncClient


class AsyncJobs:
    """The jobs of a server: pictures that are handed in together and parsed when nobody else waits.

    Its methods raise what :mod:`fpan.client.errors` draws; :class:`ApiError` with 404 where there is no such job.
    """

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def submit(
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
            output: as for :meth:`AsyncClient.parse`.
            drawings: former name of ``output``, which warns.
            shapes: likewise.
            webhook: address that is told of the job's end, where the server allows it.
            key: the same request with the same key is the same job; None makes one for this call alone.
            options: for all pictures; ``deadline_ms`` is for each.
        """
        wanted = outputs(output, drawings=drawings, shapes=shapes)
        data = [await asyncio.to_thread(picture_bytes, picture) for picture in pictures]
        call = _job_calls.submit_call(data, options, wanted, webhook, key)
        return await self._client._ask(Call(call, _job_calls.read_job))

    async def get(self, job: Job | str) -> Job:
        """How far a job is."""
        return await self._client._ask(Call(_job_calls.job_call(job), _job_calls.read_job))

    async def events(self, job: Job | str) -> AsyncIterator[Job]:
        """The job now, and again whenever it has changed, until it has ended.

        Asks anew when the line is cut or the server is away or full, for minutes once it has told of the job.
        """
        line = _job_calls.Line(self._client._retry)
        while True:
            cut: TryAgain | ServerUnreachable | None = None
            try:
                async for seen in self._events(job):
                    line.heard()
                    yield seen
                    if seen.ended:
                        return
            except (TryAgain, ServerUnreachable) as error:
                cut = error
            await asyncio.sleep(line.pause_s(cut))

    async def _events(self, job: Job | str) -> AsyncIterator[Job]:
        call = _job_calls.job_call(job, "/events")
        try:
            async with self._client._http.stream(
                "GET", call.path, headers={"accept": "text/event-stream"}, timeout=_job_calls.EVENTS_TIMEOUT_S
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    await response.aread()
                    yield _job_calls.read_job(response)  # which says what is wrong
                async for line in response.aiter_lines():
                    if (seen := _job_calls.read_event(line, call.path)) is not None:
                        yield seen
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            return  # cut, as by a server that is restarted
        except httpx.HTTPError as error:
            raise _answers.unreachable(self._client.url, error) from error

    async def wait(self, job: Job | str) -> Job:
        """The job when it has ended, however that came about."""
        async for seen in self.events(job):
            if seen.ended:
                return seen
        raise AssertionError("events end with the job")

    async def result(self, job: Job | str) -> list[Result | ApiError]:
        """What became of each picture: its result, or what is wrong with it."""
        return await self._client._ask(Call(_job_calls.job_call(job, "/result"), _answers.read_results))

    async def cancel(self, job: Job | str) -> Job | None:
        """Ends a job that waits or runs; one that has ended is deleted with its result, and None is returned."""
        return await self._client._ask(Call(_job_calls.job_call(job, method="DELETE"), _job_calls.read_end))
