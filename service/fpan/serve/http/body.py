"""The picture and the options of a request, read into memory and nowhere else."""

import binascii
import json
import logging
import re
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fpan.serve.errors import BadRequest, TooLarge, UnsupportedImage

_FIELD = "image"
_MULTIPART, _JSON, _FORM = "multipart/form-data", "application/json", "application/x-www-form-urlencoded"
_ANY_BYTES = "application/octet-stream"
_HOW = (
    f"send the picture as the raw body (Content-Type: image/jpeg, or {_ANY_BYTES}), "
    f"as the file {_FIELD!r} of a {_MULTIPART}, or as the base64 member {_FIELD!r} of JSON"
)
_MAX_PARTS = 8
"""Parts of a multipart body that are read before it is refused for having more than one picture."""
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n"

# It remarks on every odd byte of a body; the caller is told, and a log is no place for bytes of pictures.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Upload:
    """What a request carries."""

    data: bytes
    """The file of the picture."""
    options: dict[str, object]
    """Members of the query (words) and of the JSON body (values), ``image`` left out."""


async def read_upload(request: Request, max_bytes: int) -> Upload:
    """Reads a request's picture and options.

    Args:
        request: With the picture as its raw body, as the multipart file ``image``, or as base64 in JSON.
        max_bytes: Largest body; a larger one is refused by its Content-Length, or when that many bytes have come.

    Raises:
        BadRequest: no picture, several, or a body that is not what its type says.
        TooLarge: the body.
        UnsupportedImage: a type that holds no picture.
        starlette.requests.ClientDisconnect: the caller has gone.
    """
    _check_headers(request, max_bytes)
    query = _once(request.query_params.multi_items(), "the query")
    kind = _media_type(request)
    members: dict[str, object] = {}
    if kind == _MULTIPART:
        data = await _read_multipart(request, max_bytes)
    elif kind == _JSON:
        data, members = _read_json(b"".join([chunk async for chunk in _capped(request, max_bytes)]))
    else:
        data = b"".join([chunk async for chunk in _capped(request, max_bytes)])
    if not data:
        raise BadRequest(f"there is no picture in the request: {_HOW}")
    if both := sorted(query.keys() & members.keys()):
        raise BadRequest(f"the option {both[0]!r} is given twice: in the query and in the body")
    return Upload(data, {**query, **members})


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


async def _capped(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes, until it is too large."""
    came = 0
    async for chunk in request.stream():
        came += len(chunk)
        if came > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes ({max_bytes / 2**20:g} MiB), the limit")


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, that never moves a file to disk and knows whether the last boundary came."""

    complete = False

    def __init__(self, request: Request, max_bytes: int) -> None:
        super().__init__(
            request.headers,
            self._to_the_end(_capped(request, max_bytes)),
            max_files=_MAX_PARTS,
            max_fields=_MAX_PARTS,
            max_part_size=max_bytes,
        )
        # A file of this size still stays in memory, and no larger one comes through the cap.
        self.spool_max_size = max_bytes

    def on_end(self) -> None:
        self.complete = True

    async def _to_the_end(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        # Complained of from within the stream, so that the parser closes the file that was not finished.
        async for chunk in chunks:
            yield chunk
        if not self.complete:
            raise MultiPartException("it ends before its last boundary")


async def _read_multipart(request: Request, max_bytes: int) -> bytes:
    parser = _InMemoryParser(request, max_bytes)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"the multipart body is broken: {error.message}") from error
    try:
        return await _picture_of(form)
    finally:
        await form.close()


async def _picture_of(form: FormData) -> bytes:
    parts = form.multi_items()
    for name, _ in parts:
        if name != _FIELD:
            raise BadRequest(
                f"the multipart field {name[:80]!r} is unknown: the picture is the file {_FIELD!r}, options are "
                "parameters of the query"
            )
    if len(parts) > 1:
        raise BadRequest(f"there are {len(parts)} parts named {_FIELD!r}: one request parses one picture")
    if not parts:
        raise BadRequest(f"the multipart body has no part: the picture is the file {_FIELD!r}")
    file = parts[0][1]
    if not isinstance(file, UploadFile):
        raise BadRequest(f"the multipart field {_FIELD!r} is text: send it as a file, with a filename")
    return await file.read()


def _read_json(body: bytes) -> tuple[bytes, dict[str, object]]:
    try:
        members = json.loads(body, object_pairs_hook=lambda pairs: _once(pairs, "JSON"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(members, dict):
        raise BadRequest(f"the JSON body is no object: {_HOW}")
    text = members.pop(_FIELD, None)
    if not isinstance(text, str):
        raise BadRequest(f"the JSON body has no member {_FIELD!r} with the picture in base64")
    return _from_base64(text), members


def _from_base64(text: str) -> bytes:
    prefix = _DATA_URL.match(text)
    bare = text[prefix.end() :] if prefix else text
    try:
        return binascii.a2b_base64(bare.encode("ascii").translate(None, _WHITE_SPACE), strict_mode=True)
    except ValueError as error:
        raise BadRequest(f"the member {_FIELD!r} is not base64: {error}") from error


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
