"""Answers are kept in a real Redis, shared while they are computed, and done without while it is away."""

import asyncio
import re

import grpc.aio
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.serve.transports.grpc import start_grpc

from tests.support.caching import PICTURE, ask, kept, keys, lasting, opened, status
from tests.support.service import free_ports
from tests.support.traffic import picture, repository, sample, until


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


async def test_what_is_too_large_is_not_kept(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis, cache_max_value_bytes=64) as (gateway, client):
        assert [status(await ask(client)) for _ in range(2)] == ["fpan; fwd=miss"] * 2
        assert len(gateway.backend.asked) == 2
        assert redis.client.dbsize() == 0


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
        assert gateway.backend.asked == [1]  # the work of who has left went on for the others


async def test_all_who_ask_the_same_are_told_alike_that_no_place_became_free(tmp_path, monkeypatch, redis):
    repository(tmp_path / "models", 1)
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        with await gateway.parser._budget.take(10**12):  # all memory for pictures
            url = "/v1/parse?faces=full&deadline_ms=150"
            answers = await asyncio.gather(*(client.post(url, content=PICTURE) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(answer.headers["retry-after"] for answer in answers)


async def test_a_redis_that_is_killed_is_done_without_until_it_comes_back(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    caplog.set_level("INFO", "fpan.serve.cache.circuit_breaker")

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
    timeout_s, loop = 1.0, asyncio.get_running_loop()
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
        assert sorted(took[1:])[2] < timeout_s  # of five
        await until(lambda: sample(gateway, "fpan_redis_up", role="cache") == 1)
        assert status(await ask(client)) == "fpan; hit"
        assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


async def test_a_full_redis_is_read_but_not_written_until_there_is_room(tmp_path, monkeypatch, redis, caplog):
    repository(tmp_path / "models", 1)
    caplog.set_level("INFO", "fpan.serve.cache.circuit_breaker")

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
