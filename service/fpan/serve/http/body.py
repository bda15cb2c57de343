"""The pictures and the options of a request, read into memory and nowhere else."""

import asyncio
import binascii
import json
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fpan.serve.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedImage

_FIELD, _FIELDS, _URL = "image", "images", "url"
_MULTIPART, _JSON, _FORM = "multipart/form-data", "application/json", "application/x-www-form-urlencoded"
_ANY_BYTES = "application/octet-stream"
_HOW = (
    f"send the picture as the raw body (Content-Type: image/jpeg, or {_ANY_BYTES}), "
    f"as the file {_FIELD!r} of a {_MULTIPART}, or as the base64 member {_FIELD!r} of JSON (or its address as {_URL!r})"
)
_SEVERAL = f"files {_FIELD!r} of a {_MULTIPART}, or as JSON with {_FIELDS!r}, a list of base64"
_MAX_PARTS = 8
"""Parts of a multipart body that are read before it is refused for having more than one picture."""
_MAX_BESIDE_BYTES = 64 * 1024
"""What a JSON body may have beside its picture: bounds the work of a parser that nothing else can run beside."""
_LONG_TEXT_BYTES = 1024
"""A text of a JSON body with several pictures that has so many is taken for one of them; others are parsed in place."""
_DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n"

# It remarks on every odd byte of a body; the caller is told, and a log is no place for bytes of pictures.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Upload:
    """What a request carries."""

    data: bytes
    """The file of the picture; empty where it is yet to be fetched."""
    options: dict[str, object] = field(default_factory=dict)
    """Members of the query (words) and of the JSON body (values), ``image`` and ``url`` left out."""
    url: str | None = None
    """Where the picture is, in the place of its bytes."""


@dataclass(frozen=True)
class Most:
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
    query = _once(request.query_params.multi_items(), "the query")
    kind = _media_type(request)
    members: dict[str, object] = {}
    async with _in_time(timeout_s):
        data = await (_read_multipart if kind == _MULTIPART else _read_whole)(request, max_bytes)
    if kind == _JSON:
        data, members = await asyncio.to_thread(_read_json, data)
    url = members.pop(_URL, None)
    if not data and url is None:
        raise BadRequest(f"there is no picture in the request: {_HOW}")
    return Upload(data, _together(query, members), url if url is None else str(url))


async def read_uploads(request: Request, most: Most, timeout_s: float, take: Take) -> dict[str, object]:
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
    query = _once(request.query_params.multi_items(), "the query")
    kind = _media_type(request)
    if kind == _MULTIPART:
        async with _in_time(timeout_s):
            count = await _read_parts(request, most, take)
        members: dict[str, object] = {}
    elif kind == _JSON:
        async with _in_time(timeout_s):
            body = await _read_whole(request, most.body_bytes, most.silence_s)
        uploads, members = await asyncio.to_thread(_read_json_list, body, most)
        del body
        count = len(uploads)
        for upload in uploads:
            await take(upload)
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
        return _ANY_BYTES  # what clients leave out for plain bytes (RFC 9110, 8.3)
    if kind == _FORM:
        raise UnsupportedImage(f"{_FORM} (what curl -d sends unless it is told) holds no picture: {_HOW}")
    if kind in (_MULTIPART, _JSON, _ANY_BYTES) or kind.startswith("image/"):
        return kind
    raise UnsupportedImage(f"a body of type {kind[:80]!r} is not read: {_HOW}")


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

    def __init__(self, request: Request, most: Most, take: Take) -> None:
        super().__init__(request, most.body_bytes, most.pictures + 1, most.silence_s)
        self._most = most
        self._take = take
        self.taken = 0

    async def _parsed_so_far(self) -> None:
        for name, part in self.items[self.taken :]:
            file = _file_of(name, part)
            if self.taken == self._most.pictures:
                raise _too_many(self._most)
            await self._take(Upload(await file.read()))
            await file.close()
            self.taken += 1


async def _read_multipart(request: Request, max_bytes: int) -> bytes:
    form = await _InMemoryParser(request, max_bytes).form()
    try:
        return await _picture_of(form)
    finally:
        await form.close()


async def _read_parts(request: Request, most: Most, take: Take) -> int:
    """Hands each picture over; how many there were."""
    parser = _HandingOver(request, most, take)
    await parser.form()
    return parser.taken


async def _picture_of(form: FormData) -> bytes:
    parts = form.multi_items()
    files = [_file_of(*part) for part in parts]
    if len(files) > 1:
        raise BadRequest(f"there are {len(files)} parts named {_FIELD!r}: one request parses one picture")
    if not files:
        raise BadRequest(f"the multipart body has no part: the picture is the file {_FIELD!r}")
    return await files[0].read()


def _file_of(name: str, part: str | UploadFile) -> UploadFile:
    if name != _FIELD:
        raise BadRequest(
            f"the multipart field {name[:80]!r} is unknown: the picture is the file {_FIELD!r}, options are "
            "parameters of the query"
        )
    if not isinstance(part, UploadFile):
        raise BadRequest(f"the multipart field {_FIELD!r} is text: send it as a file, with a filename")
    return part


def _too_many(most: Most) -> TooLarge:
    return TooLarge(f"a request of this kind has at most {most.pictures} pictures")


