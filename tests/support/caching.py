"""A gateway that keeps its answers in a Redis, and what can be seen of them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fpan.serve.app import Gateway
from fpan.serve.cache.store import PREFIX
from fpan.serve.transports.http.app import create_app

from tests.support.redis_server import RedisServer
from tests.support.traffic import picture, serving, until

KEY = "a secret of the tests"
PICTURE = picture()


@asynccontextmanager
async def opened(
    monkeypatch: pytest.MonkeyPatch, root: Path, redis: RedisServer, **settings: object
) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """A gateway that keeps answers, and a client of it."""
    chosen = {"redis_cache_url": redis.url, "cache_key": KEY, "redis_timeout_ms": 2000, **settings}
    async with serving(monkeypatch, root, **chosen) as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            yield gateway, client


async def ask(client: httpx.AsyncClient, data: bytes = PICTURE, headers: dict[str, str] | None = None, **options):
    told = await client.post("/v1/parse", params={"faces": "full", **options}, content=data, headers=headers)
    assert told.status_code == 200, told.text
    return told


def lasting(told: httpx.Response) -> bytes:
    """The answer less what is of this request alone: the id, first, and the timing, last."""
    if told.headers["content-type"] != "application/json":
        return told.content
    return re.sub(rb'^{"request_id":"[^"]+"|"timing_ms":{[^}]*}}$', b"", told.content)


def keys(redis: RedisServer) -> list[bytes]:
    return redis.client.keys(PREFIX + b"*")


async def kept(gateway: Gateway, redis: RedisServer, count: int) -> None:
    """Until so many answers are there, and nobody shares one that is being written."""
    await until(lambda: len(keys(redis)) == count and not gateway.parse_service._cache._flights._flights)


def status(told: httpx.Response) -> str:
    return told.headers["cache-status"]
