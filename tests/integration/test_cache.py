"""Answers are kept in a real Redis, and nothing that they must not be mixed up with or show."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import httpx
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.cache.store import PREFIX
from fpan.serve.gateway import Gateway
from fpan.serve.grpc import start_grpc
from fpan.serve.http.app import create_app
from fpan.serve.pipeline.split import place

from tests.redis_server import RedisServer
from tests.service import free_ports
from tests.traffic import NAME, picture, repository, sample, serving, until

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
    await until(lambda: len(keys(redis)) == count and not gateway.desk._cache._flights._flights)


def status(told: httpx.Response) -> str:
    return told.headers["cache-status"]


@pytest.mark.parametrize(
    ("accept", "output"),
    [
        ("application/json", "rle"),
        ("application/json", "rle,png,confidence,polygons,alpha,npz"),
        ("image/png", "png"),
        ("application/x-npz", "npz"),
    ],
)
async def test_a_hit_is_the_miss_byte_for_byte_but_for_id_and_timing(tmp_path, monkeypatch, redis, accept, output):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        headers = {"Accept": accept}
        miss = await ask(client, headers=headers, output=output)
        await kept(gateway, redis, 1)
        hit = await ask(client, headers=headers, output=output)
        assert (status(miss), status(hit)) == ("fpan; fwd=miss", "fpan; hit")
        assert lasting(miss) == lasting(hit) != b""
        assert miss.headers["etag"] == hit.headers["etag"]
        assert miss.headers["etag"].startswith("W/") == (accept == "application/json")
        assert miss.headers["face-count"] == hit.headers["face-count"] == "1"
        assert miss.headers["x-request-id"] != hit.headers["x-request-id"]
        assert re.fullmatch(r"cache;dur=[\d.]+", hit.headers["server-timing"])
        assert len(gateway.backend.asked) == 1
        assert 0 < redis.client.ttl(keys(redis)[0]) <= gateway.settings.cache_ttl_s
        for outcome in ("miss", "hit"):
            assert sample(gateway, "fpan_cache_requests_total", outcome=outcome) == 1
        assert sample(gateway, "fpan_faces_count") == 1  # a hit parses none


async def test_over_grpc_too(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    [port] = free_ports(1)
    async with opened(monkeypatch, tmp_path / "models", redis, grpc_port=port) as (gateway, _):
        server = await start_grpc(gateway)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = face_parsing_pb2_grpc.FaceParsingStub(channel)
            request = pb.ParseRequest(image=PICTURE, options=pb.ParseOptions(mode=pb.FACES_MODE_FULL))

            async def told() -> tuple[pb.ParseResponse, str]:
                call = stub.Parse(request)
                return await call, dict(await call.trailing_metadata())["cache-status"]

            miss, first = await told()
            await kept(gateway, redis, 1)
            hit, second = await told()
        await server.drain(1)
    assert (first, second) == ("fpan; fwd=miss", "fpan; hit")
    assert list(hit.timing_ms) == ["cache"]
    assert {"cache", "decode", "infer", "encode"} <= set(miss.timing_ms)
    assert miss.request_id != hit.request_id
    for answer in (miss, hit):
        answer.request_id = ""
        answer.timing_ms.clear()
    assert miss == hit


async def test_every_option_that_changes_the_answer_has_an_answer_of_its_own(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        asked = [
            {},
            {"classes": "hair"},
            {"abstain": "0.5"},
            {"frame": "crop"},
            {"orientation": "raw"},
            {"output": "polygons"},
            {"output": "polygons", "tolerance": "3"},
        ]
        for count, options in enumerate(asked, 1):
            assert status(await ask(client, **options)) == "fpan; fwd=miss", options
            await kept(gateway, redis, count)
        assert status(await ask(client, picture(1))) == "fpan; fwd=miss"
        for options in ({"deadline_ms": "9000"}, {"model": NAME}):  # which change nothing in it
            assert status(await ask(client, **options)) == "fpan; hit"


@pytest.mark.parametrize(
    ("output", "frame"),
    [("overlay", "image"), ("cutout", "image"), ("redact", "image"), ("png,redact", "image"), ("rle,overlay", "crop")],
)
async def test_what_shows_the_picture_is_never_kept(tmp_path, monkeypatch, redis, output, frame):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        for _ in range(2):
            assert status(await ask(client, output=output, frame=frame)) == "fpan; fwd=bypass"
        assert len(gateway.backend.asked) == 2
        await asyncio.sleep(0.05)  # time to write, if anybody did
        assert redis.client.dbsize() == 0
        assert sample(gateway, "fpan_cache_requests_total", outcome="skipped") == 2


async def test_redis_shows_neither_the_picture_nor_its_hash_nor_the_answer(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        await ask(client, output="rle,png")
        await kept(gateway, redis, 1)
        first, seen = keys(redis), redis.contents()
    for hashed in (hashlib.sha256(PICTURE), hashlib.blake2b(PICTURE), hashlib.md5(PICTURE)):
        assert hashed.digest() not in seen
        assert hashed.hexdigest().encode() not in seen
    assert not any(PICTURE[i : i + 12] in seen for i in range(len(PICTURE) - 12))
    assert b"coco_rle" not in seen
    redis.client.flushall()
    async with opened(monkeypatch, tmp_path / "models", redis, cache_key="another secret...") as (gateway, client):
        await ask(client, output="rle,png")
        await kept(gateway, redis, 1)
    assert keys(redis) != first


async def test_gateways_with_the_same_secret_share_and_others_do_not(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    caplog.set_level("INFO", "fpan.serve.gateway")
    for secret, told in ((KEY, "miss"), (KEY, "hit"), ("", "miss"), ("", "miss")):
        async with opened(monkeypatch, tmp_path / "models", redis, cache_key=secret) as (gateway, client):
            before = len(keys(redis))
            assert told in status(await ask(client))
            await kept(gateway, redis, before + (told == "miss"))
    assert caplog.text.count("CACHE_KEY is empty") == 2


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda value: b"",
        lambda value: b"garbage",
        lambda value: value[:-1],
        lambda value: value[:40] + bytes([value[40] ^ 1]) + value[41:],
        lambda value: b"\0" * len(value),
    ],
)
async def test_a_value_that_was_not_put_there_is_a_miss(tmp_path, monkeypatch, redis, spoilt: Callable[[bytes], bytes]):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        miss = await ask(client)
        await kept(gateway, redis, 1)
        [key] = keys(redis)
        value = redis.client.get(key)
        redis.client.set(key, spoilt(value))
        again = await ask(client)
        assert (status(again), lasting(again)) == ("fpan; fwd=miss", lasting(miss))
        await until(lambda: redis.client.get(key) != spoilt(value))
        await kept(gateway, redis, 1)
        assert status(await ask(client)) == "fpan; hit"


async def test_the_answer_of_another_question_is_a_miss(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        await ask(client)
        await kept(gateway, redis, 1)
        [first] = keys(redis)
        other = await ask(client, classes="hair")
        await kept(gateway, redis, 2)
        [second] = set(keys(redis)) - {first}
        redis.client.copy(first, second, replace=True)
        again = await ask(client, classes="hair")
        assert (status(again), lasting(again)) == ("fpan; fwd=miss", lasting(other))


async def test_what_is_too_large_is_not_kept(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis, cache_max_value_bytes=64) as (gateway, client):
        assert [status(await ask(client)) for _ in range(2)] == ["fpan; fwd=miss"] * 2
        assert len(gateway.backend.asked) == 2
        assert redis.client.dbsize() == 0


async def test_nobody_finds_out_by_the_cache_what_others_have_sent(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)

    async def told(**settings) -> list[str]:
        """How the answers of two callers came about, the first of whom asks twice."""
        async with opened(monkeypatch, tmp_path / "models", redis, **settings) as (gateway, _):
            seen = []
            for number, host in enumerate(("10.0.0.7", "10.0.0.7", "10.0.0.8")):
                transport = httpx.ASGITransport(create_app(gateway), client=(host, 1))
                async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                    seen.append(status(await ask(client)))
                if not number:
                    await until(lambda: not gateway.desk._cache._flights._flights)
            return seen

    assert await told() == ["fpan; fwd=miss", "fpan; hit", "fpan; fwd=miss"]
    assert await told(cache_per_account=False) == ["fpan; fwd=miss", "fpan; hit", "fpan; hit"]


async def test_callers_whom_different_versions_answer_share_nothing(tmp_path, monkeypatch, redis):
    registry = repository(tmp_path / "models", 3)
    registry.promote(NAME, 1, "champion", "")
    registry.promote(NAME, 2, "challenger", "", 0.5)
    callers = [f"caller {i}" for i in range(12)]
    wanted = [2 if place(NAME, caller) < 0.5 else 1 for caller in callers]
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):

        async def versions() -> list[int]:
            told = await asyncio.gather(*(ask(client, headers={"X-Client-Id": caller}) for caller in callers))
            return [answer.json()["model"]["version"] for answer in told]

        assert set(wanted) == {1, 2}
        assert await versions() == wanted  # at once
        await kept(gateway, redis, 2)
        assert await versions() == wanted  # from Redis
        assert sorted(gateway.backend.asked) == [1, 2]
        registry.promote(NAME, 3, "champion", "")
        await until(lambda: gateway.rollout.lineup.now.segmenters[NAME].card.version == 3)
        assert await versions() == [3] * len(callers)


async def test_an_exchange_of_versions_during_the_question_mixes_nothing_up(tmp_path, monkeypatch, redis):
    registry = repository(tmp_path / "models", 2)
    registry.promote(NAME, 1, "champion", "")
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        store = gateway.desk._cache._store
        get, moves = store.get, []

        async def slow(name: bytes):
            if not moves:
                moves.append(registry.promote(NAME, 2, "champion", ""))
                await until(lambda: gateway.rollout.lineup.now.segmenters[NAME].card.version == 2)
            return await get(name)

        monkeypatch.setattr(store, "get", slow)
        told = await ask(client)
        assert told.json()["model"]["version"] == 2
        await kept(gateway, redis, 1)
        registry.promote(NAME, 1, "champion", "")
        await until(lambda: gateway.rollout.lineup.now.segmenters[NAME].card.version == 1)
        back = await ask(client)
        assert (status(back), back.json()["model"]["version"]) == ("fpan; fwd=miss", 1)


@pytest.mark.parametrize("with_redis", [True, False])
async def test_identical_requests_in_flight_make_one_inference(tmp_path, monkeypatch, redis, with_redis):
    repository(tmp_path / "models", 1)
    chosen = {} if with_redis else {"redis_cache_url": ""}
    async with opened(monkeypatch, tmp_path / "models", redis, **chosen) as (gateway, client):
        hold = gateway.backend.holds[1] = asyncio.Event()
        tasks = [asyncio.create_task(ask(client)) for _ in range(20)]
        await until(lambda: bool(gateway.backend.asked))
        first, *others = tasks[:5]
        first.cancel()
        await asyncio.wait([first])
        hold.set()
        told = [await task for task in (*others, *tasks[5:])]
        assert gateway.backend.asked == [1]
        assert {status(answer) for answer in told} == {"fpan; fwd=miss; collapsed"}
        assert len({lasting(answer) for answer in told}) == 1
        assert len({answer.headers["x-request-id"] for answer in told}) == len(told)
        assert sample(gateway, "fpan_cache_requests_total", outcome="shared") == len(told)
        assert sample(gateway, "fpan_faces_count") == 1


async def test_each_has_a_deadline_of_its_own(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        hold = gateway.backend.holds[1] = asyncio.Event()
        hurried = asyncio.create_task(client.post("/v1/parse?faces=full&deadline_ms=150", content=PICTURE))
        await until(lambda: bool(gateway.backend.asked))
        patient = [asyncio.create_task(ask(client)) for _ in range(3)]
        assert (await hurried).status_code == 504
        assert not any(task.done() for task in patient)
        hold.set()
        assert all([(await task).status_code == 200 for task in patient])


async def test_a_redis_that_is_killed_is_done_without_until_it_comes_back(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    caplog.set_level("INFO", "fpan.serve.guarded_redis")

    def up(value: int) -> bool:
        return sample(gateway, "fpan_redis_up", role="cache") == value

    async with opened(monkeypatch, tmp_path / "models", redis, redis_retry_s=0.05) as (gateway, client):
        miss = await ask(client)
        await kept(gateway, redis, 1)
        assert up(1)
        caplog.clear()
        redis.kill()
        try:
            for _ in range(3):
                told = await ask(client)
                assert lasting(told) == lasting(miss)
                assert status(told) == "fpan; fwd=bypass; detail=unavailable"
            assert up(0)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
        finally:
            redis.start()
        await until(lambda: up(1))
        assert status(await ask(client)) == "fpan; fwd=miss"
        await kept(gateway, redis, 1)
        assert status(await ask(client)) == "fpan; hit"
        assert [record.getMessage() for record in caplog.records[1:]] == ["the cache Redis answers again"]
        assert sample(gateway, "fpan_cache_requests_total", outcome="failed") == 3


async def test_a_redis_that_is_paused_is_waited_for_once(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    timeout_s, loop = 0.3, asyncio.get_running_loop()
    settings = {"redis_timeout_ms": round(timeout_s * 1000), "redis_retry_s": 0.05}
    async with opened(monkeypatch, tmp_path / "models", redis, **settings) as (gateway, client):
        await ask(client)
        await kept(gateway, redis, 1)
        caplog.clear()
        redis.pause()
        try:
            took = []
            for _ in range(6):
                began = loop.time()
                assert "unavailable" in status(await ask(client))
                took.append(loop.time() - began)
        finally:
            redis.resume()
        assert took[0] >= timeout_s
        assert max(took[1:]) < timeout_s
        await until(lambda: sample(gateway, "fpan_redis_up", role="cache") == 1)
        assert status(await ask(client)) == "fpan; hit"
        assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


async def test_a_full_redis_is_read_but_not_written_until_there_is_room(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    caplog.set_level("INFO", "fpan.serve.guarded_redis")

    def writable(value: int) -> bool:
        return sample(gateway, "fpan_redis_writable", role="cache") == value

    async with opened(monkeypatch, tmp_path / "models", redis, redis_retry_s=0.05) as (gateway, client):
        await ask(client)
        await kept(gateway, redis, 1)
        caplog.clear()
        redis.fill()
        try:
            for seed in (1, 2, 3):
                assert status(await ask(client, picture(seed))) == "fpan; fwd=miss"
                await until(lambda: writable(0))
            assert status(await ask(client)) == "fpan; hit"
            assert sample(gateway, "fpan_redis_up", role="cache") == 1
            assert [record.levelname for record in caplog.records] == ["WARNING"]
        finally:
            redis.make_room()
        await until(lambda: writable(1))
        await ask(client, picture(1))
        await kept(gateway, redis, 2)
        assert [record.getMessage() for record in caplog.records[1:]] == ["the cache Redis takes writes again"]


async def test_the_gateway_starts_without_its_redis_and_finds_it_later(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    redis.kill()
    try:
        async with opened(monkeypatch, tmp_path / "models", redis, redis_retry_s=0.05) as (gateway, client):
            assert "unavailable" in status(await ask(client))
            assert sample(gateway, "fpan_redis_up", role="cache") == 0
            redis.start()
            await until(lambda: sample(gateway, "fpan_redis_up", role="cache") == 1)
            await ask(client)
            await kept(gateway, redis, 1)
    finally:
        redis.kill()
        redis.start()
