"""Large JSON bodies: read beside the event loop, and with no more work than a picture needs."""

import asyncio
import base64
import json
import threading
import time
from itertools import chain, repeat
from typing import Any

import pytest
from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import BadRequest, RequestTimeout
from fpan.serve.transports.http import json_body as bodies
from fpan.serve.transports.http.body import read_upload
from fpan.serve.transports.http.json_body import _MAX_BESIDE_BYTES
from starlette.requests import Request

LIMIT = 32 * 2**20
PICTURE = bytes(range(256)) * 1024
BASE64 = base64.b64encode(PICTURE).decode()
LONG = "x" * (2 * _MAX_BESIDE_BYTES)


async def read(body: bytes) -> Upload:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json")]
    return await read_upload(
        Request({"type": "http", "method": "POST", "headers": headers, "query_string": b""}, receive), LIMIT, 30.0
    )


def as_json(**members: object) -> bytes:
    return json.dumps(members).encode()


async def test_json_is_read_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    where = []
    monkeypatch.setattr(bodies, "_from_base64", lambda text: where.append(threading.current_thread()) or b"picture")
    await read(as_json(image=BASE64))
    assert where
    assert where[0] is not threading.main_thread()


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize(
    "written",
    [
        as_json,
        lambda **members: as_json(**members).replace(b"/", rb"\/"),
        lambda **members: as_json(**members).replace(b"+", rb"\u002B"),
        lambda **members: as_json(**dict(reversed(members.items()))),
        lambda **members: json.dumps(members, indent=4).encode(),
    ],
    ids=["plain", "slashes escaped", "plus escaped", "picture last", "indented"],
)
async def test_a_large_picture_is_read_however_it_is_written(written, prefix: str) -> None:
    upload = await read(written(image=prefix + BASE64, faces=[[1, 2, 30, 40]], model="a"))
    assert upload == Upload(PICTURE, {"faces": [[1, 2, 30, 40]], "model": "a"})


async def test_large_base64_in_lines_is_read() -> None:
    assert (await read(as_json(image=base64.encodebytes(PICTURE).decode()))).data == PICTURE


@pytest.mark.parametrize(
    "members",
    [
        {"image": BASE64, "faces": [0] * _MAX_BESIDE_BYTES},
        {"image": BASE64, "model": LONG},
        {"image": BASE64, "classes": ["a"] * _MAX_BESIDE_BYTES},
        {"image": "QQ==", "model": LONG},
        {"image": "QQ==", "faces": [0] * _MAX_BESIDE_BYTES},
        {"image": "", "model": LONG},
        {"image": [BASE64]},
        {"image": 'a"' + BASE64},
        {BASE64: "image"},
        {"model": LONG},
    ],
    ids=lambda members: "+".join(f"{name[:9]}:{str(value)[:5]}" for name, value in members.items()),
)
async def test_much_beside_the_picture_is_refused(members: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match=f"more than {_MAX_BESIDE_BYTES} bytes beside its member 'image'"):
        await read(as_json(**members))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (as_json(image=BASE64 + "!"), "not base64"),
        (as_json(image=BASE64 + "\ud800"), "not base64"),
        (as_json(image=BASE64)[:-2], "not JSON"),
        (as_json(image=BASE64)[:-1] + b', "image": "QQ=="}', "'image' is given twice"),
        (as_json(image=BASE64)[:-2] + rb'\q"}', "not JSON"),
        (b'{"a": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", "more than"),
        (b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "not JSON"),
        (b'"' + BASE64.encode() + b'"', "more than"),
        (b'"' * LIMIT, "more than"),
    ],
)
async def test_a_large_body_that_is_broken_is_told_in_words(body: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        await read(body)


async def test_a_body_of_nothing_but_members_costs_next_to_nothing() -> None:
    body = b"{" + b",".join([b'"a":[{"b":{}}]'] * (LIMIT // 15)) + b"}"
    began = time.process_time()
    with pytest.raises(BadRequest, match="more than"):
        await read(body)
    refused = time.process_time()
    json.loads(body)
    assert refused - began < time.process_time() - refused  # a parser takes ten times as long


@pytest.mark.parametrize("kind", [b"image/png", b"application/json", b"multipart/form-data; boundary=b"])
async def test_a_body_that_trickles_is_given_up(kind: bytes) -> None:
    chunks = chain([b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'], repeat(b"x"))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind)], "query_string": b""}
    with pytest.raises(RequestTimeout, match=r"within 0\.1 s"):
        await read_upload(Request(scope, receive), LIMIT, 0.1)
