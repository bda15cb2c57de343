"""`/v1/jobs` over a real Redis: their life, their keys, their news, and what is told when something is wrong."""

import asyncio
import base64
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fpan.serve.admission.admission import Access
from fpan.serve.admission.caller import Credentials
from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import DeadlineExceeded, Unavailable
from fpan.serve.jobs import worker as runner
from fpan.serve.jobs.encrypted_store import JobStore
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.transports.http.batch import BATCH_PATH
from fpan.serve.transports.http.jobs import IDEMPOTENCY_KEY, parse_event_id

from tests.support import redis_server
from tests.support.jobs import FULL, Jobs, events, files, pictures, taking_jobs
from tests.support.redis_server import RedisServer
from tests.support.traffic import picture, repository, serving, until

BROKEN = b"no picture at all"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jobs") / "repository"
    repository(path, 1)
    return path


@pytest.fixture
async def jobs(root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    redis.flush()
    limits = {"max_job_images": 5, "max_job_bytes": 100_000, "max_body_bytes": 20_000, "max_jobs": 4}
    async with taking_jobs(monkeypatch, root, redis, **limits) as opened:
        yield opened


async def test_a_job_gives_what_a_batch_gives(jobs: Jobs) -> None:
    sent = files(picture(), BROKEN, picture(1))
    told = await jobs.client.post(JOBS_PATH, params=FULL, files=sent)
    job = told.json()["id"]
    assert (told.status_code, told.headers["location"]) == (202, f"{JOBS_PATH}/{job}")
    assert (len(job), told.json()["progress"]) == (32, {"done": 0, "failed": 0, "total": 3})
    ended = await jobs.wait(job)
    assert ended["progress"] == {"done": 3, "failed": 1, "total": 3}
    assert ended["created_at"] <= ended["started_at"] <= ended["finished_at"] < ended["result_expires_at"]
    assert (ended["attempts"], ended["problem"], ended["result"]) == (1, None, f"{JOBS_PATH}/{job}/result")
    results = await jobs.result(job)
    batch = (await jobs.client.post(BATCH_PATH, params=FULL, files=sent)).json()["results"]
    assert [(each["index"], each["status"]) for each in results] == [(0, 200), (1, 415), (2, 200)]
    assert [each["answer"]["mask"] for each in results[::2]] == [each["answer"]["mask"] for each in batch[::2]]
    assert results[1]["problem"] == {**batch[1]["problem"], "request_id": job}
    lines = await jobs.client.get(ended["result"], headers={"Accept": "application/x-ndjson"})
    assert [line.count('"index"') for line in lines.text.splitlines()] == [1] * 3


async def test_json_brings_options_for_all_and_for_single_pictures(jobs: Jobs) -> None:
    first, second = (base64.b64encode(picture(seed)).decode() for seed in range(2))
    body = {"images": [first, {"image": second, "output": "png"}], "faces": "full"}
    job = (await jobs.client.post(JOBS_PATH, json=body)).json()["id"]
    await jobs.wait(job)
    results = await jobs.result(job)
    assert ["mask" in results[0]["answer"], "png" in results[1]["answer"]] == [True, True]


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"files": files(*[b"x"] * 6)}, 413, "at most 5 pictures"),
        ({"files": files(bytes(100_001))}, 413, "100000"),
        ({"files": files(b"x"), "params": {"output": "nothing"}}, 400, "nothing"),
        ({"files": files(b"x"), "params": {"webhook": "http://example.org"}}, 400, "WEBHOOK_SECRET"),
        ({"files": files(b"x"), "headers": {IDEMPOTENCY_KEY: "a b"}}, 400, "Idempotency-Key"),
        ({"json": {"images": []}}, 400, "no picture"),
        ({"json": {"images": ["eA==", {"image": "eA==", "clases": "skin"}]}}, 400, "images[1]: "),
        ({"json": {"images": [{"image": "eA==", "max_faces": 0}]}}, 400, "max_faces"),
        ({"files": files(b"x", bytes(20_001))}, 413, "images[1]: the picture has 20001 bytes"),
    ],
)
async def test_what_cannot_be_a_job_is_refused_and_leaves_nothing(
    jobs: Jobs, redis: RedisServer, request_: dict, status: int, says: str
) -> None:
    told = await jobs.client.post(JOBS_PATH, **request_)
    assert (told.status_code, says in told.json()["detail"]) == (status, True)
    assert redis.keys("*blobs*") == []


