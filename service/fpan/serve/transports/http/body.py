"""The pictures and the options of a request, read into memory and nowhere else."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedImage
from fpan.serve.transports.http.json_body import (
    ANY_BYTES,
    FIELD,
    FIELDS,
    HOW,
    MULTIPART,
    URL,
    once,
    read_json,
    read_json_list,
    too_many,
)

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_SEVERAL = f"files {FIELD!r} of a {MULTIPART}, or as JSON with {FIELDS!r}, a list of base64"
_MAX_PARTS = 8
"""Parts of a multipart body that are read before it is refused for having more than one picture."""

# It remarks on every odd byte of a body; the caller is told, and a log is no place for bytes of pictures.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class UploadLimits:
    """How much a request with several pictures may carry."""

    pictures: int
    body_bytes: int
    silence_s: float
    """Seconds that may pass between two pieces of its body."""


Take = Callable[[Upload], Awaitable[None]]
"""Is handed each picture of a request as soon as it has come, with options of its own."""


async def read_upload(request: Request, max_bytes: int, timeout_s: float) -> Upload:
    """Reads a request's picture and options.

    Args:
        request: With the picture as its raw body, as the multipart file ``image``, or in JSON as base64 or as a URL.
        max_bytes: Largest body; a larger one is refused by its Content-Length, or when that many bytes have come.
        timeout_s: How long the body may take to arrive, in seconds.

    Raises:
        BadRequest: no picture, several, or a body that is not what its type says.
        RequestTimeout: the body came too slowly.
        TooLarge: the body.
        UnsupportedImage: a type that holds no picture.
        starlette.requests.ClientDisconnect: the caller has gone.
    """
    _check_headers(request, max_bytes)
    query = once(request.query_params.multi_items(), "the query")
    kind = _media_type(request)
    members: dict[str, object] = {}
    async with _in_time(timeout_s):
        data = await (_read_multipart if kind == MULTIPART else _read_whole)(request, max_bytes)
    if kind == _JSON:
        data, members = await asyncio.to_thread(read_json, data)
    url = members.pop(URL, None)
    if not data and url is None:
        raise BadRequest(f"there is no picture in the request: {HOW}")
    return Upload(data, _together(query, members), url if url is None else str(url))


async def read_uploads(request: Request, most: UploadLimits, timeout_s: float, take: Take) -> dict[str, object]:
    """Reads a request's pictures, in their order, and the options for all of them.

    Args:
        request: With the pictures as multipart files ``image``, or as JSON whose ``images`` are base64, or objects with
            ``image`` and options that count for that picture alone.
        most: more is refused.
        timeout_s: How long the body may take to arrive, in seconds.
        take: is handed each picture. Of a multipart body it gets them while the rest is still to come.

    Raises:
        GatewayError: as :func:`read_upload`; also TooLarge for too many pictures.
        starlette.requests.ClientDisconnect: the caller has gone.
    """
    _check_headers(request, most.body_bytes)
    query = once(request.query_params.multi_items(), "the query")
    kind = _media_type(request)
    if kind == MULTIPART:
        async with _in_time(timeout_s):
            count = await _read_parts(request, most, take)
        members: dict[str, object] = {}
    elif kind == _JSON:
        async with _in_time(timeout_s):
            body = await _read_whole(request, most.body_bytes, most.silence_s)
        pictures, members = await asyncio.to_thread(read_json_list, body, most.pictures)
        del body
        count = len(pictures)
        pictures.reverse()
        while pictures:  # one by one: what has been handed over is held here no more
            await take(Upload(*pictures.pop()))
    else:
        raise UnsupportedImage(f"a body of type {kind!r} holds one picture: send several as {_SEVERAL}")
    if not count:
        raise BadRequest(f"there is no picture in the request: send them as {_SEVERAL}")
    return _together(query, members)


def _together(query: dict[str, Any], members: dict[str, Any]) -> dict[str, object]:
    if both := sorted(query.keys() & members.keys()):
        raise BadRequest(f"the option {both[0]!r} is given twice: in the query and in the body")
    return {**query, **members}


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Reads a request's body as it is; arguments and errors as those of :func:`read_upload`."""
    _check_headers(request, max_bytes)
    async with _in_time(timeout_s):
        return await _read_whole(request, max_bytes)


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {timeout_s:g} s") from None


