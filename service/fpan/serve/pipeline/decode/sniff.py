"""Detects the format of a file from its first bytes."""

import re
from typing import Final, Literal, get_args

from fpan.serve.api.errors import Impossible, UnsupportedImage

Format = Literal["jpeg", "png", "webp", "avif", "heic", "gif", "tiff"]
"""The supported formats."""

_FORMATS: Final[dict[str, Format]] = {name: name for name in get_args(Format)}
_READ_HERE: Final = "read here are JPEG, PNG, WebP, AVIF, HEIC, GIF and TIFF"
_HEAD_BYTES = 1024
"""Number of bytes at the start of a file that are inspected."""
_SHORTEST_TEXT = 16
"""Least number of characters for a file to be called text."""

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_OTHER_BRANDS: Final = {b"crx ": "a Canon CR3 raw photo", b"qt  ": "a QuickTime video"}

_SIGNATURES: Final[tuple[tuple[re.Pattern[bytes], Format | str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\xff\xd8\xff", "jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"GIF8[79]a", "gif"),
        (rb"RIFF....WEBP", "webp"),
        (rb"II\*\x00....CR\x02", "a Canon CR2 raw photo"),
        (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", "tiff"),
        (rb"BM.{8}\0\0", "a BMP picture"),
        (rb"8BPS", "a Photoshop file"),
        (rb"\0\0\0\x0cjP {2}|\xff\x4f\xff\x51", "a JPEG 2000 picture"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (rb"\x00\x00[\x01\x02]\x00", "an icon"),
        (rb"FUJIFILMCCD-RAW|IIRS|IIU\0", "a raw photo"),
        (rb"qoif", "a QOI picture"),
        (rb"P[1-7][\s#]", "a PNM picture"),
        (rb"#\?RADIANCE", "a Radiance HDR picture"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR picture"),
        (rb"%PDF", "a PDF document"),
        (rb"%!PS", "a PostScript document"),
        (rb"RIFF....AVI ", "an AVI video"),
        (rb"RIFF....WAVE", "a WAV sound"),
        (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
        (rb"PK\x03\x04", "a ZIP archive"),
        (rb"\x1f\x8b", "a gzip file"),
    )
)
_TEXTS: Final = (
    (re.compile(rb"\s*(data:image/|/9j/|iVBORw0KGgo|R0lGOD|UklGR)"), "base64 text: send the bytes themselves, or JSON"),
    (re.compile(rb"\s*(<\?xml.*?)?<svg", re.DOTALL | re.IGNORECASE), "an SVG drawing"),
    (re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"\s*[{\[]"), "JSON text"),
)


def sniff(data: bytes) -> Format:
    """The format of a picture.

    Raises:
        UnsupportedImage: the format is not supported; the message says what the file seems to be.
    """
    head = data[:_HEAD_BYTES]
    name = _of_boxes(head) if head[4:8] == b"ftyp" else _of_signature(head)
    if name in _FORMATS:
        return _FORMATS[name]
    raise UnsupportedImage(f"this is {name}; {_READ_HERE}")


def not_read(what: str) -> UnsupportedImage:
    """The error for an unsupported variant of a format."""
    return UnsupportedImage(f"this is {what}; {_READ_HERE}")


def absurd(kind: Format, what: str) -> Impossible:
    """The error for a structure that no encoder writes and that takes a decoder very long."""
    return Impossible(f"this {kind.upper()} has {what}: it is damaged, or made to keep a decoder busy")


def _of_boxes(head: bytes) -> str:
    """Name of the format of an ISO base media file, from its major brand, then from its compatible brands."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)) - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "avif"
        if brand in _HEIC_BRANDS:
            return "heic"
    return _OTHER_BRANDS.get(brands[0], "an MP4 video or another ISO media file")


def _of_signature(head: bytes) -> str:
    for pattern, name in _SIGNATURES:
        if pattern.match(head):
            return name
    if _is_text(head):
        return next((name for pattern, name in _TEXTS if pattern.match(head)), "text")
    return "no picture: its first bytes are those of no known format"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end in the middle of a character, so an error in its last bytes is allowed.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return len(text) >= _SHORTEST_TEXT and all(c.isprintable() or c in "\t\n\r\f" for c in text.lstrip("\ufeff"))
