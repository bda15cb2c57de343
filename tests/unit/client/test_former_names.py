"""Names that outputs had in the Python client warn for one release, and mean what the new ones do."""

import numpy as np
import pytest
from fpan import Client
from fpan.client.types import CoveredFace, Face, Result

from tests.support.scripted import answer, listening


@pytest.fixture(scope="module")
def server():
    with listening() as scripted:
        yield scripted


@pytest.mark.parametrize(
    ("former", "output"),
    [
        ({"pictures": ["overlay"]}, ["overlay"]),
        ({"shapes": ["polygons"]}, ["polygons"]),
        ({"pictures": ["png"], "shapes": ["alpha"]}, ["png", "alpha"]),
    ],
)
def test_former_names_ask_for_the_same(server, former, output):
    server.answers(answer())
    with Client(server.url) as client:
        with pytest.warns(DeprecationWarning, match="is called output"):
            client.parse(b"picture", **former)
        before = server.query
        client.parse(b"picture", output=output)
    assert server.query == before == {"output": ",".join(["rle", *output])}


def test_an_output_is_asked_for_once(server):
    server.answers(answer())
    with Client(server.url) as client:
        client.parse(b"picture", output=["png", "png"])
    assert server.query == {"output": "rle,png"}


def test_former_members_tell_the_same():
    covered = (CoveredFace(0, False, None),)
    plain = {"request_id": "", "width": 1, "height": 1, "taxonomy": "", "model": None, "faces": (), "reason": None}
    result = Result(**plain, notes=(), timing_ms={}, mask=None, raw=None, redact=covered)
    with pytest.warns(DeprecationWarning, match="covered is called redact"):
        assert result.covered == covered
    face = Face(
        id=0, box=(0, 0, 1, 1), score=None, landmarks=None, occluded=0, cut_by_crop=(), cut_by_image=False, parts=(),
        mask=None, alpha_masks=(masks := object()),
    )  # fmt: skip
    with pytest.warns(DeprecationWarning, match="soft is called alpha_masks"):
        assert face.soft is masks
    assert np.isclose(face.occluded, 0)
