"""Quotas of callers, counted in a real Redis by all gateways together, and by each alone while it is away."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import httpx
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.admission.caller import quota_of
from fpan.serve.admission.rate_limits import PREFIX, RateLimiter
from fpan.serve.api.allowance import Allowance, limit_fields
from fpan.serve.api.errors import RateLimited
from fpan.serve.cache.circuit_breaker import GuardedRedis, open_redis
from fpan.serve.cache.secret import Secret
from fpan.serve.config import Settings
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.grpc import start_grpc
from fpan.serve.transports.http.app import create_app

from tests.support.redis_server import RedisServer
from tests.support.service import free_ports
from tests.support.traffic import PICTURE, repository, serving, until

SETTINGS = Settings(cache_key="a secret of the tests")
ME = "somebody"


class Counting:
    """A limiter, and what it told its metrics."""

    def __init__(self, redis: GuardedRedis | None, metrics: Metrics) -> None:
        self.redis = redis
        self.limiter = RateLimiter(redis, Secret(SETTINGS), metrics)
        self.metrics = metrics

    def refused(self, counted: str) -> float:
        return self.metrics.registry.get_sample_value("fpan_rate_limited_total", {"counted": counted}) or 0.0

    async def allowed(self, times: int, quota: int, identity: str = ME) -> int:
        told = await asyncio.gather(*(self.limiter.take(identity, quota) for _ in range(times)), return_exceptions=True)
        assert all(isinstance(each, Allowance | RateLimited) for each in told)
        return sum(isinstance(each, Allowance) for each in told)


@asynccontextmanager
async def counting(redis: RedisServer | None) -> AsyncIterator[Counting]:
    metrics = Metrics()
    if redis is None:
        yield Counting(None, metrics)
        return
    async with open_redis("cache", redis.url, 2.0, 0.05, metrics.redis) as guarded:
        yield Counting(guarded, metrics)


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_caller_gets_its_quota_and_not_one_more_however_many_ask_at_once(redis, with_redis):
    async with counting(redis if with_redis else None) as one:
        assert await one.allowed(50, 20) == 20
        assert await one.allowed(5, 20) == 0
        assert await one.allowed(5, 20, "somebody else") == 5
        assert one.refused("redis" if with_redis else "local") == 35


async def test_gateways_count_together(redis):
    async with counting(redis) as one, counting(redis) as other:
        assert sum(await asyncio.gather(one.allowed(30, 20), other.allowed(30, 20))) == 20


async def test_what_is_left_is_told(redis):
    async with counting(redis) as one:
        first = await one.limiter.take(ME, 3)
        assert (first.limit, first.remaining) == (3, 2)
        assert 0 < first.reset_s <= 60
        assert (await one.limiter.take(ME, 3, cost=2)).remaining == 0
        with pytest.raises(RateLimited, match="3 requests a minute") as refused:
            await one.limiter.take(ME, 3)
        assert refused.value.allowance.remaining == 0
        assert refused.value.allowance.reset_s <= refused.value.retry_after_s <= 60
        assert await one.limiter.take(ME, 0) is None
    assert limit_fields(first)["ratelimit-policy"] == '"default";q=3;w=60'
    assert re.fullmatch(r'"default";r=2;t=(60|5\d)', limit_fields(first)["ratelimit"])
    assert limit_fields(None) == {}


async def test_the_window_slides(redis):
    """Half a minute after a minute in which all was used, half of it is there again."""
    async with counting(redis) as one:
        assert await one.allowed(20, 20) == 20
        [key] = redis.client.keys(f"{PREFIX}*")
        redis.client.pexpire(key, 30_000)  # it lives for two minutes: the one that it counts, and the one after
        assert await one.allowed(20, 20) in (10, 11)


async def test_redis_does_not_show_who_the_callers_are(redis):
    async with counting(redis) as one:
        await one.limiter.take("address 192.0.2.7", 5)
    assert PREFIX.encode() in redis.contents()
    assert b"192.0.2.7" not in redis.contents()


async def test_each_gateway_counts_alone_while_redis_is_away(redis):
    async with counting(redis) as one:
        assert await one.allowed(3, 3) == 3
        redis.kill()
        try:
            assert await one.allowed(5, 3) == 3  # from nothing
            assert one.refused("local") == 2
        finally:
            redis.start()
        await until(lambda: one.redis.up)
        assert await one.allowed(5, 3) == 3
        assert one.refused("redis") == 2


async def test_each_gateway_counts_alone_while_redis_is_full(redis):
    async with counting(redis) as one:
        assert await one.allowed(3, 3) == 3
        redis.fill()
        try:
            assert await one.allowed(2, 3) == 0  # to refuse takes no room
            assert await one.allowed(5, 3, "somebody else") == 3
            assert (one.refused("redis"), one.refused("local"), one.redis.up) == (2, 2, True)
        finally:
            redis.make_room()
        await until(lambda: one.redis.writable)
        assert await one.allowed(5, 3, "somebody else") == 3


async def test_http_and_grpc_share_a_quota_and_tell_of_it_before_the_body_is_read(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    [port] = free_ports(1)
    settings = {"redis_cache_url": redis.url, "rate_limit_per_minute": 3, "grpc_port": port, "redis_timeout_ms": 2000}
    async with serving(monkeypatch, tmp_path / "models", **settings) as gateway:
        server = await start_grpc(gateway)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            request = pb.ParseRequest(image=PICTURE, options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))
            for left, said in ((2, "me"), (1, "another name")):  # which buys nothing
                told = await client.post("/v1/parse?faces=full", content=PICTURE, headers={"X-Client-Id": said})
                assert told.status_code == 200
                assert told.headers["ratelimit-policy"] == '"default";q=3;w=60'
                assert told.headers["ratelimit"].startswith(f'"default";r={left};t=')
            call = stub.Parse(request)
            await call
            assert dict(await call.trailing_metadata())["ratelimit"].startswith('"default";r=0;t=')

            async def never() -> AsyncIterator[bytes]:
                raise AssertionError("the body is read")
                yield b""

            told = await client.post("/v1/parse", content=never(), headers={"Content-Type": "image/png"})
            assert (told.status_code, told.json()["type"]) == (429, "urn:mask-fpan:problem:rate-limited")
            assert told.headers["ratelimit"].startswith('"default";r=0;t=')
            assert 1 <= int(told.headers["retry-after"]) <= 60
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Parse(request)
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert dict(refused.value.trailing_metadata())["ratelimit"].startswith('"default";r=0;t=')
            assert (await client.get("/v1/labels")).status_code == 200  # not counted
        await server.drain(1)


async def test_there_is_no_limit_unless_it_is_set(tmp_path, monkeypatch):
    repository(tmp_path / "models", 1)
    async with serving(monkeypatch, tmp_path / "models") as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            told = await client.post("/v1/parse?faces=full", content=PICTURE)
            assert told.status_code == 200
            assert not {"ratelimit", "ratelimit-policy", "cache-status"} & set(told.headers)


@pytest.mark.parametrize(
    ("host", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),  # one caller has all of it
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("testclient", "testclient", True),
        ("", "192.0.2.7", False),
    ],
)
def test_whose_quota_it_is(host, other, same):
    assert (quota_of(host) == quota_of(other)) == same
