"""Bodies are read of nobody who is refused, and within their time; a URL in one stands for the picture."""

import asyncio

import pytest
from fpan.serve.config import Settings
from fpan.serve.fetch.fetcher import Fetcher
from fpan.serve.fetch.settings import FetchSettings
from fpan.serve.transports.grpc import middleware as around

from tests.support.admitting import PARSER, PICTURE, READER, bearer, serving

PARSE = around.PARSE_ROUTE


@pytest.fixture
async def gateway(unused_tcp_port):
    async with serving(unused_tcp_port) as opened:
        yield opened


async def test_nothing_of_a_body_is_read_of_whoever_is_refused(gateway):
    """The second piece never comes: whoever waited for it would hang."""
    for headers, status in (({}, 401), (bearer(READER), 403)):
        read = []

        async def receive(read=read):
            read.append(True)
            await asyncio.Event().wait()

        sent = []

        async def send(message, sent=sent):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/parse",
            "raw_path": b"/v1/parse",
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("10.0.0.7", 1),
            "server": ("x", 80),
        }
        await asyncio.wait_for(gateway.app(scope, receive, send), 5)
        assert (sent[0]["status"], read) == (status, [])


async def messages_that_never_come():
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize(
    ("metadata", "code"), [((), "UNAUTHENTICATED"), ((("x-api-key", READER),), "PERMISSION_DENIED")]
)
async def test_over_grpc_whoever_is_refused_need_not_send_the_message(gateway, metadata, code):
    call = gateway.channel.stream_unary(PARSE)(messages_that_never_come(), metadata=metadata)
    assert (await asyncio.wait_for(call.code(), 5)).name == code


async def test_a_message_that_never_comes_ends_with_the_time_for_it(unused_tcp_port):
    async with serving(unused_tcp_port, body_timeout_s=0.2) as gateway:
        call = gateway.channel.stream_unary(PARSE)(messages_that_never_come(), metadata=(("x-api-key", PARSER),))
        assert (await asyncio.wait_for(call.code(), 5)).name == "DEADLINE_EXCEEDED"
        assert "within 0.2 s" in await call.details()
        assert "fpan_requests_in_flight 0.0" in gateway.metrics.exposition().decode()


async def test_a_call_without_a_message_is_told(gateway):
    async def nothing():
        return
        yield

    call = gateway.channel.stream_unary(PARSE)(nothing(), metadata=(("x-api-key", PARSER),))
    assert (await asyncio.wait_for(call.code(), 5)).name == "INVALID_ARGUMENT"


async def test_a_url_is_fetched_in_the_place_of_the_picture(gateway):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PICTURE), PICTURE))
        await writer.drain()
        writer.close()

    async def post(**members):
        return await gateway.http.post("/v1/parse", json={"faces": "full", **members}, headers=bearer(PARSER))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for settings, says in (
            (Settings(), "does not connect to"),
            (Settings(url_hosts=host), "not a public one"),
        ):
            async with Fetcher.opened(settings, settings.max_body_bytes) as gateway.fetcher:
                told = await post(url=f"{host}/a.png")
                assert (told.status_code, says in told.json()["detail"]) == (403, True)
        allowed = Settings(url_hosts=host, url_private_networks="127.0.0.0/8")
        async with Fetcher.opened(allowed, allowed.max_body_bytes) as gateway.fetcher:
            assert (await post(url=f"{host}/a.png")).json()["faces"]
    for members in ({"url": "https://a", "image": "QQ=="}, {"url": "https://a", "image": "Q" * 100_000}):
        told = await post(**members)
        assert (told.status_code, "one request parses one picture" in told.json()["detail"]) == (400, True)
    for members in ({"url": 5}, {"url": None}, {"url": ["https://a"]}, {}):
        assert (await post(**members)).status_code == 400


async def test_one_deadline_is_for_fetching_a_picture_and_parsing_it(gateway):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    allowed = FetchSettings(url_hosts=host, url_private_networks="127.0.0.0/8")
    async with server, Fetcher.opened(allowed, 2**20) as gateway.fetcher:
        told = await gateway.http.post(
            "/v1/parse?deadline_ms=100", json={"url": f"{host}/a.png"}, headers=bearer(PARSER), timeout=5
        )
    assert (told.status_code, told.json()["type"]) == (504, "urn:mask-fpan:problem:deadline-exceeded")
    assert "within 100 ms" in told.json()["detail"]
