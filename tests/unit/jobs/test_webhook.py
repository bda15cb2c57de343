"""The end of a job, told to a real HTTP server: signed, again after an error, and no more than once it was heard."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from fpan.serve import app as opening
from fpan.serve.api.errors import BadRequest
from fpan.serve.config import Settings
from fpan.serve.jobs import webhook
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.transports.http.openapi.schema import JobEnded

from tests.support import redis_server
from tests.support.jobs import FULL, Jobs, pictures, taking_jobs
from tests.support.redis_server import RedisServer
from tests.support.traffic import repository, sample, until

KEY = bytes(range(100, 132))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Listener(ThreadingHTTPServer):
    """Hears; answers with ``statuses``, the last of them for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [204]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/parsed?of=mine"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        listener = self.server
        status = listener.statuses.pop(0) if len(listener.statuses) > 1 else listener.statuses[0]
        listener.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(status)
        if status == 302:
            self.send_header("location", listener.url)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hooks") / "repository"
    repository(path, 1)
    return path


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@asynccontextmanager
async def telling(monkeypatch, root, redis, client=httpx.AsyncClient, **settings) -> AsyncIterator[Jobs]:
    """A gateway that may tell of the end of jobs."""
    real = opening.open_jobs
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_jobs", lambda *words: real(*words[:-1], client))
        patch.setattr(webhook, "_FIRST_PAUSE_S", 0.05)
        patch.setattr(webhook, "_LOOK_S", 0.02)
        chosen = {"webhook_secret": SECRET, **settings}
        async with taking_jobs(monkeypatch, root, redis, **chosen) as jobs:
            yield jobs


@pytest.fixture
async def jobs(root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    redis.flush()
    async with telling(monkeypatch, root, redis, webhook_attempts=3) as opened:
        yield opened


async def test_the_end_is_told_once_and_signed_as_standard_webhooks_are(jobs: Jobs, listener: Listener) -> None:
    job = (await jobs.submit(2, webhook=listener.url))["id"]
    await jobs.wait(job)
    await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="delivered") == 1)
    [(headers, body)] = listener.heard
    told = json.loads(body)
    assert JobEnded.model_validate(told).type == "job.succeeded"
    assert told["data"] == await jobs.get(job)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"msg_{job}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    by_hand = base64.b64encode(hmac.digest(KEY, signed.encode(), hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{by_hand}"


async def test_it_is_told_again_until_somebody_has_heard(jobs: Jobs, listener: Listener) -> None:
    listener.statuses = [500, 302, 200]
    job = (await jobs.submit(1, webhook=listener.url))["id"]
    await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="delivered") == 1)
    assert sample(jobs.gateway, "fpan_job_webhooks_total", outcome="failed") == 2
    assert len(listener.heard) == 3  # nor was the redirection followed
    assert {headers["webhook-id"] for headers, _ in listener.heard} == {f"msg_{job}"}
    assert len({body for _, body in listener.heard}) <= 3


async def test_after_so_many_tries_it_is_given_up(jobs: Jobs, listener: Listener) -> None:
    listener.statuses = [500]
    job = (await jobs.submit(1, webhook=listener.url))["id"]
    await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="given up") == 1)
    assert len(listener.heard) == 3
    assert (await jobs.get(job))["state"] == "succeeded"


async def test_a_restart_forgets_nobody_who_is_to_be_told(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    redis.flush()
    async with telling(monkeypatch, root, redis, webhook_timeout_s=0.1) as first:
        listener.statuses = [500]
        job = (await first.submit(1, webhook=listener.url))["id"]
        await until(lambda: bool(listener.heard))
    listener.statuses = [200]
    async with telling(monkeypatch, root, redis, job_workers=0, webhook_timeout_s=0.1) as second:
        await until(lambda: sample(second.gateway, "fpan_job_webhooks_total", outcome="delivered") == 1)
    assert listener.heard[-1][0]["webhook-id"] == f"msg_{job}"


async def test_a_cancelled_job_is_told_of_too(jobs: Jobs, listener: Listener) -> None:
    jobs.hold()
    job = (await jobs.submit(1, webhook=listener.url))["id"]
    await jobs.client.delete(f"{JOBS_PATH}/{job}")
    await until(lambda: bool(listener.heard))
    assert json.loads(listener.heard[0][1])["type"] == "job.cancelled"


async def test_an_address_that_the_client_may_not_go_to_stops_no_other(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    class Guarded(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "169.254.169.254":
                raise BadRequest("this address is within the server's own network")
            return await httpx.AsyncHTTPTransport().handle_async_request(request)

    redis.flush()
    made = lambda: httpx.AsyncClient(transport=Guarded())  # noqa: E731
    async with telling(monkeypatch, root, redis, made, webhook_attempts=1) as jobs:
        await jobs.submit(1, webhook="http://169.254.169.254/latest")
        await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="given up") == 1)
        await jobs.submit(1, webhook=listener.url)
        await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="delivered") == 1)