async def test_a_repeated_request_is_the_same_job(jobs: Jobs) -> None:
    go = jobs.hold()
    key = {IDEMPOTENCY_KEY: "order-1"}
    first = await jobs.submit(headers=key)
    again = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(2), headers={IDEMPOTENCY_KEY: '"order-1"'})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert again.headers["idempotent-replayed"] == "true"
    other = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(1), headers=key)
    assert (other.status_code, other.json()["type"]) == (409, "urn:mask-fpan:problem:conflict")
    options = await jobs.client.post(JOBS_PATH, params={**FULL, "output": "png"}, files=pictures(2), headers=key)
    assert options.status_code == 409
    somebody = await jobs.submit(headers={**key, "X-Client-Id": "somebody else"})
    assert somebody["id"] != first["id"]
    go.set()
    await jobs.wait(first["id"])
    assert (await jobs.submit(headers=key))["id"] == first["id"]  # also when it has ended
    await jobs.client.delete(f"{JOBS_PATH}/{first['id']}")
    assert (await jobs.submit(headers=key))["id"] != first["id"]  # but not when it is forgotten


async def test_requests_with_one_key_at_the_same_time_are_one_job(jobs: Jobs) -> None:
    jobs.hold()
    key = {IDEMPOTENCY_KEY: "at-once"}
    told = await asyncio.gather(*(jobs.submit(headers=key) for _ in range(6)))
    assert len({each["id"] for each in told}) == 1


async def test_a_running_job_is_cancelled_at_once_and_its_pictures_go(jobs: Jobs, redis: RedisServer) -> None:
    jobs.hold()
    job = (await jobs.submit(4))["id"]
    await until(lambda: bool(jobs.gateway.backend.asked))
    told = await jobs.client.delete(f"{JOBS_PATH}/{job}")
    assert (told.status_code, told.json()["state"]) == (200, "cancelled")
    assert redis.keys(f"*blobs:{job}") == []
    result = await jobs.client.get(f"{JOBS_PATH}/{job}/result")
    assert (result.status_code, "cancelled" in result.json()["detail"]) == (409, True)
    # The worker has let go of it, and takes another, though the networks hang.
    other = (await jobs.submit(1))["id"]
    await jobs.wait(other, "running")
    jobs.gateway.backend.holds[1].set()
    await jobs.wait(other)
    assert redis.keys(f"*blobs:{job}") == []
    assert (await jobs.client.delete(f"{JOBS_PATH}/{job}")).status_code == 204
    assert (await jobs.client.get(f"{JOBS_PATH}/{job}")).status_code == 404


async def test_a_job_that_is_cancelled_in_the_moment_that_it_begins_is_no_fault(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends, read = asyncio.Event(), JobStore.options

    async def cancelled_before(store: JobStore) -> dict[str, object]:
        await ends.wait()
        return await read(store)

    monkeypatch.setattr(JobStore, "options", cancelled_before)
    monkeypatch.setattr(runner.JobWorker, "_until_lost", lambda *_: asyncio.sleep(3600))  # it has not heard of it yet
    job = (await jobs.submit())["id"]
    await jobs.wait(job, "running")
    assert (await jobs.client.delete(f"{JOBS_PATH}/{job}")).json()["state"] == "cancelled"
    ends.set()
    second = (await jobs.submit())["id"]
    await jobs.wait(second)
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_waiting_job_is_cancelled_and_never_run(jobs: Jobs) -> None:
    go = jobs.hold()
    first, second = (await jobs.submit(1))["id"], (await jobs.submit(1))["id"]
    await jobs.wait(first, "running")
    assert (await jobs.client.delete(f"{JOBS_PATH}/{second}")).json()["state"] == "cancelled"
    go.set()
    await jobs.wait(first)
    third = (await jobs.submit(1))["id"]
    await jobs.wait(third)
    assert (await jobs.get(second))["attempts"] == 0


async def test_a_result_is_not_there_before_the_end_and_not_after_its_deletion(jobs: Jobs, redis: RedisServer) -> None:
    go = jobs.hold()
    job = (await jobs.submit(1))["id"]
    early = await jobs.client.get(f"{JOBS_PATH}/{job}/result")
    assert (early.status_code, "0 of 1" in early.json()["detail"]) == (409, True)
    go.set()
    await jobs.wait(job)
    assert len(await jobs.result(job)) == 1
    assert (await jobs.client.delete(f"{JOBS_PATH}/{job}")).status_code == 204
    assert (await jobs.client.get(f"{JOBS_PATH}/{job}/result")).status_code == 404
    assert redis.keys(f"*{job}*") == []


async def test_more_jobs_than_may_wait_are_refused(jobs: Jobs) -> None:
    jobs.hold()
    waiting = [await jobs.submit(1) for _ in range(4)]
    told = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(1))
    assert (told.status_code, "retry-after" in told.headers) == (429, True)
    for job in waiting:
        await jobs.client.delete(f"{JOBS_PATH}/{job['id']}")
    assert (await jobs.submit(1))["state"] == "queued"


