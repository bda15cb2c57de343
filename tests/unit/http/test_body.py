"""Requests to pictures and options, in memory, with every way to get it wrong."""

import asyncio
import base64
import io
import json
import tempfile
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import BadRequest, GatewayError, RequestTimeout, TooLarge, UnsupportedImage
from fpan.serve.transports.http.body import UploadLimits, read_upload, read_uploads
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

LIMIT = 10_000
TIMEOUT_S = 30.0
PICTURE = bytes(range(256)) * 8
BOUNDARY = "b0undary"


def request(body: bytes | Iterable[bytes], headers: dict[str, str], query: str = "") -> Request:
    """A request as a server hands it over, its body in as many messages as there are chunks."""
    chunks = iter([body] if isinstance(body, bytes) else body)

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": next(chunks), "more_body": True}
        except StopIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw, "query_string": query.encode()}, receive)


async def read(body: bytes | Iterable[bytes], kind: str | None, query: str = "", **headers: str) -> Upload:
    all_headers = {**({} if kind is None else {"content-type": kind}), **headers}
    return await read_upload(request(body, all_headers, query), LIMIT, TIMEOUT_S)


def multipart(*parts: tuple[str, bytes], filename: str | None = "a.jpg", end: bool = True) -> tuple[bytes, str]:
    body = b""
    for name, data in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b""), f"multipart/form-data; boundary={BOUNDARY}"


def as_json(**members: object) -> bytes:
    return json.dumps(members).encode()


BASE64 = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/PNG", "image/heic; x=y", "application/octet-stream", None, ""])
async def test_a_raw_body_is_the_picture(kind: str | None) -> None:
    assert await read(PICTURE, kind, "faces=full&output=rle,png") == Upload(
        PICTURE, {"faces": "full", "output": "rle,png"}
    )


async def test_a_multipart_file_is_the_picture() -> None:
    body, kind = multipart(("image", PICTURE))
    assert await read(body, kind, "max_faces=3") == Upload(PICTURE, {"max_faces": "3"})


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_a_multipart_body_may_come_in_any_pieces(size: int) -> None:
    body, kind = multipart(("image", PICTURE))
    assert (await read([body[i : i + size] for i in range(0, len(body), size)], kind)).data == PICTURE


async def test_what_a_real_client_sends_is_read() -> None:
    sent = httpx.Request("POST", "http://x/", files={"image": ("ä.jpg", PICTURE, "image/jpeg")})
    assert (await read(sent.read(), sent.headers["content-type"])).data == PICTURE


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,", "data:;base64,", "DATA:image/png;charset=x;BASE64,"])
async def test_json_has_the_picture_in_base64_and_options_beside_it(prefix: str) -> None:
    body = as_json(image=prefix + BASE64, faces=[[1, 2, 30, 40]], max_faces=2)
    assert await read(body, "application/json; charset=utf-8", "output=rle") == Upload(
        PICTURE, {"output": "rle", "faces": [[1, 2, 30, 40]], "max_faces": 2}
    )


async def test_base64_in_lines_is_read() -> None:
    assert (await read(as_json(image=base64.encodebytes(PICTURE).decode()), "application/json")).data == PICTURE