@pytest.mark.parametrize(
    "url", ["example.org", "ftp://example.org", "http://", "http://me:secret@example.org", "http://x" + "y" * 3000, ""]
)
async def test_what_is_no_address_is_refused(jobs: Jobs, url: str) -> None:
    told = await jobs.client.post(JOBS_PATH, params={**FULL, "webhook": url}, files=pictures(1))
    assert (told.status_code, "webhook" in told.json()["detail"]) == (400, True)


@pytest.mark.parametrize("url", ["https://example.org/\ud800", "https://\ud800.example.org/", 5, ["https://x.org"]])
async def test_what_is_no_text_of_an_address_is_refused(jobs: Jobs, url: object) -> None:
    body = {"images": [base64.b64encode(pictures(1)[0][1][1]).decode()], "webhook": url}
    told = await jobs.client.post(JOBS_PATH, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (told.status_code, "webhook" in told.json()["detail"]) == (400, True)


async def test_a_webhook_that_is_not_allowed_is_refused_in_words_that_fit(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {"webhook_secret": SECRET, "webhook_hosts": "hooks.example.org"}
    async with taking_jobs(monkeypatch, root, redis, **hosts) as jobs:
        sent = {"params": {**FULL, "webhook": "https://elsewhere.example.org/"}, "files": pictures(1)}
        told = await jobs.client.post(JOBS_PATH, **sent)
    assert told.status_code == 403
    assert told.json()["detail"].startswith("webhook: this server does not connect to https://elsewhere.example.org:")
    assert "bytes" not in told.json()["detail"]


async def test_a_host_that_hangs_holds_up_nobody_else(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    under_way, most = Counter(), Counter()

    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            host = request.url.host
            if not host.startswith("hangs"):
                return await httpx.AsyncHTTPTransport().handle_async_request(request)
            under_way[host] += 1
            most[host] = max(most[host], under_way[host])
            try:
                await asyncio.sleep(3600)
            finally:
                under_way[host] -= 1
            raise AssertionError

    redis.flush()
    made = lambda: httpx.AsyncClient(transport=Hanging())  # noqa: E731
    async with telling(monkeypatch, root, redis, made, webhook_concurrency=3) as jobs:
        for host in ("hangs.one", "hangs.one", "hangs.one", "hangs.two"):
            await jobs.submit(1, webhook=f"http://{host}/")
        await until(lambda: under_way == {"hangs.one": 1, "hangs.two": 1})
        for _ in range(2):
            await jobs.submit(1, webhook=listener.url)
        await until(lambda: sample(jobs.gateway, "fpan_job_webhooks_total", outcome="delivered") == 2)
        await jobs.submit(1, webhook="http://hangs.three/")
        await until(lambda: len(under_way) == 3)
        last = (await jobs.submit(1, webhook=listener.url))["id"]
        await jobs.wait(last)
        await asyncio.sleep(0.1)
        assert len(listener.heard) == 2, "there is no place for it until another has ended"
    assert most == {"hangs.one": 1, "hangs.two": 1, "hangs.three": 1}
    assert not +under_way


async def test_without_a_guarded_client_webhooks_are_refused(
    root: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking_jobs(monkeypatch, root, redis, webhook_secret=SECRET) as jobs:
        told = await jobs.client.post(JOBS_PATH, params={**FULL, "webhook": "http://x.org"}, files=pictures(1))
        assert told.status_code == 400


@pytest.mark.parametrize("secret", ["whsec_?", "c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        Settings(webhook_secret=secret)


def test_the_example_of_the_standard_is_signed_as_it_says() -> None:
    """From the specification of Standard Webhooks (its reference libraries' own test)."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = webhook.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