async def test_a_picture_is_asked_for_again_while_the_backend_is_away(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LONGEST_PAUSE_S", 0.05)
    jobs.gateway.backend.errors[1] = Unavailable("down")
    job = (await jobs.submit(1))["id"]
    await until(lambda: len(jobs.gateway.backend.asked) >= 3)
    del jobs.gateway.backend.errors[1]
    await jobs.wait(job)
    assert [each["status"] for each in await jobs.result(job)] == [200]


async def test_what_is_final_is_not_tried_again(jobs: Jobs) -> None:
    jobs.gateway.backend.errors[1] = DeadlineExceeded("too late")
    job = (await jobs.submit(2))["id"]
    await jobs.wait(job)
    assert [each["status"] for each in await jobs.result(job)] == [504, 504]
    assert len(jobs.gateway.backend.asked) == 2


async def test_news_come_from_any_gateway_until_the_end(
    jobs: Jobs, root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = jobs.hold()
    async with taking_jobs(monkeypatch, root, redis, job_workers=0, job_heartbeat_s=0.05) as other:
        job = (await jobs.submit(3))["id"]
        await jobs.wait(job, "running")
        watching = asyncio.create_task(other.client.get(f"{JOBS_PATH}/{job}/events"))
        await asyncio.sleep(0.2)  # so that there is a heartbeat
        go.set()
        told = await asyncio.wait_for(watching, 10)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert "\n:\n" in told.text
    heard = events(told.text)
    assert [state for _, state, _ in heard][0 :: len(heard) - 1] == ["running", "succeeded"]
    done = [data["progress"]["done"] for _, _, data in heard]
    assert done == sorted(done)
    assert done[-1] == 3
    numbers = [number for number, _, _ in heard]
    assert numbers == sorted(set(numbers))


async def test_news_go_on_where_they_were_cut(jobs: Jobs) -> None:
    job = (await jobs.submit(1))["id"]
    await jobs.wait(job)
    whole = events((await jobs.client.get(f"{JOBS_PATH}/{job}/events")).text)
    assert [state for _, state, _ in whole] == ["succeeded"]
    last = str(whole[-1][0])
    for odd in ("9" * 5000, "x", "-1"):
        odd_told = await jobs.client.get(f"{JOBS_PATH}/{job}/events", headers={"Last-Event-ID": odd})
        assert events(odd_told.text) == whole
    over = await jobs.client.get(f"{JOBS_PATH}/{job}/events", headers={"Last-Event-ID": last})
    assert (over.status_code, over.text) == (204, "")
    before = await jobs.client.get(f"{JOBS_PATH}/{job}/events", headers={"Last-Event-ID": "1"})
    assert events(before.text) == whole


async def test_news_end_when_the_gateway_does(jobs: Jobs) -> None:
    jobs.hold()
    job = (await jobs.submit(1))["id"]
    await jobs.wait(job, "running")
    watching = asyncio.create_task(jobs.client.get(f"{JOBS_PATH}/{job}/events"))
    await until(lambda: job in jobs.gateway.jobs.job_events._waiting and len(jobs.gateway.jobs.job_events._waiting) > 0)
    jobs.gateway.drain()
    assert (await asyncio.wait_for(watching, 5)).status_code == 200
    assert (await jobs.client.post(JOBS_PATH, files=pictures(1))).status_code == 503


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 20, "-1", "x", "\u0664"])
def test_a_last_event_that_no_server_has_told_is_none(number: str) -> None:
    assert parse_event_id(number) is None
    assert parse_event_id("9" * 19) == 10**19 - 1