def _check_headers(request: Request, max_bytes: int) -> None:
    length = request.headers.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit()):
            raise BadRequest("the Content-Length is not a number")
        if int(length[:20]) > max_bytes:
            raise _too_large(max_bytes)
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise BadRequest(f"the body is sent with Content-Encoding {coding[:40]!r}: send it as it is")


def _media_type(request: Request) -> str:
    """The media type of the body, where it can hold a picture."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind:
        return ANY_BYTES  # what clients leave out for plain bytes (RFC 9110, 8.3)
    if kind == _FORM:
        raise UnsupportedImage(f"{_FORM} (what curl -d sends unless it is told) holds no picture: {HOW}")
    if kind in (MULTIPART, _JSON, ANY_BYTES) or kind.startswith("image/"):
        return kind
    raise UnsupportedImage(f"a body of type {kind[:80]!r} is not read: {HOW}")


async def _capped(request: Request, max_bytes: int, silence_s: float | None = None) -> AsyncGenerator[bytes, None]:
    """The body as it comes, until it is too large, or nothing more has come for so many seconds."""
    came = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestTimeout(f"nothing of the body has come for {silence_s:g} s") from None
        came += len(chunk)
        if came > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def _read_whole(request: Request, max_bytes: int, silence_s: float | None = None) -> bytes:
    return b"".join([chunk async for chunk in _capped(request, max_bytes, silence_s)])


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes ({max_bytes / 2**20:g} MiB), the limit")


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, that never moves a file to disk and knows whether the last boundary came."""

    complete = False

    def __init__(
        self, request: Request, max_bytes: int, max_files: int = _MAX_PARTS, silence_s: float | None = None
    ) -> None:
        super().__init__(
            request.headers,
            self._to_the_end(_capped(request, max_bytes, silence_s)),
            max_files=max_files,
            max_fields=_MAX_PARTS,
            max_part_size=max_bytes,
        )
        # A file of this size still stays in memory, and no larger one comes through the cap.
        self.spool_max_size = max_bytes

    def on_end(self) -> None:
        self.complete = True

    async def form(self) -> FormData:
        """The whole form."""
        try:
            return await self.parse()
        except MultiPartException as error:
            raise BadRequest(f"the multipart body is broken: {error.message}") from error

    async def _to_the_end(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        # Complained of from within the stream, so that the parser closes the file that was not finished.
        async for chunk in chunks:
            yield chunk
            await self._parsed_so_far()
        if not self.complete:
            raise MultiPartException("it ends before its last boundary")

    async def _parsed_so_far(self) -> None:
        """What is done between two chunks."""


class _HandingOver(_InMemoryParser):
    """Hands over each file that has wholly come, and forgets it."""

    def __init__(self, request: Request, most: UploadLimits, take: Take) -> None:
        super().__init__(request, most.body_bytes, most.pictures + 1, most.silence_s)
        self._most = most
        self._take = take
        self.taken = 0

    async def _parsed_so_far(self) -> None:
        for name, part in self.items[self.taken :]:
            file = _file_of(name, part)
            if self.taken == self._most.pictures:
                raise too_many(self._most.pictures)
            await self._take(Upload(await file.read()))
            await file.close()
            self.taken += 1


async def _read_multipart(request: Request, max_bytes: int) -> bytes:
    form = await _InMemoryParser(request, max_bytes).form()
    try:
        return await _picture_of(form)
    finally:
        await form.close()


async def _read_parts(request: Request, most: UploadLimits, take: Take) -> int:
    """Hands each picture over; how many there were."""
    parser = _HandingOver(request, most, take)
    await parser.form()
    return parser.taken


async def _picture_of(form: FormData) -> bytes:
    parts = form.multi_items()
    files = [_file_of(*part) for part in parts]
    if len(files) > 1:
        raise BadRequest(f"there are {len(files)} parts named {FIELD!r}: one request parses one picture")
    if not files:
        raise BadRequest(f"the multipart body has no part: the picture is the file {FIELD!r}")
    return await files[0].read()


def _file_of(name: str, part: str | UploadFile) -> UploadFile:
    if name != FIELD:
        raise BadRequest(
            f"the multipart field {name[:80]!r} is unknown: the picture is the file {FIELD!r}, options are "
            "parameters of the query"
        )
    if not isinstance(part, UploadFile):
        raise BadRequest(f"the multipart field {FIELD!r} is text: send it as a file, with a filename")
    return part
