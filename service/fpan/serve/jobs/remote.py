"""Pictures of jobs, parsed by a gateway over HTTP: behind everybody who waits for an answer there."""

import httpx

from fpan.client._options import word
from fpan.serve.errors import BadRequest, GatewayError, Unavailable
from fpan.serve.http.answer import JSON
from fpan.serve.http.body import Upload
from fpan.serve.http.problems import PROBLEM_JSON
from fpan.serve.http.request_id import HEADER
from fpan.serve.jobs.runner import ParseFor
from fpan.serve.priority import BACKGROUND, PRIORITY

_CONNECT_S = 5.0
_GRACE_S = 5.0
"""How much longer than its deadline an answer is waited for, so that the gateway's own word about it arrives."""


class RemoteParse:
    """A :class:`~fpan.serve.http.entries.Parse` by a gateway."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Parses by whoever ``client``'s base address names."""
        self._client = client

    async def __call__(self, picture: Upload, identity: str) -> bytes:
        """See :class:`~fpan.serve.http.entries.Parse`."""
        try:
            params = {name: word(name, value) for name, value in picture.options.items()}
            wait_s = float(params.get("deadline_ms", 0)) / 1000 + _GRACE_S
        except (TypeError, ValueError) as error:
            raise BadRequest("an option of this picture is not of its kind") from error
        headers = {"accept": JSON, "content-type": "application/octet-stream", PRIORITY: BACKGROUND, HEADER: identity}
        timeout = httpx.Timeout(wait_s, connect=_CONNECT_S)
        try:
            answer = await self._client.post(
                "/v1/parse", params=params, content=picture.data, headers=headers, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise Unavailable("the gateway does not answer") from error
        if answer.is_success:
            return answer.content
        raise _error(answer)


def remote(client: httpx.AsyncClient) -> ParseFor:
    """Parses the pictures of any job by a gateway."""
    return lambda job: RemoteParse(client)


def _error(answer: httpx.Response) -> GatewayError:
    if answer.headers.get("content-type", "").partition(";")[0] != PROBLEM_JSON:
        return Unavailable(f"the gateway's address answers with {answer.status_code} and no problem of its own")
    told = answer.json()
    wait = answer.headers.get("retry-after", "")
    retry_after_s = float(wait) if wait.isdecimal() else None
    if answer.status_code in (429, 503):
        return Unavailable(told["detail"], retry_after_s=retry_after_s)
    slug = str(told["type"]).rpartition(":")[2]
    kind = next((kind for kind in GatewayError.__subclasses__() if kind.slug == slug), GatewayError)
    return kind(told["detail"])
