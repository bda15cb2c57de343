"""`POST /v1/parse/batch`: order, one picture's error, options, limits, callers who leave."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fpan.serve.api.errors import Unavailable
from fpan.serve.app import Gateway
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.batch import BATCH_PATH

from tests.support.traffic import picture, repository, serving, until

BROKEN = b"no picture at all"
FULL = {"faces": "full"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batch") / "repository"
    repository(path, 1)
    return path


@pytest.fixture
async def gateway(root: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    async with serving(monkeypatch, root, max_batch_images=5, max_batch_bytes=100_000, max_body_bytes=20_000) as opened:
        yield opened


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as opened:
        yield opened


def files(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", (f"{i}.png", data)) for i, data in enumerate(pictures)]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bare(answer: bytes) -> bytes:
    """An answer without the id and the timing, which differ from one request to the next."""
    return answer[answer.index(b',"image"') : answer.index(b',"timing_ms"')]


async def test_answers_come_in_order_and_are_those_of_single_requests_byte_for_byte(client: httpx.AsyncClient) -> None:
    pictures = [picture(seed) for seed in range(3)]
    batch = await client.post(BATCH_PATH, params=FULL, files=files(*pictures), headers={"X-Request-Id": "mine"})
    assert (batch.status_code, batch.headers["content-type"]) == (200, "application/json")
    told = batch.json()
    assert told["request_id"] == "mine"
    assert [(each["index"], each["status"]) for each in told["results"]] == [(0, 200), (1, 200), (2, 200)]
    assert {each["answer"]["request_id"] for each in told["results"]} == {"mine"}
    assert told["results"][0]["answer"]["timing_ms"]["encode"] > 0
    for data in pictures:
        single = await client.post("/v1/parse", params=FULL, content=data)
        assert bare(single.content) in batch.content


async def test_a_picture_that_fails_has_a_problem_in_its_place_and_stops_no_other(client: httpx.AsyncClient) -> None:
    batch = await client.post(
        BATCH_PATH, params=FULL, files=files(picture(), BROKEN, b"", picture(1), picture() + bytes(20_000))
    )
    told = batch.json()["results"]
    assert [each["status"] for each in told] == [200, 415, 400, 200, 413]
    assert {tuple(each) for each in told} == {("index", "status", "answer"), ("index", "status", "problem")}
    alone = (await client.post("/v1/parse", params=FULL, content=BROKEN)).json()
    assert {**told[1]["problem"], "request_id": ""} == {**alone, "request_id": ""}


async def test_what_the_backend_refuses_says_when_to_try_again(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.backend.errors[1] = Unavailable("down", retry_after_s=7)
    [told] = (await client.post(BATCH_PATH, params=FULL, files=files(picture()))).json()["results"]
    assert (told["status"], told["problem"]["retry_after_s"]) == (503, 7)


async def test_json_takes_options_for_all_and_for_single_pictures(client: httpx.AsyncClient) -> None:
    images = [
        text(picture()),
        {"image": text(picture(1)), "output": ["png"]},
        {"image": "data:image/png;base64," + text(picture(2)), "frame": "sideways"},
        {"image": text(picture()), "classes": ["hair"], "faces": "full"},
    ]
    batch = await client.post(BATCH_PATH, json={"images": images, "faces": "full", "output": ["rle", "confidence"]})
    first, second, third, fourth = batch.json()["results"]
    assert {"mask", "confidence"} <= first["answer"].keys()
    assert "png" in second["answer"]
    assert "mask" not in second["answer"]
    assert (third["status"], "frame" in third["problem"]["detail"]) == (400, True)
    assert {c["name"] for c in fourth["answer"]["mask"]["classes"]} <= {"hair"}


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"files": files(*[b"x"] * 6)}, 413, "at most 5 pictures"),
        ({"json": {"images": ["eA=="] * 6}}, 413, "at most 5 pictures"),
        ({"files": files(bytes(100_001))}, 413, "100000"),
        ({"files": [("image", "text")], "data": {"image": "text"}}, 400, "text"),
        ({"files": [("photo", ("a", b"x"))]}, 400, "photo"),
        ({"files": files(b"x"), "params": {"output": "nothing"}}, 400, "nothing"),
        ({"json": {"images": []}}, 400, "no picture"),
        ({"json": {"image": "eA=="}}, 400, "'images'"),
        ({"json": {"images": [7]}}, 400, "images[0]"),
        ({"json": {"images": ["eA==", {"image": "?"}]}}, 400, "images[1]"),
        ({"json": {"images": ["eA=="], "max_faces": 0}}, 400, "max_faces"),
        ({"json": {"images": ["eA=="], "faces": "full"}, "params": FULL}, 400, "twice"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "JSON"),
        ({"content": b"x", "headers": {"content-type": "image/png"}}, 415, "one picture"),
        ({"files": files(b"x"), "headers": {"accept": "image/png"}}, 406, "x-ndjson"),
    ],
)
async def test_what_is_wrong_with_the_whole_is_told_before_any_work(
    gateway: Gateway, client: httpx.AsyncClient, request_: dict, status: int, says: str
) -> None:
    told = await client.post(BATCH_PATH, **request_)
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")
    assert says in told.json()["detail"]
    assert gateway.backend.asked == []


async def test_a_body_of_quotes_costs_no_more_than_its_share(client: httpx.AsyncClient) -> None:
    told = await client.post(BATCH_PATH, content=b'"' * 99_000, headers={"content-type": "application/json"})
    assert told.status_code == 400


async def test_lines_come_one_by_one(gateway: Gateway, client: httpx.AsyncClient) -> None:
    lines = await client.post(
        BATCH_PATH, params=FULL, files=files(picture(), BROKEN), headers={"Accept": "application/x-ndjson"}
    )
    assert lines.headers["content-type"] == "application/x-ndjson"
    whole = await client.post(BATCH_PATH, params=FULL, files=files(picture(), BROKEN))
    told = [json.loads(line) for line in lines.text.splitlines()]
    assert [each["status"] for each in told] == [200, 415]
    assert told[0]["answer"]["mask"] == whole.json()["results"][0]["answer"]["mask"]


async def test_only_so_many_pictures_of_a_batch_are_in_work_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, root, batch_concurrency=2) as gateway:
        gateway.backend.holds[1] = asyncio.Event()
        app = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=app, base_url="http://x") as client:
            pictures = files(*(picture(seed) for seed in range(5)))
            batch = asyncio.create_task(client.post(BATCH_PATH, params=FULL, files=pictures))
            await until(lambda: len(gateway.backend.asked) == 2)
            single = asyncio.create_task(client.post("/v1/parse", params=FULL, content=picture(9)))
            await until(lambda: len(gateway.backend.asked) == 3)
            gateway.backend.holds[1].set()
            assert [each["status"] for each in (await batch).json()["results"]] == [200] * 5
            assert (await single).status_code == 200


@pytest.mark.parametrize("media", ["application/json", "application/x-ndjson"])
async def test_a_caller_who_leaves_ends_the_whole_batch(gateway: Gateway, media: str) -> None:
    gateway.backend.holds[1] = asyncio.Event()
    tasks = asyncio.all_tasks()
    request = httpx.Request("POST", f"http://x{BATCH_PATH}", params=FULL, files=files(picture(), picture(1)))
    incoming: asyncio.Queue = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": request.read(), "more_body": False})
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": BATCH_PATH,
        "raw_path": BATCH_PATH.encode(),
        "root_path": "",
        "query_string": b"faces=full",
        "headers": [(b"content-type", request.headers["content-type"].encode()), (b"accept", media.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("x", 80),
    }

    async def receive() -> dict:
        return await incoming.get()

    async def send(message: dict) -> None:
        pass

    call = asyncio.create_task(create_app(gateway)(scope, receive, send))
    await until(lambda: len(gateway.backend.asked) == 2)
    for _ in range(2):  # to whoever asks, as servers do
        incoming.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(call, 5)
    await until(lambda: asyncio.all_tasks() <= tasks)


async def test_a_batch_with_low_priority_is_background_work(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.backend.holds[1] = asyncio.Event()
    behind = asyncio.create_task(
        client.post(
            BATCH_PATH,
            params=FULL,
            files=files(*(picture(seed) for seed in range(4))),
            headers={"Priority": "u=7"},
        )
    )
    await until(lambda: len(gateway.backend.asked) == gateway.settings.background_concurrency)
    front = [asyncio.create_task(client.post("/v1/parse", params=FULL, content=picture(seed))) for seed in range(3)]
    await until(lambda: len(gateway.backend.asked) == gateway.settings.background_concurrency + 3)
    gateway.backend.holds[1].set()
    assert [each["status"] for each in (await behind).json()["results"]] == [200] * 4
    assert {answer.status_code for answer in await asyncio.gather(*front)} == {200}


async def test_a_gateway_that_shuts_down_takes_no_batch(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.drain()
    assert (await client.post(BATCH_PATH, files=files(picture()))).status_code == 503


async def test_batches_are_let_in_as_single_requests_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch, root, max_concurrency=1) as gateway:
        gateway.backend.holds[1] = asyncio.Event()
        app = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=app, base_url="http://x") as client:
            first = asyncio.create_task(client.post(BATCH_PATH, params=FULL, files=files(picture())))
            await until(lambda: bool(gateway.backend.asked))
            assert (await client.post(BATCH_PATH, params=FULL, files=files(picture()))).status_code == 429
            gateway.backend.holds[1].set()
            assert (await first).status_code == 200


async def test_each_picture_counts_and_the_answer_tells_what_is_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, root, rate_limit_per_minute=5) as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:

            async def post(count: int) -> tuple[int, str, str | None]:
                sent = files(*(picture(seed) for seed in range(count)))
                told = await client.post(BATCH_PATH, params=FULL, files=sent)
                left = told.headers["ratelimit"].split(";")[1]
                return told.status_code, left, told.headers.get("retry-after")

            assert await post(6) == (413, "r=4", None)  # never, however long it waits
            assert await post(3) == (200, "r=1", None)
            status, left, again = await post(2)  # the request itself is counted, its pictures are not
            assert (status, left, again is not None) == (429, "r=0", True)
