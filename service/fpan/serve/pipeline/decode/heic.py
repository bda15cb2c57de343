"""Checks a HEIC before it is decoded, because some invalid files crash the process in the decoder.

pi-heif 1.4.0 converts each item's type and content type to a Python string, and crashes when the bytes are not UTF-8
(pillow_heif's pull request 478). Both come from the ``infe`` boxes (ISO/IEC 14496-12, 8.11.6), at any position.
"""

from fpan.serve.pipeline.decode.sniff import absurd

_ENTRY = b"infe"
_HEAD_BYTES = 4
"""Bytes of a box before its name; they hold its size."""
_VERSIONS = {0: None, 1: None, 2: 4, 3: 6}
"""Version of an entry -> bytes between its flags and its type; None if the version has no type. The decoder reads only
these versions."""
_WITHOUT_TYPE_BYTES = 4
_TYPE_BYTES = 4
_WITH_CONTENT_TYPE = b"mime"
_SIZES_ELSEWHERE = (0, 1)
"""Special sizes: 0 is "to the end of the file", 1 is "the size follows in 64 bits"."""


def survey_heic(data: bytes, max_pixels: int) -> None:
    """Rejects a file with an item whose type or content type is not UTF-8 text.

    Raises:
        Impossible: the file has such an item.
    """
    position = data.find(_ENTRY)
    while position >= 0:
        _check(data, position - _HEAD_BYTES)
        position = data.find(_ENTRY, position + 1)


def _check(data: bytes, box: int) -> None:
    """Checks the bytes at ``box``, which are either an entry or part of the compressed pixels."""
    flags = box + _HEAD_BYTES + len(_ENTRY)
    size = int.from_bytes(data[max(0, box) : box + _HEAD_BYTES], "big")
    version = data[flags] if flags < len(data) else None
    if box < 0 or version not in _VERSIONS or size > len(data) - box:
        return
    if size in _SIZES_ELSEWHERE:
        raise absurd("heic", "an item that does not say how long it is")
    rest = data[flags + 4 : box + size]
    before = _VERSIONS[version]
    if before is None:
        words = rest[_WITHOUT_TYPE_BYTES:].split(b"\0")
        told = words[1:2]
    else:
        kind, words = rest[before : before + _TYPE_BYTES], rest[before + _TYPE_BYTES :].split(b"\0")
        told = [kind, *(words[1:2] if kind == _WITH_CONTENT_TYPE else ())]
    try:
        for word in told:
            word.decode()
    except UnicodeDecodeError:
        raise absurd("heic", "an item whose type is no text") from None
