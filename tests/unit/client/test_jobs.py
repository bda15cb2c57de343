"""Both clients with several pictures: in one call, and as jobs of a real gateway over a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fpan.client import ApiError, AsyncClient, Client, Result, Retry, ServerUnreachable, TryAgain
from fpan.serve.transports.http.app import create_app

from tests.support import redis_server
from tests.support.jobs import Jobs, listening, taking_jobs
from tests.support.redis_server import RedisServer
from tests.support.traffic import picture, repository, until

BROKEN = b"no picture"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture
async def jobs(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    redis.flush()
    repository(tmp_path / "repository", 1)
    async with taking_jobs(monkeypatch, tmp_path / "repository", redis) as opened:
        yield opened


@pytest.fixture
async def client(jobs: Jobs) -> AsyncIterator[AsyncClient]:
    async with AsyncClient("http://x", transport=httpx.ASGITransport(create_app(jobs.gateway))) as opened:
        yield opened


async def test_many_pictures_are_parsed_in_one_call(client: AsyncClient) -> None:
    sent = [picture(0), BROKEN, np.zeros((32, 32, 3), np.uint8)]
    first, second, third = await client.parse_many(sent, output=["overlay"], faces="full", deadline_ms=20_000)
    alone = await client.parse(picture(0), faces="full")
    assert isinstance(first, Result)
    np.testing.assert_array_equal(first.labels, alone.labels)
    assert first.pictures["overlay"].startswith(b"\x89PNG")
    assert isinstance(second, ApiError)
    assert (second.status, second.slug) == (415, "unsupported-image")
    assert (third.width, third.height) == (32, 32)


async def test_a_job_is_handed_in_followed_and_fetched(client: AsyncClient, jobs: Jobs) -> None:
    go = jobs.hold()
    job = await client.jobs.submit([picture(0), BROKEN], faces="full", output=["polygons"])
    assert (job.state, job.total, job.ended) == ("queued", 2, False)
    with pytest.raises(ApiError) as early:
        await client.jobs.result(job)
    assert early.value.status == 409
    waiting = asyncio.create_task(client.jobs.wait(job))
    go.set()
    ended = await waiting
    assert (ended.state, ended.done, ended.failed, ended.ended) == ("succeeded", 2, 1, True)
    first, second = await client.jobs.result(job.id)
    assert first.polygons is not None
    assert second.status == 415
    assert await client.jobs.cancel(job) is None
    with pytest.raises(ApiError) as gone:
        await client.jobs.get(job)
    assert gone.value.status == 404
    with pytest.raises(ApiError):
        await client.jobs.wait(job)


async def test_a_request_that_is_sent_again_is_the_same_job(client: AsyncClient, jobs: Jobs) -> None:
    jobs.hold()
    one, other = [await client.jobs.submit([picture()], key="mine", faces="full") for _ in range(2)]
    third = await client.jobs.submit([picture()], faces="full")
    assert one.id == other.id != third.id
    cancelled = await client.jobs.cancel(one)
    assert cancelled.state == "cancelled"


async def test_the_blocking_client_does_the_same(jobs: Jobs) -> None:
    def use(url: str) -> None:
        with Client(url) as client:
            assert [type(each) for each in client.parse_many([picture(), BROKEN], faces="full")] == [Result, ApiError]
            job = client.jobs.submit([picture(0), picture(1)], faces="full")
            states = [seen.state for seen in client.jobs.events(job)]
            assert states[-1] == "succeeded"
            assert client.jobs.get(job).done == client.jobs.wait(job).done == 2
            assert len(client.jobs.result(job)) == 2
            assert client.jobs.cancel(job) is None
            with pytest.raises(ApiError):
                next(client.jobs.events(job))
        nowhere = f"http://127.0.0.1:{redis_server.closed_port()}"
        with Client(nowhere, retry=Retry(attempts=2)) as nobody, pytest.raises(ServerUnreachable):
            nobody.jobs.wait("0" * 32)

    async with listening(jobs) as url:
        await asyncio.to_thread(use, url)


async def test_events_go_on_after_the_line_was_cut(jobs: Jobs) -> None:
    go = jobs.hold()
    calls = []

    class Cut(httpx.AsyncBaseTransport):
        """The first line is cut after its first event."""

        def __init__(self) -> None:
            self.inner = httpx.ASGITransport(create_app(jobs.gateway))

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not request.url.path.endswith("/events"):
                return await self.inner.handle_async_request(request)
            calls.append(request)
            if len(calls) > 1:
                go.set()
                return await self.inner.handle_async_request(request)
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async with AsyncClient("http://x", transport=Cut()) as client:
        job = await client.jobs.submit([picture()], faces="full")
        assert (await client.jobs.wait(job)).state == "succeeded"
        await until(lambda: len(calls) == 2)


JOB = "ab" * 16


def told(state: str) -> httpx.Response:
    job = {"id": JOB, "state": state, "progress": {"done": 0, "failed": 0, "total": 1}, "problem": None}
    return httpx.Response(200, text=f"id: 1\nevent: {state}\ndata: {json.dumps(job)}\n\n")


def refused(status: int) -> httpx.Response:
    body = {"type": "urn:mask-fpan:problem:unavailable", "status": status, "detail": "not now", "request_id": "r"}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


class Restarts(httpx.MockTransport):
    """A server with these answers, the last of them for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)  # read only once


GONE = httpx.ConnectError("connection refused")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits hardly at all."""
    monkeypatch.setattr("fpan.client._patience._FIRST_WAIT_S", 0.00005)
    monkeypatch.setattr("fpan.client._job_calls._COME_AGAIN_S", 0.0005)


async def waited(kind: type, transport: Restarts, **how: object) -> str:
    if kind is Client:
        with Client("http://x", transport=transport, **how) as client:
            return (await asyncio.to_thread(client.jobs.wait, JOB)).state
    async with AsyncClient("http://x", transport=transport, **how) as client:
        return (await client.jobs.wait(JOB)).state


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_waiting_goes_on_over_a_restart_of_the_gateway(kind: type) -> None:
    restart = [GONE] * 5 + [refused(503), refused(429)]
    assert await waited(kind, Restarts(told("running"), *restart, told("running"), *restart, told("succeeded")))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(("wrong", "raised"), [(GONE, ServerUnreachable), (refused(503), TryAgain)])
async def test_waiting_ends_when_the_gateway_does_not_come_back(
    kind: type, wrong: httpx.Response | Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        await waited(kind, Restarts(wrong))
    with pytest.raises(raised):
        await waited(kind, Restarts(told("running"), wrong))
    once = Restarts(told("running"), wrong, told("succeeded"))
    with pytest.raises(raised):
        await waited(kind, once, retry=Retry(attempts=1))
