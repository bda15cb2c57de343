"""By which names the server may be called."""

import httpx
import pytest
from fpan.serve.config import Settings
from fpan.serve.transports.http.hosts import HostsMiddleware
from starlette.responses import PlainTextResponse

ELSEWHERE = {"bind_address": "0.0.0.0", "auth": "off"}
KEYS = {"auth": "required", "keys_file": "keys.json"}


async def status(host, path="/v1/labels", **settings):
    chosen = Settings(**settings)
    transport = httpx.ASGITransport(HostsMiddleware(PlainTextResponse("in"), chosen, chosen.needs_keys))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        told = await client.get(path, headers={"Host": host, "X-Request-Id": "mine"})
    if told.status_code == 421:
        assert told.headers["x-request-id"] == "mine"
        assert not host or host not in told.text
    return told.status_code


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "localhost.", "127.0.0.5"]
)
async def test_this_machine_is_called_by_its_own_names(host):
    assert await status(host, bind_address="127.0.0.5") == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1@evil", "", "a:b:c"]
)
async def test_no_page_reaches_it_by_a_name_of_its_own(host):
    for path in ("/v1/labels", "/v2", "/metrics"):
        assert await status(host, path) == 421


@pytest.mark.parametrize("settings", [ELSEWHERE, KEYS, {"allowed_hosts": "*"}])
async def test_elsewhere_and_with_keys_any_name_will_do(settings):
    assert await status("faces.example.com", **settings) == 200


@pytest.mark.parametrize("settings", [{}, ELSEWHERE, KEYS])
async def test_names_that_are_listed_are_the_only_ones(settings):
    named = {**settings, "allowed_hosts": "faces.example.com, Other.example"}
    assert await status("faces.example.com:80", **named) == 200
    assert await status("other.example", **named) == 200
    assert await status("localhost", **named) == 421