def _read_json(body: bytes) -> tuple[bytes, dict[str, object]]:
    if len(body) <= _MAX_BESIDE_BYTES:
        members = _members(body)
        if _URL in members:
            _check_url(members)
            return b"", members
        text = members.pop(_FIELD, None)
        if not isinstance(text, str):
            raise BadRequest(
                f"the JSON body has neither a member {_FIELD!r} with the picture in base64, nor a member {_URL!r} with "
                "its address"
            )
        return _from_base64(_bytes(text)), members
    rest, picture, mark = _cut(body)
    members = _members(rest)
    if members.pop(_FIELD, None) != mark:
        raise _too_much_beside()
    if _URL in members:
        raise _two_pictures()
    return _from_base64(picture if b"\\" not in picture else _bytes(parsed_json(b'"' + picture + b'"'))), members


def _check_url(members: dict[str, object]) -> None:
    if _FIELD in members:
        raise _two_pictures()
    if not isinstance(members[_URL], str):
        raise BadRequest(f"the member {_URL!r} is no text")


def _two_pictures() -> BadRequest:
    return BadRequest(f"the JSON body has both {_FIELD!r} and {_URL!r}: one request parses one picture")


def _cut(body: bytes) -> tuple[bytes, bytes, str]:
    """A large body without what is longest between two quotes, that, and the mark in its place.

    Base64 has no quote, so a picture is one such piece whatever else of it is escaped.
    """
    pieces = body.split(b'"', _MAX_BESIDE_BYTES)
    longest = max(range(len(pieces)), key=lambda i: len(pieces[i]))
    picture = pieces[longest]
    is_member = pieces[longest - 1].rstrip().endswith(b":")
    if not is_member or len(body) - len(picture) > _MAX_BESIDE_BYTES:
        raise _too_much_beside()
    mark = secrets.token_hex()  # no body can name it beforehand
    pieces[longest] = mark.encode()
    return b'"'.join(pieces), picture, mark


def _read_json_list(body: bytes, most: Most) -> tuple[list[Upload], dict[str, object]]:
    """The pictures of a JSON body, and the members beside them."""
    most_beside = _MAX_BESIDE_BYTES + most.pictures * _LONG_TEXT_BYTES
    rest, texts = _cut_all(body, most_beside)
    if len(rest) > most_beside:
        raise BadRequest(f"the JSON body has more than {most_beside} bytes beside its pictures in base64")
    members = _members(rest)
    images = members.pop(_FIELDS, None)
    if not isinstance(images, list):
        raise BadRequest(f"the JSON body has no member {_FIELDS!r}: a list of pictures in base64")
    if len(images) > most.pictures:
        raise _too_many(most)
    return [_upload_of(each, place, texts) for place, each in enumerate(images)], members


def _cut_all(body: bytes, most_beside: int) -> tuple[bytes, dict[str, bytes]]:
    """A body without its long texts, that have marks in their places, and those texts by mark."""
    pieces = body.split(b'"', most_beside)
    texts: dict[str, bytes] = {}
    for place in range(1, len(pieces) - 1, 2):
        if len(pieces[place]) >= _LONG_TEXT_BYTES:
            mark = secrets.token_hex()  # no body can name it beforehand
            texts[mark] = pieces[place]
            pieces[place] = mark.encode()
    return b'"'.join(pieces), texts


def _upload_of(item: object, place: int, texts: dict[str, bytes]) -> Upload:
    where = f"{_FIELDS}[{place}]"
    options: dict[str, object] = {}
    if isinstance(item, dict):
        options, item = item, item.pop(_FIELD, None)
    if not isinstance(item, str):
        raise BadRequest(f"{where} is neither base64 nor an object with it as {_FIELD!r}")
    text = texts.get(item)
    if text is None:
        return Upload(_from_base64(_bytes(item), where), options)
    return Upload(_from_base64(text if b"\\" not in text else _bytes(parsed_json(b'"' + text + b'"')), where), options)


def _too_much_beside() -> BadRequest:
    return BadRequest(
        f"the JSON body has more than {_MAX_BESIDE_BYTES} bytes beside its member {_FIELD!r}, the picture in base64"
    )


def _members(body: bytes) -> dict[str, object]:
    members = parsed_json(body)
    if not isinstance(members, dict):
        raise BadRequest(f"the JSON body is no object: {_HOW}")
    return members


def parsed_json(body: bytes) -> Any:
    """The value of a JSON text, no member of which is given twice.

    Raises:
        BadRequest: it is none.
    """
    try:
        return json.loads(body, object_pairs_hook=lambda pairs: _once(pairs, "JSON"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _bytes(text: str) -> bytes:
    return text.encode("ascii", "replace")  # with ?, which base64 does not know either


def _from_base64(text: bytes, name: str = _FIELD) -> bytes:
    prefix = _DATA_URL.match(text)
    bare = text[prefix.end() :] if prefix else text
    try:
        return binascii.a2b_base64(bare.translate(None, _WHITE_SPACE), strict_mode=True)
    except ValueError as error:
        raise BadRequest(f"the member {name!r} is not base64: {error}") from error


def _once(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Members by name, each given once."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise BadRequest(f"{name[:80]!r} is given twice in {where}")
        members[name] = value
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
