"""Pictures and options in JSON: base64 is cut out before the rest is parsed, so that a large body costs little."""

import binascii
import json
import re
import secrets
from collections.abc import Iterable
from typing import Any

from fpan.serve.api.errors import BadRequest, TooLarge

FIELD, FIELDS, URL = "image", "images", "url"
"""Members, and the part of a multipart body, that hold a picture, several, or the address of one."""
MULTIPART, ANY_BYTES = "multipart/form-data", "application/octet-stream"
HOW = (
    f"send the picture as the raw body (Content-Type: image/jpeg, or {ANY_BYTES}), "
    f"as the file {FIELD!r} of a {MULTIPART}, or as the base64 member {FIELD!r} of JSON (or its address as {URL!r})"
)
"""For whoever sent no picture."""
_MAX_BESIDE_BYTES = 64 * 1024
"""What a JSON body may have beside its picture: bounds the work of a parser that nothing else can run beside."""
_LONG_TEXT_BYTES = 1024
"""A text of a JSON body with several pictures that has so many is taken for one of them; others are parsed in place."""
_DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n"

Pictures = list[tuple[bytes, dict[str, object]]]
"""Files, and the options of each alone."""


def too_many(most_pictures: int) -> TooLarge:
    """The error of a request with more pictures than it may have."""
    return TooLarge(f"a request of this kind has at most {most_pictures} pictures")


def read_json(body: bytes) -> tuple[bytes, dict[str, object]]:
    """The file of the one picture, empty where a member ``url`` says where it is, and all other members.

    Raises:
        BadRequest: there is none, there are several, or it is no such JSON.
    """
    if len(body) <= _MAX_BESIDE_BYTES:
        members = _members(body)
        if URL in members:
            _check_url(members)
            return b"", members
        text = members.pop(FIELD, None)
        if not isinstance(text, str):
            raise BadRequest(
                f"the JSON body has neither a member {FIELD!r} with the picture in base64, nor a member {URL!r} with "
                "its address"
            )
        return _from_base64(_bytes(text)), members
    rest, picture, mark = _cut(body)
    members = _members(rest)
    if members.pop(FIELD, None) != mark:
        raise _too_much_beside()
    if URL in members:
        raise _two_pictures()
    return _from_base64(picture if b"\\" not in picture else _bytes(parsed_json(b'"' + picture + b'"'))), members


def _check_url(members: dict[str, object]) -> None:
    if FIELD in members:
        raise _two_pictures()
    if not isinstance(members[URL], str):
        raise BadRequest(f"the member {URL!r} is no text")


def _two_pictures() -> BadRequest:
    return BadRequest(f"the JSON body has both {FIELD!r} and {URL!r}: one request parses one picture")


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


def read_json_list(body: bytes, most_pictures: int) -> tuple[Pictures, dict[str, object]]:
    """The pictures of a JSON body, and the members beside them.

    Raises:
        BadRequest: it is no such JSON.
        TooLarge: there are more than ``most_pictures``.
    """
    most_beside = _MAX_BESIDE_BYTES + most_pictures * _LONG_TEXT_BYTES
    rest, texts = _cut_all(body, most_beside)
    if len(rest) > most_beside:
        raise BadRequest(f"the JSON body has more than {most_beside} bytes beside its pictures in base64")
    members = _members(rest)
    images = members.pop(FIELDS, None)
    if not isinstance(images, list):
        raise BadRequest(f"the JSON body has no member {FIELDS!r}: a list of pictures in base64")
    if len(images) > most_pictures:
        raise too_many(most_pictures)
    return [_picture_of(each, place, texts) for place, each in enumerate(images)], members


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


def _picture_of(item: object, place: int, texts: dict[str, bytes]) -> tuple[bytes, dict[str, object]]:
    where = f"{FIELDS}[{place}]"
    options: dict[str, object] = {}
    if isinstance(item, dict):
        options, item = item, item.pop(FIELD, None)
    if not isinstance(item, str):
        raise BadRequest(f"{where} is neither base64 nor an object with it as {FIELD!r}")
    text = texts.get(item)
    if text is None:
        return _from_base64(_bytes(item), where), options
    return _from_base64(text if b"\\" not in text else _bytes(parsed_json(b'"' + text + b'"')), where), options


def _too_much_beside() -> BadRequest:
    return BadRequest(
        f"the JSON body has more than {_MAX_BESIDE_BYTES} bytes beside its member {FIELD!r}, the picture in base64"
    )


def _members(body: bytes) -> dict[str, object]:
    members = parsed_json(body)
    if not isinstance(members, dict):
        raise BadRequest(f"the JSON body is no object: {HOW}")
    return members


def parsed_json(body: bytes) -> Any:
    """The value of a JSON text, no member of which is given twice.

    Raises:
        BadRequest: it is none.
    """
    try:
        return json.loads(body, object_pairs_hook=lambda pairs: once(pairs, "JSON"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _bytes(text: str) -> bytes:
    return text.encode("ascii", "replace")  # with ?, which base64 does not know either


def _from_base64(text: bytes, name: str = FIELD) -> bytes:
    prefix = _DATA_URL.match(text)
    bare = text[prefix.end() :] if prefix else text
    try:
        return binascii.a2b_base64(bare.translate(None, _WHITE_SPACE), strict_mode=True)
    except ValueError as error:
        raise BadRequest(f"the member {name!r} is not base64: {error}") from error


def once(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Members by name, each given once.

    Args:
        pairs: as they were given.
        where: they were, for people.

    Raises:
        BadRequest: one is given twice.
    """
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise BadRequest(f"{name[:80]!r} is given twice in {where}")
        members[name] = value
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
