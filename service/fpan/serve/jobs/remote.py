"""Pictures of jobs, parsed by a gateway over HTTP: behind everybody who waits for an answer there."""

import asyncio
import logging

import httpx

from fpan.client._options import word
from fpan.client.errors import OF_THE_CALLER
from fpan.serve.api.batch import Upload
from fpan.serve.api.context import BACKGROUND, PRIORITY, REQUEST_ID
from fpan.serve.api.errors import BadRequest, GatewayError, Unavailable
from fpan.serve.api.parse import JSON
from fpan.serve.api.problem import PROBLEM_JSON
from fpan.serve.jobs.worker import ParseFor
from fpan.serve.telemetry.job_metrics import JobCounts

_CONNECT_S = 5.0
_GRACE_S = 5.0
"""Time to wait beyond the deadline, in seconds, so that the gateway's own error arrives."""
_BROKEN_S = 600.0
"""How long a picture is retried when the gateway answers 500, in seconds: the cause may be the gateway or the picture.
"""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
"""Pauses between such attempts, in seconds."""
_log = logging.getLogger(__name__)


class GatewayStatus:
    """Whether the gateway serves this worker; logged only when that changes."""

    def __init__(self, counts: JobCounts) -> None:
        self._counts = counts
        self._wrong = ""

    def is_well(self) -> None:
        """Records that the gateway has answered."""
        self._counts.gateway(usable=True)
        if self._wrong:
            _log.info("the gateway answers this worker again")
        self._wrong = ""

    def is_wrong(self, what: str) -> None:
        """Records that the gateway has not answered, or refuses this worker whatever the picture."""
        self._counts.gateway(usable=False)
        if what != self._wrong:
            _log.warning("%s: jobs wait until that is put right", what)
        self._wrong = what


class RemoteParse:
    """A :class:`~fpan.serve.api.batch.Parse` by a gateway."""

    def __init__(self, client: httpx.AsyncClient, standing: GatewayStatus) -> None:
        """Sends pictures to the base URL of ``client``, and reports to ``standing`` whether the gateway answers."""
        self._client = client
        self._standing = standing

    async def __call__(self, picture: Upload, identity: str) -> bytes:
        """See :class:`~fpan.serve.api.batch.Parse`."""
        loop, pause_s = asyncio.get_running_loop(), _FIRST_PAUSE_S
        until = loop.time() + _BROKEN_S
        while True:
            answer = await self._ask(picture, identity)
            if answer.is_success:
                self._standing.is_well()
                return answer.content
            error = self._error(answer)
            if error.status != GatewayError.status or loop.time() + pause_s > until:
                raise error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _ask(self, picture: Upload, identity: str) -> httpx.Response:
        try:
            params = {name: word(name, value) for name, value in picture.options.items()}
            wait_s = float(params.get("deadline_ms", 0)) / 1000 + _GRACE_S
        except (TypeError, ValueError) as error:
            raise BadRequest("an option of this picture is not of its kind") from error
        headers = {
            "accept": JSON,
            "content-type": "application/octet-stream",
            PRIORITY: BACKGROUND,
            REQUEST_ID: identity,
        }
        timeout = httpx.Timeout(wait_s, connect=_CONNECT_S)
        try:
            return await self._client.post(
                "/v1/parse", params=params, content=picture.data, headers=headers, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise self._away(f"the gateway of WORKER_GATEWAY_URL does not answer ({type(error).__name__})") from error

    def _error(self, answer: httpx.Response) -> GatewayError:
        """Translates an error response; it becomes Unavailable if another attempt may succeed."""
        status = answer.status_code
        if answer.headers.get("content-type", "").partition(";")[0] != PROBLEM_JSON:
            return self._away(f"the address of WORKER_GATEWAY_URL answers with {status} and no problem of its own")
        told = answer.json()
        if status in OF_THE_CALLER:
            return self._away(f"the gateway refuses this worker ({status}), whose key is FPAN_API_KEY")
        if status == GatewayError.status:
            self._standing.is_wrong("the gateway breaks over a picture (500), its log says why")
            return GatewayError(told["detail"])
        self._standing.is_well()
        wait = answer.headers.get("retry-after", "")
        retry_after_s = float(wait) if wait.isdecimal() else None
        if status in (429, 503):
            return Unavailable(told["detail"], retry_after_s=retry_after_s)
        slug = str(told["type"]).rpartition(":")[2]
        kind = next((kind for kind in GatewayError.__subclasses__() if kind.slug == slug), GatewayError)
        return kind(told["detail"])

    def _away(self, what: str) -> Unavailable:
        self._standing.is_wrong(what)
        return Unavailable(what)


def remote(client: httpx.AsyncClient, counts: JobCounts) -> ParseFor:
    """Parses the pictures of any job by a gateway; ``counts`` records whether the gateway can be used."""
    standing = GatewayStatus(counts)
    return lambda job: RemoteParse(client, standing)
