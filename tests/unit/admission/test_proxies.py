"""Whose word counts for where a request comes from."""

import httpx
import pytest
from fpan.serve.config import Settings
from fpan.serve.main import _plain
from fpan.serve.transports.http.access import credentials_of
from starlette.responses import PlainTextResponse

PROXY, CALLER = "127.0.0.1", "203.0.113.9"


async def address(forwarded, connection=PROXY, **settings):
    async def tell(scope, receive, send):
        await PlainTextResponse(credentials_of(scope).host)(scope, receive, send)

    configuration = _plain(tell, Settings(**settings))
    configuration.load()
    transport = httpx.ASGITransport(configuration.loaded_app, client=(connection, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return (await client.get("/", headers={"X-Forwarded-For": forwarded})).text


async def test_nobody_says_where_a_request_comes_from_unless_they_are_named(monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert await address(CALLER) == PROXY


@pytest.mark.parametrize(
    ("trusted", "forwarded", "told"),
    [
        ("127.0.0.1", CALLER, CALLER),
        ("127.0.0.0/8, 10.1.0.0/16", f"198.51.100.1, {CALLER}, 10.1.2.3", CALLER),
        ("10.1.0.0/16", CALLER, PROXY),
    ],
)
async def test_proxies_that_are_named_do(trusted, forwarded, told):
    assert await address(forwarded, trusted_proxies=trusted) == told