BROKEN: list[tuple[str, bytes, str | None, type[GatewayError], str]] = [
    ("text", PICTURE, "text/plain", UnsupportedImage, "text/plain"),
    ("video", PICTURE, "video/mp4", UnsupportedImage, "video/mp4"),
    ("curl -d", PICTURE, "application/x-www-form-urlencoded", UnsupportedImage, "curl"),
    ("empty raw", b"", "image/jpeg", BadRequest, "no picture"),
    ("empty file", *multipart(("image", b"")), BadRequest, "no picture"),
    ("empty base64", as_json(image=""), "application/json", BadRequest, "no picture"),
    ("other field", *multipart(("file", PICTURE)), BadRequest, "'file' is unknown.*'image'"),
    ("option field", *multipart(("image", PICTURE), ("faces", b"full")), BadRequest, "'faces' is unknown.*query"),
    ("two pictures", *multipart(("image", PICTURE), ("image", PICTURE)), BadRequest, "2 parts"),
    ("many pictures", *multipart(*[("image", b"x")] * 30), BadRequest, "Too many files"),
    ("text field", *multipart(("image", b"abc"), filename=None), BadRequest, "is text"),
    ("no part", *multipart(), BadRequest, "no part"),
    ("no boundary", multipart(("image", PICTURE))[0], "multipart/form-data", BadRequest, "boundary"),
    ("other boundary", multipart(("image", PICTURE))[0], "multipart/form-data; boundary=x", BadRequest, "broken"),
    ("cut multipart", *multipart(("image", PICTURE), end=False), BadRequest, "last boundary"),
    ("multipart without a body", b"", "multipart/form-data; boundary=x", BadRequest, "last boundary"),
    ("nameless part", b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", "multipart/form-data; boundary=b", BadRequest, "name"),
    ("no JSON", b"{image:", "application/json", BadRequest, "not JSON"),
    ("empty JSON", b"", "application/json", BadRequest, "not JSON"),
    ("not UTF-8", b'{"image": "\xff"}', "application/json", BadRequest, "not JSON"),
    ("deep JSON", b"[" * 9000, "application/json", BadRequest, "not JSON"),
    ("long number", b'{"image": "QQ==", "a": ' + b"9" * 8000 + b"}", "application/json", BadRequest, "not JSON"),
    ("NaN", b'{"image": "QQ==", "a": NaN}', "application/json", BadRequest, "NaN"),
    ("JSON list", b"[1]", "application/json", BadRequest, "no object"),
    ("no member", as_json(faces="full"), "application/json", BadRequest, "neither a member 'image'"),
    ("number", as_json(image=5), "application/json", BadRequest, "neither a member 'image'"),
    ("list of pictures", as_json(image=[BASE64, BASE64]), "application/json", BadRequest, "neither a member 'image'"),
    ("two members", b'{"image": "QQ==", "image": "QQ=="}', "application/json", BadRequest, "'image' is given twice"),
    ("no base64", as_json(image="not base64!"), "application/json", BadRequest, "not base64"),
    ("cut base64", as_json(image=BASE64[:-1]), "application/json", BadRequest, "not base64"),
    ("surrogate", b'{"image": "\\ud800"}', "application/json", BadRequest, "not base64"),
    ("address", as_json(image="https://example.org/a.jpg"), "application/json", BadRequest, "not base64"),
]


@pytest.mark.parametrize(("body", "kind", "error", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_a_broken_request_is_told_in_words(
    body: bytes, kind: str | None, error: type[GatewayError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await read(body, kind)


async def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(BadRequest, match="'faces' is given twice in the query"):
        await read(PICTURE, "image/png", "faces=full&faces=auto")
    with pytest.raises(BadRequest, match="'faces' is given twice: in the query and in the body"):
        await read(as_json(image=BASE64, faces="auto"), "application/json", "faces=full")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
async def test_a_compressed_body_is_refused(coding: str) -> None:
    with pytest.raises(BadRequest, match="Content-Encoding"):
        await read(PICTURE, "image/png", **{"content-encoding": coding})
    assert (await read(PICTURE, "image/png", **{"content-encoding": "identity"})).data == PICTURE


@pytest.mark.parametrize("length", ["-5", "ten", "1e3", "", "\xb2"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest, match="Content-Length"):
        await read(PICTURE, "image/png", **{"content-length": length})


def never() -> Iterable[bytes]:
    raise AssertionError("the body was read")
    yield b""


@pytest.mark.parametrize("kind", ["image/png", "application/json", multipart()[1]])
@pytest.mark.parametrize("length", [str(LIMIT + 1), "9" * 5000])
async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(kind: str, length: str) -> None:
    with pytest.raises(TooLarge, match="10000 bytes"):
        await read(never(), kind, **{"content-length": length})


@pytest.mark.parametrize("kind", ["image/png", "application/json", multipart()[1]])
async def test_a_body_without_a_length_is_read_no_further_than_the_limit(kind: str) -> None:
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        yield multipart(("image", b""), end=False)[0] if "multipart" in kind else b""
        while True:
            taken += 1000
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        await read(endless(), kind)
    assert taken <= LIMIT + 1000


async def test_a_body_of_just_the_limit_is_read() -> None:
    assert len((await read(b"x" * LIMIT, "image/png", **{"content-length": str(LIMIT)})).data) == LIMIT


async def test_no_upload_touches_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_disk(*args: object, **kwargs: object) -> None:
        raise AssertionError("a picture was about to be written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", no_disk)
    monkeypatch.setattr(tempfile, "TemporaryFile", no_disk)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", no_disk)
    monkeypatch.setattr(io, "open", no_disk)
    large = PICTURE * 2048
    limit = 5 * 2**20
    body, kind = multipart(("image", large))
    pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    upload = await read_upload(request(pieces, {"content-type": kind}), limit, TIMEOUT_S)
    assert upload.data == large
    # The double does fail where Starlette's own parser is left to itself.
    with pytest.raises(AssertionError, match="written to disk"):
        await request(pieces, {"content-type": kind}).form()


@given(st.binary(max_size=300), st.sampled_from([multipart()[1], "application/json", "multipart/form-data; boundary="]))
@settings(max_examples=200)
async def test_random_bodies_end_in_a_picture_or_an_error_of_ours(body: bytes, kind: str) -> None:
    await outcome(body, kind)


@given(st.data())
@settings(max_examples=200)
async def test_damaged_multipart_bodies_end_in_a_picture_or_an_error_of_ours(data: st.DataObject) -> None:
    body = bytearray(multipart(("image", b"abc"))[0])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    await outcome(bytes(body), multipart()[1])


async def outcome(body: bytes, kind: str) -> None:
    try:
        assert (await read(body, kind)).data
    except GatewayError:
        return


async def test_a_caller_who_leaves_is_no_error_of_the_request() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"image/png")], "query_string": b""}
    with pytest.raises(ClientDisconnect):
        await read_upload(Request(scope, gone), LIMIT, TIMEOUT_S)


@pytest.mark.parametrize("kind", ["application/json", f"multipart/form-data; boundary={BOUNDARY}"])
async def test_a_body_that_falls_silent_is_given_up_long_before_its_end(kind: str) -> None:
    pieces = iter([b"--"])

    async def receive() -> dict[str, Any]:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": True}
        return await asyncio.get_running_loop().create_future()

    async def take(picture: Upload) -> None:
        raise AssertionError

    headers = [(b"content-type", kind.encode())]
    silent = Request({"type": "http", "method": "POST", "headers": headers, "query_string": b""}, receive)
    with pytest.raises(RequestTimeout, match=r"nothing of the body has come for 0\.05 s"):
        await read_uploads(silent, UploadLimits(pictures=2, body_bytes=LIMIT, silence_s=0.05), TIMEOUT_S, take)
