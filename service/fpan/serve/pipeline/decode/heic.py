"""A look through a HEIC before its decoder sees it, which the process would not survive.

pi-heif 1.4.0 makes Python words of each item's type and content type, and crashes where the bytes are no UTF-8
(pillow_heif's pull request 478). Both come from the boxes ``infe`` (ISO/IEC 14496-12, 8.11.6), wherever they lie.
"""

from fpan.serve.pipeline.decode.sniff import absurd

_ENTRY = b"infe"
_HEAD_BYTES = 4
"""Of a box before its name: its size."""
_VERSIONS = {0: None, 1: None, 2: 4, 3: 6}
"""Version of an entry -> bytes between its flags and its type; None where it has none. The decoder reads no others."""
_WITHOUT_TYPE_BYTES = 4
_TYPE_BYTES = 4
_WITH_CONTENT_TYPE = b"mime"
_SIZES_ELSEWHERE = (0, 1)
"""What stands for "to the end of the file" and for "the size follows in 64 bits"."""


def survey_heic(data: bytes, max_pixels: int) -> None:
    """Refuses items whose type or content type is no text.

    Raises:
        Impossible: there is one.
    """
    position = data.find(_ENTRY)
    while position >= 0:
        _check(data, position - _HEAD_BYTES)
        position = data.find(_ENTRY, position + 1)


def _check(data: bytes, box: int) -> None:
    """Of what may be an entry at ``box``, or a piece of compressed pixels."""
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
