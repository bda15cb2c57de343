"""What `fpan worker` makes of a gateway that refuses it, breaks, or is not there; and what it wants of its settings."""

import asyncio
import logging

import httpx
import pytest
from fpan.serve import worker
from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import GatewayError, StartError, Unavailable, UnsupportedImage
from fpan.serve.config import Settings
from fpan.serve.jobs import remote as by_gateway
from fpan.serve.jobs.remote import remote
from fpan.serve.telemetry.job_metrics import JobCounts
from prometheus_client import CollectorRegistry

PICTURE = Upload(b"a picture")


def problem(status: int, slug: str) -> httpx.Response:
    body = {"type": f"urn:mask-fpan:problem:{slug}", "status": status, "detail": f"it is {slug}"}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


class Gateway:
    """Answers with what is to come next, the last of it for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0
        self._registry = CollectorRegistry()
        counts = JobCounts(self._registry)
        counts.begin()
        client = httpx.AsyncClient(base_url="http://gateway", transport=httpx.MockTransport(self._answer))
        self.parse = remote(client, counts)("job")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def usable(self) -> float | None:
        return self._registry.get_sample_value("fpan_worker_gateway_usable")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (problem(401, "unauthenticated"), "refuses this worker (401)"),
        (problem(403, "forbidden"), "refuses this worker (403)"),
        (httpx.Response(404, text="hello"), "no problem of its own"),
        (httpx.ConnectError("refused"), "does not answer (ConnectError)"),
    ],
)
async def test_a_gateway_that_refuses_the_worker_costs_no_picture_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture, wrong: httpx.Response | Exception, says: str
) -> None:
    gateway = Gateway(wrong, wrong, httpx.Response(200, json={}))
    with caplog.at_level(logging.INFO, by_gateway.__name__):
        for _ in range(2):
            with pytest.raises(Unavailable):
                await gateway.parse(PICTURE, "job")
            assert gateway.usable == 0
        await gateway.parse(PICTURE, "job")
    assert gateway.usable == 1
    told, again = (record.getMessage() for record in caplog.records)
    assert (says in told, again) == (True, "the gateway answers this worker again")


async def test_a_picture_over_which_the_gateway_breaks_is_tried_again_and_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_gateway, "_FIRST_PAUSE_S", 0.001)
    gateway = Gateway(problem(500, "internal"), problem(500, "internal"), httpx.Response(200, content=b"{}"))
    assert await gateway.parse(PICTURE, "job") == b"{}"
    assert (gateway.asked, gateway.usable) == (3, 1)
    monkeypatch.setattr(by_gateway, "_BROKEN_S", 0.02)
    broken = Gateway(problem(500, "internal"))
    with pytest.raises(GatewayError) as given_up:
        await broken.parse(PICTURE, "job")
    assert (type(given_up.value), broken.asked > 2) == (GatewayError, True)


async def test_what_is_wrong_with_a_picture_is_not_held_against_the_gateway() -> None:
    gateway = Gateway(problem(415, "unsupported-image"))
    with pytest.raises(UnsupportedImage):
        await gateway.parse(PICTURE, "job")
    assert gateway.usable == 1


@pytest.mark.parametrize("address", ["localhost:1", "gateway", "ftp://gateway", "http://"])
def test_what_is_no_address_of_a_gateway_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        Settings(worker_gateway_url=address)


def test_a_worker_needs_no_keys_and_no_certificate_whatever_gateways_beside_it_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Settings] = []

    def opened(settings: Settings, hooks: object) -> None:
        seen.append(settings)
        raise StartError("far enough")

    monkeypatch.setattr(worker, "open_gateway", opened)
    settings = Settings(bind_address="0.0.0.0", tls_certificate="a.pem", tls_key="b.pem", keys_file="keys.json")

    async def begin() -> None:
        async with worker._by_itself(settings, None):
            pass

    with pytest.raises(StartError):
        asyncio.run(begin())
    assert not seen[0].needs_keys
    assert (seen[0].tls_certificate, seen[0].tls_key) == (None, None)


def test_a_worker_that_cannot_start_says_so_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(settings: Settings) -> None:
        raise StartError("the networks do not start")

    monkeypatch.setattr(worker, "work", work)
    monkeypatch.setattr(worker, "leave_no_core", lambda: None)  # it is for the life of a process: here, of all tests
    monkeypatch.setenv("REDIS_JOBS_URL", "redis://localhost")
    monkeypatch.setenv("JOBS_SECRET", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    with pytest.raises(SystemExit, match="fpan worker: the networks do not start"):
        worker.main([])


async def test_the_metrics_of_a_worker_listen_where_metrics_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []

    def listen(port: int, address: str, registry: object) -> None:
        asked.append((port, address))
        raise StartError("far enough")

    monkeypatch.setattr(worker, "start_http_server", listen)
    settings = Settings(
        bind_address="0.0.0.0", metrics_address="127.0.0.9", worker_metrics_port=9464, worker_gateway_url="http://x"
    )
    with pytest.raises(StartError):
        await worker.work(settings)
    assert asked == [(9464, "127.0.0.9")]
