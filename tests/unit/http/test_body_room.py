"""The bodies of all requests share room in memory."""

import asyncio

import httpx
import pytest
from fpan.serve.api.errors import Overloaded
from fpan.serve.config import Settings
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.body_room import BodyRoom, let_go
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from tests.support.known_face import file_of, known_gateway, photo


def bodies(*pieces):
    left = list(pieces)

    async def receive():
        return {"type": "http.request", "body": left.pop(0)} if left else {"type": "http.disconnect"}

    return receive


async def test_bytes_are_counted_as_they_come_and_given_back_at_the_end():
    room = BodyRoom(10)
    with room.counted({"type": "http"}, bodies(b"1234", b"5678")) as first:
        await first()
        with room.counted({"type": "http"}, bodies(b"123456", b"7")) as second:
            await second()
            with pytest.raises(Overloaded):
                await first()
            with pytest.raises(Overloaded):
                await second()
        assert (await first())["type"] == "http.disconnect"
    with room.counted({"type": "http"}, bodies(b"1234567890")) as whole:
        assert len((await whole())["body"]) == 10


async def test_what_a_request_lets_go_others_may_have_and_it_is_given_back_once():
    room, scope = BodyRoom(10), {"type": "http"}
    with room.counted(scope, bodies(b"12345678")) as first:
        await first()
        let_go(HTTPConnection(scope), 6)
        with room.counted({"type": "http"}, bodies(b"12345678", b"9")) as second:
            await second()
            with pytest.raises(Overloaded):
                await second()
        let_go(HTTPConnection(scope), 1000)
    with room.counted({"type": "http"}, bodies(b"1" * 10, b"2")) as third:
        await third()
        with pytest.raises(Overloaded):
            await third()


async def test_a_body_without_room_is_refused_and_welcome_once_there_is_some():
    picture = file_of(photo())
    most = len(picture) + len(picture) // 2
    came, go_on = asyncio.Event(), asyncio.Event()

    async def slowly():
        yield picture[:-10]
        came.set()
        await go_on.wait()
        yield picture[-10:]

    chosen = {"max_batch_bytes": most, "max_job_bytes": most, "max_body_bytes": most, "max_bodies_bytes": most}
    with known_gateway(**chosen) as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            first = asyncio.create_task(client.post("/v1/parse", content=slowly()))
            await asyncio.wait_for(came.wait(), 10)
            refused = await client.post("/v1/parse", content=picture)
            assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            go_on.set()
            assert (await asyncio.wait_for(first, 30)).status_code == 200
            assert (await client.post("/v1/parse", content=picture)).status_code == 200


def test_a_limit_that_the_largest_body_would_never_fit_into_is_refused():
    with pytest.raises(ValidationError, match="MAX_JOB_BYTES"):
        Settings(max_bodies_bytes=2**27)
    assert Settings(max_bodies_bytes=2**28).max_bodies_bytes == 2**28
