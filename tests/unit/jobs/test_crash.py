"""Jobs when gateways, workers and Redis end in the middle of one."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.worker import READY

from tests.support import redis_server
from tests.support.jobs import FULL, SECRET, listening, pictures, taking_jobs
from tests.support.redis_server import RedisServer
from tests.support.traffic import repository, sample, until

LEASE_S = 0.6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jobs") / "repository"
    repository(path, 1)
    return path


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


async def test_a_gateway_that_ends_hands_its_job_back_and_another_goes_on(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"background_concurrency": 1, "job_lease_s": 60}  # handed back, or it would take too long
    async with taking_jobs(monkeypatch, root, redis, **limits) as first:
        first.gateway.backend.delays_s[1] = 0.05
        job = (await first.submit(8))["id"]
        while (before := await first.get(job))["progress"]["done"] < 2:
            await asyncio.sleep(0.01)
        first.hold()
    async with taking_jobs(monkeypatch, root, redis, **limits) as second:
        ended = await second.wait(job)
        assert (ended["progress"]["done"], ended["attempts"]) == (8, 1)
        assert [each["index"] for each in await second.result(job)] == list(range(8))
        assert len(second.gateway.backend.asked) <= 8 - before["progress"]["done"]


async def test_a_job_survives_a_restart_of_redis_while_it_runs(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking_jobs(monkeypatch, root, redis, job_lease_s=LEASE_S) as jobs:
        go = jobs.hold()
        running = (await jobs.submit(4))["id"]
        await jobs.wait(running, "running")
        waiting = (await jobs.submit(1))["id"]
        await until(lambda: bool(jobs.gateway.backend.asked))
        await asyncio.to_thread(redis.kill)
        go.set()  # what comes of it must be kept until it can be put away
        told = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(1))
        assert told.status_code == 503
        assert (await jobs.client.post("/v1/parse", params=FULL, content=pictures(1)[0][1][1])).status_code == 200
        await asyncio.to_thread(redis.start)
        for job, count in ((running, 4), (waiting, 1)):
            assert (await jobs.wait(job))["progress"]["done"] == count
            assert [each["status"] for each in await jobs.result(job)] == [200] * count


async def test_a_worker_that_was_away_too_long_spoils_nothing(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking_jobs(monkeypatch, root, redis, job_lease_s=LEASE_S) as away:
        go = away.hold()
        job = (await away.submit(3))["id"]
        await until(lambda: bool(away.gateway.backend.asked))

        async def silent(lease: object) -> bool:  # as if it were stopped: it does not renew
            await asyncio.sleep(3600)
            return True

        monkeypatch.setattr(away.gateway.jobs._job_queue, "renew", silent)
        async with taking_jobs(monkeypatch, root, redis, job_lease_s=LEASE_S) as other:
            hold = other.hold()
            await until(lambda: bool(other.gateway.backend.asked))
            go.set()  # now both are at it, and the first finds that the job is not its any more
            await asyncio.sleep(0.1)
            assert (await other.get(job))["progress"]["done"] == 0
            hold.set()
            ended = await other.wait(job)
            assert (ended["attempts"], ended["progress"]["done"]) == (2, 3)
            assert [each["index"] for each in await other.result(job)] == [0, 1, 2]


async def test_a_job_that_ends_its_workers_fails_in_the_end(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking_jobs(monkeypatch, root, redis, job_workers=0, job_attempts=3, job_lease_s=0.05) as jobs:
        job = (await jobs.submit(1))["id"]
        job_queue = jobs.gateway.jobs._job_queue
        for _ in range(3):  # each takes it and is never heard of again
            assert (await job_queue.take()).id == job
            await asyncio.sleep(0.06)
        assert await job_queue.take() is None
        assert sample(jobs.gateway, "fpan_jobs_ended_total", state="failed") == 1
        ended = await jobs.get(job)
        assert (ended["state"], ended["attempts"]) == ("failed", 4)
        assert "3 workers" in ended["problem"]["detail"]
        told = await jobs.client.get(f"{JOBS_PATH}/{job}/result")
        assert told.status_code == 409


class Worker:
    """A `fpan worker` as a child process."""

    def __init__(self, redis: RedisServer, gateway: str) -> None:
        settings = {
            "REDIS_JOBS_URL": redis.url,
            "JOBS_SECRET": SECRET,
            "WORKER_GATEWAY_URL": gateway,
            "JOB_LEASE_S": "1",
            "BACKGROUND_CONCURRENCY": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fpan.cli", "worker"],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


async def test_what_a_killed_worker_had_begun_another_finishes(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking_jobs(monkeypatch, root, redis, job_workers=0) as jobs, listening(jobs) as url:
        jobs.gateway.backend.delays_s[1] = 0.02
        job = (await jobs.submit(6))["id"]
        first, second = Worker(redis, url), None
        try:
            async with asyncio.timeout(60):
                while (told := await jobs.get(job))["progress"]["done"] < 2:
                    assert first.process.poll() is None, first.lines
                    await asyncio.sleep(0.005)
            first.process.kill()
            done = (await jobs.get(job))["progress"]["done"]
            jobs.gateway.backend.asked.clear()
            second = Worker(redis, url)
            async with asyncio.timeout(60):
                while told["state"] != "succeeded":
                    told = await jobs.get(job)
                    await asyncio.sleep(0.02)
            assert (told["progress"], told["attempts"] >= 2) == ({"done": 6, "failed": 0, "total": 6}, done < 6)
            results = await jobs.result(job)
            assert [each["index"] for each in results] == list(range(6))
            assert {each["answer"]["request_id"] for each in results} == {job}
            assert len(jobs.gateway.backend.asked) <= 6 - done + 1  # one may have been under way
            await until(lambda: READY in second.lines)
            second.process.terminate()
            assert await asyncio.to_thread(second.process.wait, 20) == 0
            assert not any(job in line for line in (*first.lines, *second.lines))  # one line on a change of state
        finally:
            for worker in (first, second):
                if worker is not None:
                    worker.end()
