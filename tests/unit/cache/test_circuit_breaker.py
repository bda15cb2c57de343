"""A Redis that requests can do without: what is asked of it, how often, and what the log says."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from fpan.serve.cache.circuit_breaker import GuardedRedis, RedisAway, open_redis
from fpan.serve.main import read_settings
from fpan.serve.telemetry.metrics import Metrics

from tests.support.redis_server import RedisServer
from tests.support.traffic import until

RETRY_S = 0.02


@pytest.fixture
async def guarded(redis: RedisServer) -> AsyncIterator[GuardedRedis]:
    async with open_redis("cache", redis.url, 2.0, RETRY_S, Metrics().redis) as opened:
        yield opened


async def test_connections_that_the_server_has_closed_are_no_failure(redis, guarded, caplog):
    async def many() -> None:
        await asyncio.gather(*(guarded.ask(guarded.client.ping) for _ in range(20)))

    await many()
    redis.client.client_kill_filter(_type="normal", skipme=True)
    await many()
    assert (guarded.up, caplog.records) == (True, [])


async def test_more_questions_than_connections_are_all_answered(guarded):
    assert await asyncio.gather(*(guarded.ask(guarded.client.ping) for _ in range(300))) == [True] * 300


async def test_a_question_that_is_given_up_leaves_no_answer_behind_for_the_next(redis, guarded):
    redis.client.set("mine", b"1")
    redis.client.set("other", b"2")
    for _ in range(30):
        left = asyncio.create_task(guarded.ask(lambda: guarded.client.get("mine")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left.cancel()
        assert await guarded.ask(lambda: guarded.client.get("other")) == b"2"
    assert guarded.up


async def test_one_that_fails_whenever_it_is_asked_does_not_fill_the_log(guarded, caplog):
    over, asked = time.monotonic() + 1, 0
    while time.monotonic() < over:
        await until(lambda: guarded.writable)
        with pytest.raises(RedisAway):
            await guarded.ask(lambda: guarded.client.execute_command("NOSUCHCOMMAND"), writes=True)
        asked += 1
    assert asked <= 9  # 50 without a longer pause each time
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == asked
    assert await guarded.ask(guarded.client.ping)  # it is read all the while


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--redis-cache-url", "localhost:6379"], "REDIS_CACHE_URL: Value error, this is no address of a Redis"),
        (["--redis-jobs-url", "redis://:secret@host:port"], "REDIS_JOBS_URL: Value error, this is no address"),
        (["--cache-key", "short"], "CACHE_KEY: Value error, a secret of fewer than 16 characters can be guessed"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_telling_secrets(flags, word):
    with pytest.raises(SystemExit) as ended:
        read_settings(flags)
    assert word in str(ended.value)
    assert "secret@" not in str(ended.value)
