"""What jobs leave where they lie: nothing that can be read, and nothing for longer than it may be kept."""

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fpan.serve.api.errors import Unavailable
from fpan.serve.config import Settings
from fpan.serve.jobs.encrypted_store import Cipher, Unreadable
from fpan.serve.jobs.queue import JobSpec, Submitted
from fpan.serve.jobs.reaper import Reaper
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.jobs.redis_errors import connect
from fpan.serve.jobs.stores import BlobStore, FolderBlobStore, ObjectBlobStore, RedisBlobStore

from tests.support import redis_server, s3
from tests.support.jobs import FULL, SECRET, files, pictures, taking_jobs
from tests.support.redis_server import RedisServer
from tests.support.traffic import picture, repository, sample, until

JOB = "ab" * 16


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jobs") / "repository"
    repository(path, 1)
    return path


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server.running("--rdbcompression", "no") as server:
        yield server


def written(folder: Path) -> bytes:
    """All that lies below a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("in_folder", [False, True], ids=["in redis", "in a folder"])
async def test_no_picture_and_no_answer_can_be_read_where_they_lie(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_folder: bool
) -> None:
    redis.flush()
    store = {"jobs_store": tmp_path / "store"} if in_folder else {}
    # Of noise, so that no piece of it is anywhere by chance.
    sent = [picture(seed) for seed in range(3)]
    async with taking_jobs(monkeypatch, root, redis, background_concurrency=1, **store) as jobs:
        jobs.hold()
        told = await jobs.client.post(
            JOBS_PATH,
            params={**FULL, "abstain": "0.030125"},
            files=files(*sent),
            headers={"Idempotency-Key": "ann-1", "X-Client-Id": "ann@example.org"},
        )
        job = told.json()["id"]
        await until(lambda: bool(jobs.gateway.backend.asked))
        lying = redis.dump() + (written(tmp_path / "store") if in_folder else b"")
        assert (len(written(tmp_path / "store")) > sum(map(len, sent))) is in_folder
        jobs.gateway.backend.holds[1].set()
        await jobs.wait(job)
        answer = (await jobs.client.get(f"{JOBS_PATH}/{job}/result")).content
        results = redis.dump() + (written(tmp_path / "store") if in_folder else b"")
        assert b"coco_rle" in answer
    for place in (lying, results):
        assert job.encode() in place or in_folder
        for data in sent:
            for piece in (data[40:56], data[-60:-44], base64.b64encode(data)[80:104]):
                assert piece not in place
        for word in (b"030125", b"ann-1", b"ann@example.org", b"coco_rle", b"IHDR", b"127.0.0.1"):
            assert word not in place
    assert not any(key.startswith("in-") for key in _names(redis, tmp_path / "store", job, in_folder))


def _names(redis: RedisServer, store: Path, job: str, in_folder: bool) -> list[str]:
    if in_folder:
        return [path.name for path in (store / job).iterdir()]
    return redis.fields(f"{{fpan-jobs}}:blobs:{job}")


async def test_pictures_go_one_by_one_as_they_are_parsed(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis.flush()
    limits = {"background_concurrency": 1, "jobs_store": tmp_path / "store"}
    async with taking_jobs(monkeypatch, root, redis, **limits) as jobs:
        jobs.gateway.backend.delays_s[1] = 0.05
        job = (await jobs.submit(4))["id"]
        while (await jobs.get(job))["progress"]["done"] < 3:
            await asyncio.sleep(0.005)
        await until(lambda: not (tmp_path / "store" / job / "in-000002").exists())
        await jobs.wait(job)
        names = sorted(path.name for path in (tmp_path / "store" / job).iterdir())
        assert names == [f"out-00000{i}" for i in range(4)]
        assert (await jobs.client.delete(f"{JOBS_PATH}/{job}")).status_code == 204
        assert list((tmp_path / "store").iterdir()) == []


async def test_a_result_is_kept_as_long_as_it_may_be_and_no_longer(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis.flush()
    limits = {"job_result_ttl_s": 0.4, "job_record_ttl_s": 1, "job_sweep_s": 0.05, "jobs_store": tmp_path / "store"}
    async with taking_jobs(monkeypatch, root, redis, **limits) as jobs:
        job = (await jobs.submit(1))["id"]
        await jobs.wait(job)
        assert len(await jobs.result(job)) == 1
        await until(lambda: list((tmp_path / "store").iterdir()) == [])
        told = await jobs.client.get(f"{JOBS_PATH}/{job}/result")
        assert (told.status_code, "0.4 s" in told.json()["detail"]) == (404, True)
        known = await jobs.get(job)
        assert (known["state"], known["result"]) == ("succeeded", None)
        await until(lambda: redis.keys("*record*") == [])
        assert (await jobs.client.get(f"{JOBS_PATH}/{job}")).status_code == 404


async def test_a_job_that_nobody_runs_fails_in_time_and_its_pictures_go(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, job_workers=0, job_input_ttl_s=0.2, job_sweep_s=0.05) as jobs:
        job = (await jobs.submit(2))["id"]
        assert redis.keys("*blobs*")
        ended = await jobs.wait(job, "failed")
        assert (ended["problem"]["status"], "0.2 s" in ended["problem"]["detail"]) == (504, True)
        await until(lambda: redis.keys("*blobs*") == [])


async def test_what_no_job_knows_is_swept_when_it_is_old(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis.flush()
    limits = {"job_workers": 0, "job_sweep_s": 3600, "jobs_store": tmp_path}
    async with taking_jobs(monkeypatch, root, redis, **limits) as jobs:
        waits = (await jobs.submit(1))["id"]
        for name in ("lost", "fresh"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "in-000000").write_bytes(b"x")
        for name in ("lost", waits):
            os.utime(tmp_path / name, (time.time() - 7200,) * 2)
        job_service = jobs.gateway.jobs
        await Reaper(job_service._job_queue, job_service._store, 1, jobs.gateway.metrics.jobs).sweep()
        assert {path.name for path in tmp_path.iterdir()} == {"fresh", waits}


async def test_pictures_of_another_secret_fail_the_job_and_are_deleted(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, job_workers=0) as jobs:
        job = (await jobs.submit(1))["id"]
    other = base64.b64encode(bytes(32)).decode()
    monkeypatch.setattr("tests.support.jobs.SECRET", other)
    async with taking_jobs(monkeypatch, root, redis) as jobs:
        ended = await jobs.wait(job, "failed")
        assert "cannot be read" in ended["problem"]["detail"]
        assert redis.keys("*blobs*") == []


async def test_no_more_pictures_are_put_into_redis_than_may_be(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, jobs_redis_bytes=1000) as jobs:
        told = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(1))
        assert (told.status_code, "retry-after" in told.headers) == (429, True)
    assert redis.keys("*blobs*") == []


async def test_a_redis_that_is_full_is_told_and_breaks_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.running("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as small:
        async with taking_jobs(monkeypatch, root, small) as jobs:
            told = await jobs.client.post(JOBS_PATH, params=FULL, files=files(*[secrets.token_bytes(200_000)] * 6))
            assert (told.status_code, told.json()["detail"]) == (503, "the store of jobs is full")
            assert (await jobs.client.post("/v1/parse", params=FULL, content=picture())).status_code == 200
            assert sample(jobs.gateway, "fpan_jobs_redis_noeviction") == 1


async def test_a_redis_that_may_forget_is_told_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    with redis_server.running(*flags) as bad, caplog.at_level(logging.WARNING):
        async with taking_jobs(monkeypatch, root, bad, job_sweep_s=0.02) as jobs:
            await until(lambda: len(caplog.records) >= 2)
            await asyncio.sleep(0.1)
            assert sample(jobs.gateway, "fpan_jobs_redis_reachable") == 1
            assert sample(jobs.gateway, "fpan_jobs_redis_noeviction") == 0
    words = [record.getMessage() for record in caplog.records]
    assert [("noeviction" in word, "appendonly" in word) for word in words] == [(True, False), (False, True)]


async def test_a_store_that_is_away_is_told_apart_from_redis(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    redis.flush()
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    names = ("fpan_jobs_redis_reachable", "fpan_jobs_store_reachable")
    async with taking_jobs(monkeypatch, root, redis, jobs_store=store, job_sweep_s=0.02) as jobs:
        await until(lambda: [sample(jobs.gateway, name) for name in names] == [1, 1])
        store.rename(elsewhere)
        await until(lambda: [sample(jobs.gateway, name) for name in names] == [1, 0])
        elsewhere.rename(store)
        await until(lambda: [sample(jobs.gateway, name) for name in names] == [1, 1])
    assert len([record for record in caplog.records if "JOBS_STORE" in record.getMessage()]) == 1


async def test_jobs_that_end_by_themselves_are_counted_and_swept_once_more(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis.flush()
    limits = {"job_workers": 0, "job_input_ttl_s": 0.1, "job_sweep_s": 0.02, "jobs_store": tmp_path / "store"}
    async with taking_jobs(monkeypatch, root, redis, **limits) as jobs:
        job = (await jobs.submit(1))["id"]
        await jobs.wait(job, "failed")  # Redis may tell of the end before the sweeper has heard that it made it
        await until(lambda: sample(jobs.gateway, "fpan_jobs_ended_total", state="failed") == 1)
        await until(lambda: sample(jobs.gateway, "fpan_job_seconds_count", state="failed") == 1)
        await until(lambda: not (tmp_path / "store" / job).exists())
        (tmp_path / "store" / job).mkdir()  # by a worker that had a picture of it under way
        [(name, _)] = redis.client.zrange("{fpan-jobs}:due", 0, -1, withscores=True)
        redis.client.zadd("{fpan-jobs}:due", {name: 0})
        await until(lambda: not (tmp_path / "store" / job).exists())
        await until(lambda: redis.client.zcard("{fpan-jobs}:due") == 0)
        assert sample(jobs.gateway, "fpan_jobs_ended_total", state="failed") == 1


async def test_pictures_are_kept_where_the_answer_to_handing_them_in_is_lost(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, job_workers=0) as jobs:
        submit = jobs.gateway.jobs._job_queue.submit

        async def lost(order: JobSpec) -> tuple[str, Submitted]:
            await submit(order)
            raise Unavailable("the store of jobs does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(jobs.gateway.jobs._job_queue, "submit", lost)
            sent = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(2), headers={"Idempotency-Key": "a"})
            assert sent.status_code == 503
        again = await jobs.submit(2, {"Idempotency-Key": "a"})
        assert redis.keys("*blobs*") == [f"{{fpan-jobs}}:blobs:{again['id']}"]
        assert redis.fields(f"{{fpan-jobs}}:blobs:{again['id']}") == ["in-000000", "in-000001", "options"]


@asynccontextmanager
async def blobs_of(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[BlobStore]:
    if kind == "folder":
        yield FolderBlobStore(request.getfixturevalue("tmp_path") / "made" / "here")
    elif kind == "objects":
        boto3 = pytest.importorskip("boto3", reason="the extra [s3] is not installed")
        patch = request.getfixturevalue("monkeypatch")
        with s3.running() as environment:
            for name, value in environment.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket="bucket")
            yield ObjectBlobStore("s3://bucket/jobs")
    else:
        redis = request.getfixturevalue("redis")
        redis.flush()
        client = connect(redis.url)
        yield RedisBlobStore(client, 2**30, 60_000)
        await client.aclose()


@pytest.mark.parametrize("kind", ["redis", "folder", "objects"])
async def test_every_store_does_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    async with blobs_of(kind, request) as blobs:
        assert (await blobs.get(JOB, "out-1"), await blobs.names(JOB)) == (None, [])
        await blobs.delete(JOB)
        await blobs.delete(JOB, "out-1")
        for name, data in (("out-1", b"a"), ("in-1", b""), ("out-1", b"b" * 1000)):
            await blobs.put(JOB, name, data)
        await blobs.put("cd" * 16, "in-1", b"another's")
        assert await blobs.names(JOB) == ["in-1", "out-1"]
        assert (await blobs.get(JOB, "out-1"), await blobs.get(JOB, "in-1")) == (b"b" * 1000, b"")
        await blobs.delete(JOB, "in-1")
        assert await blobs.names(JOB) == ["out-1"]
        assert await blobs.stale(3600) == []
        if kind != "redis":  # there it ends by itself
            assert sorted(await blobs.stale(-60)) == [JOB, "cd" * 16]
        await blobs.delete(JOB)
        assert (await blobs.names(JOB), await blobs.get("cd" * 16, "in-1")) == ([], b"another's")
        await blobs.delete("cd" * 16)


async def test_the_folder_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path / "store")
    await blobs.put(JOB, "in-1", b"x")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "store", tmp_path / "store" / JOB)} == {0}


def test_what_is_encrypted_is_bound_to_its_job_and_its_place() -> None:
    cipher = Cipher(bytes(32))
    mine, other = cipher.of(JOB), cipher.of("cd" * 16)
    sealed = mine.encrypt("in-0", b"a picture")
    assert mine.decrypt("in-0", sealed) == b"a picture"
    assert sealed != mine.encrypt("in-0", b"a picture")
    for reader, name, data in (
        (mine, "in-1", sealed),
        (other, "in-0", sealed),
        (Cipher(b"1" * 32).of(JOB), "in-0", sealed),
        (mine, "in-0", sealed[:-1]),
        (mine, "in-0", bytes([sealed[0] ^ 1]) + sealed[1:]),
        (mine, "in-0", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (mine, "in-0", b""),
    ):
        with pytest.raises(Unreadable):
            reader.decrypt(name, data)


def test_tags_tell_purposes_and_words_apart() -> None:
    cipher = Cipher(bytes(32))
    made = [
        cipher.tag("owner", "ann"),
        cipher.tag("key", "ann"),
        cipher.tag("key", "an", "n"),
        cipher.tag("key", "a", "nn"),
    ]
    assert len(set(made)) == 4
    assert cipher.tag("owner", "ann") == made[0]


@pytest.mark.parametrize("secret", ["", "short", base64.b64encode(bytes(31)).decode(), "?" * 44])
def test_a_secret_that_is_none_is_refused_at_the_start_with_what_to_do(secret: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        Settings(redis_jobs_url="redis://localhost", jobs_secret=secret)


def test_secrets_are_not_in_what_settings_show() -> None:
    made = Settings(redis_jobs_url="redis://:password@localhost", jobs_secret=SECRET)
    assert SECRET not in repr(made)
    assert "password" not in repr(made)


async def test_a_job_is_taken_away_while_a_worker_still_writes(tmp_path: Path) -> None:
    store, over = FolderBlobStore(tmp_path), asyncio.Event()

    async def write(number: int) -> None:
        while not over.is_set():
            with contextlib.suppress(Unavailable):  # a worker tries again, and hears meanwhile that the job is gone
                await store.put(JOB, f"out-{number:06}", bytes(1000))

    writing = [asyncio.create_task(write(number)) for number in range(8)]
    try:
        for _ in range(40):
            await store.delete(JOB)
    finally:
        over.set()
        await asyncio.gather(*writing)
    await store.delete(JOB)
    assert not list(tmp_path.iterdir())
