"""HEIC whose decoder would end the process: see :mod:`fpan.serve.pipeline.decode.heic`."""

import struct

import pytest
from fpan.serve.api.errors import Impossible
from fpan.serve.pipeline.decode import decode

from tests.support.helpers_images import exif, file_of, scene

NO_TEXT = b"\xff\xfe\xfd\xfc"


def heic() -> bytes:
    return file_of("heic", scene(), exif=exif(1))


def entry(version: int, tail: bytes, kind: bytes = b"Exif") -> bytes:
    numbers = struct.pack(">HH", 2, 0) if version < 3 else struct.pack(">IH", 2, 0)
    body = b"infe" + bytes([version, 0, 0, 0]) + numbers + (kind if version >= 2 else b"") + tail
    return struct.pack(">I", 4 + len(body)) + body


def decoded(data: bytes) -> tuple[int, ...]:
    return decode(data, max_pixels=10_000, orientation="exif").pixels.shape


def test_an_item_whose_type_is_no_text_is_refused():
    data = heic()
    assert data.count(b"infe") == 2
    at = data.index(b"Exif", data.rindex(b"infe"))
    with pytest.raises(Impossible, match="an item whose type is no text"):
        decoded(data[:at] + NO_TEXT + data[at + 4 :])


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_content_type_that_is_no_text_is_refused_in_every_version_of_an_entry(version):
    for content_type in (b"application/rdf+xml", NO_TEXT):
        data = heic() + entry(version, b"name\0" + content_type + b"\0", kind=b"mime")
        if content_type == NO_TEXT:
            with pytest.raises(Impossible, match="an item whose type is no text"):
                decoded(data)
        else:
            assert decoded(data) == scene().shape


@pytest.mark.parametrize("size", [0, 1])
def test_an_item_that_hides_its_length_is_refused(size):
    with pytest.raises(Impossible, match="does not say how long it is"):
        decoded(heic() + struct.pack(">I", size) + entry(2, b"\0")[4:])


def test_pixels_that_look_like_an_item_are_pixels():
    whole = entry(2, b"\0", kind=NO_TEXT)
    for lookalike in (b"infe", whole[:8], b"\x7f" + whole[1:], whole[:8] + b"\x09" + whole[9:], whole[:-1]):
        assert decoded(heic() + lookalike) == scene().shape
    assert decoded(heic() + entry(2, NO_TEXT)) == scene().shape  # a name is nobody's business