@pytest.mark.parametrize("path", ["", "/result", "/events"])
async def test_a_job_that_is_not_there_is_not_found(jobs: Jobs, path: str) -> None:
    assert (await jobs.client.get(f"{JOBS_PATH}/{'0' * 32}{path}")).status_code == 404


async def test_without_a_redis_it_is_said_how_to_switch_jobs_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, root) as gateway:
        told = await Jobs(gateway, _client(gateway)).client.post(JOBS_PATH, files=pictures(1))
        assert (told.status_code, "REDIS_JOBS_URL" in told.json()["detail"]) == (404, True)


async def test_without_its_redis_a_gateway_does_all_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"redis://127.0.0.1:{redis_server.closed_port()}/0"
    async with taking_jobs(monkeypatch, root, url) as jobs:
        told = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(1))
        assert (told.status_code, told.headers["retry-after"]) == (503, "5")
        assert (await jobs.client.get(f"{JOBS_PATH}/{'0' * 32}")).status_code == 503
        assert (await jobs.client.post("/v1/parse", params=FULL, content=picture())).status_code == 200
        assert (await jobs.client.get("/v1/health/ready")).status_code == 200


async def test_callers_who_have_proven_who_they_are_see_only_their_own(jobs: Jobs) -> None:
    job = (await jobs.submit(1))["id"]
    job_service = jobs.gateway.jobs
    async with job_service.accepting("ann") as draft:
        await draft.add(Upload(picture()))
        hers, _ = await draft.submit(FULL)
    assert (await job_service.record(hers.id, "ann")).id == hers.id
    for whose, caller in ((hers.id, "bob"), (hers.id, ""), (job, "ann")):
        with pytest.raises(Exception, match="no such job"):
            await job_service.record(whose, caller)
        with pytest.raises(Exception, match="no such job"):
            await job_service.end(whose, caller)


async def test_interactive_work_goes_before_jobs(jobs: Jobs) -> None:
    go = jobs.hold()
    job = (await jobs.submit(5))["id"]
    await until(lambda: len(jobs.gateway.backend.asked) == jobs.gateway.settings.background_concurrency)
    front = [asyncio.create_task(jobs.client.post("/v1/parse", params=FULL, content=picture(i))) for i in range(4)]
    await until(lambda: len(jobs.gateway.backend.asked) == jobs.gateway.settings.background_concurrency + 4)
    assert (await jobs.get(job))["progress"]["done"] == 0
    go.set()
    assert {answer.status_code for answer in await asyncio.gather(*front)} == {200}
    await jobs.wait(job)


def _client(gateway):
    import httpx
    from fpan.serve.transports.http.app import create_app

    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x")


async def test_each_picture_of_a_job_counts_when_it_is_handed_in(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, rate_limit_per_minute=5, job_workers=0) as jobs:

        async def post(count: int) -> tuple[int, str, bool]:
            told = await jobs.client.post(JOBS_PATH, params=FULL, files=pictures(count))
            return told.status_code, told.headers["ratelimit"].split(";")[1], "retry-after" in told.headers

        assert await post(6) == (413, "r=4", False)
        assert await post(3) == (202, "r=1", False)
        assert await post(2) == (429, "r=0", True)


async def test_streams_of_events_of_one_caller_are_bounded(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    async with taking_jobs(monkeypatch, root, redis, max_event_streams=1, job_workers=0) as jobs:
        path = f"{JOBS_PATH}/{(await jobs.submit())['id']}/events"
        account = jobs.gateway.admission.identify(Credentials(None, None, None, "127.0.0.1"), Access())
        with jobs.gateway.admission.streaming(account):
            assert (await jobs.client.get(path)).status_code == 429
        await jobs.client.delete(path.removesuffix("/events"))
        for _ in range(2):  # each has given its place back
            assert (await jobs.client.get(path)).status_code == 200
