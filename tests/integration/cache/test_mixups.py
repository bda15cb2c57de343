"""No kept answer is mixed up with that of another question, version or caller, nor shows what was asked."""

import asyncio
import hashlib
from collections.abc import Callable

import httpx
import pytest
from fpan.serve.pipeline.segment.routing import place
from fpan.serve.transports.http.app import create_app

from tests.support.caching import KEY, PICTURE, ask, kept, keys, lasting, opened, status
from tests.support.traffic import NAME, picture, repository, until


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
    caplog.set_level("INFO", "fpan.serve.app")
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
                    await until(lambda: not gateway.parse_service._cache._flights._flights)
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
        await until(lambda: gateway.rollout.model_router.now.segmenters[NAME].card.version == 3)
        assert await versions() == [3] * len(callers)


async def test_an_exchange_of_versions_during_the_question_mixes_nothing_up(tmp_path, monkeypatch, redis):
    registry = repository(tmp_path / "models", 2)
    registry.promote(NAME, 1, "champion", "")
    async with opened(monkeypatch, tmp_path / "models", redis) as (gateway, client):
        store = gateway.parse_service._cache._store
        get, moves = store.get, []

        async def slow(name: bytes):
            if not moves:
                moves.append(registry.promote(NAME, 2, "champion", ""))
                await until(lambda: gateway.rollout.model_router.now.segmenters[NAME].card.version == 2)
            return await get(name)

        monkeypatch.setattr(store, "get", slow)
        told = await ask(client)
        assert told.json()["model"]["version"] == 2
        await kept(gateway, redis, 1)
        registry.promote(NAME, 1, "champion", "")
        await until(lambda: gateway.rollout.model_router.now.segmenters[NAME].card.version == 1)
        back = await ask(client)
        assert (status(back), back.json()["model"]["version"]) == ("fpan; fwd=miss", 1)
