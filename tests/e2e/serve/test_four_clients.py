"""One battery for all four clients against one real service: the same methods, options, results and errors."""

import asyncio
from dataclasses import astuple, fields

import numpy as np
import pytest
from fpan import AsyncClient, AsyncGrpcClient, Client, GrpcClient
from fpan.client import ApiError, DeadlinePassed, Pose, Result

from tests.support.service import Service

KINDS = {"Client": Client, "AsyncClient": AsyncClient, "GrpcClient": GrpcClient, "AsyncGrpcClient": AsyncGrpcClient}
ROUNDED = 0.02
"""By how much figures of HTTP's JSON, which are rounded to what matters, may differ from gRPC's."""


def ask(kind: str, service: Service, method: str, *words, **options):
    """Calls a method of a fresh client."""
    url = f"grpc://127.0.0.1:{service.grpc_port}" if "Grpc" in kind else service.url
    if not kind.startswith("Async"):
        with KINDS[kind](url, client_id="battery") as client:
            return getattr(client, method)(*words, **options)

    async def go():
        async with KINDS[kind](url, client_id="battery") as client:
            return await getattr(client, method)(*words, **options)

    return asyncio.run(go())


@pytest.fixture(scope="module")
def known():
    """What the blocking client of HTTP was told, so that it is asked once."""
    return {}


@pytest.fixture(params=[kind for kind in KINDS if kind != "Client"])
def both(request, service, known):
    """Calls a method of one client and of the blocking one of HTTP: both answers."""

    def run(method, *words, **options):
        asked = repr((method, words, options))
        if asked not in known:
            known[asked] = ask("Client", service, method, *words, **options)
        return ask(request.param, service, method, *words, **options), known[asked]

    return run


@pytest.fixture(scope="module")
def portrait(astronaut):
    """A small photo, which is soon parsed: RGB, uint8 (256, 256, 3)."""
    return astronaut[:256, 96:352]


def same(here, there) -> None:
    """Equal, arrays by their values and figures but for rounding."""
    if isinstance(there, np.ndarray):
        assert (here.dtype, here.shape) == (there.dtype, there.shape)
        if here.dtype.kind == "f":
            np.testing.assert_allclose(here, there, atol=ROUNDED)
        else:
            np.testing.assert_array_equal(here, there)
    elif isinstance(there, dict):
        assert here.keys() == there.keys()
        for name in there:
            same(here[name], there[name])
    elif isinstance(there, tuple):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            same(a, b)
    elif isinstance(there, Pose):
        assert astuple(here) == pytest.approx(astuple(there), abs=0.06)  # tenths of a degree
    elif isinstance(there, float):
        assert here == pytest.approx(there, abs=0.06 if abs(there) > 1 else ROUNDED)
    elif hasattr(there, "__dataclass_fields__"):
        assert type(here) is type(there)
        for name in {field.name for field in fields(there)} - {"mask", "raw", "request_id", "timing_ms"}:
            same(getattr(here, name), getattr(there, name))
        if hasattr(there, "labels"):
            same(here.labels, there.labels)
    else:
        assert here == there


def same_result(results: tuple[Result, Result]) -> Result:
    here, there = results
    same(here, there)
    assert here.request_id
    assert {*here.timing_ms} >= {"decode", "infer", "encode"}
    return here


def test_results_are_equal(both, astronaut_jpeg):
    here, there = both("parse", astronaut_jpeg)
    assert same_result((here, there)).labels.shape == (512, 512)
    [face], [other] = here.faces, there.faces
    for part in other.parts:
        np.testing.assert_array_equal(face.part(part.name), other.part(part.name))
    assert face.part("hair").any()
    assert not face.part("no such part").any()
    assert not here.labels.flags.writeable


def test_pictures_and_shapes_are_equal(both, portrait):
    wanted = ["png", "overlay", "cutout", "confidence"]
    options = {"output": [*wanted, "polygons", "alpha"], "classes": ["hair"], "tolerance": 0.5}
    results = both("parse", portrait, **options)
    here = same_result(results)
    assert {*here.pictures} == {*wanted}
    assert here.confidence.shape == (256, 256)
    assert here.alpha("hair").max() == 255
    np.testing.assert_array_equal(here.alpha("hair"), results[1].alpha("hair"))


def test_crops_are_equal(both, portrait):
    """Of pixels, which go as PNG."""
    here = same_result(both("parse", portrait, frame="crop", output=["overlay", "polygons"]))
    assert here.labels.shape == (0, 0)
    assert here.faces[0].labels.shape == (256, 256)
    assert here.faces[0].pictures["overlay"].startswith(b"\x89PNG")


def test_every_option_means_the_same(both, group_photo):
    here = same_result(
        both(
            "parse",
            group_photo,
            max_faces=1,
            groups=["face"],
            abstain=0.7,
            taxonomy="bisenet",
            orientation="raw",
            model="segm:2",
            deadline_ms=30_000,
        )
    )
    assert (len(here.faces), here.taxonomy) == (1, "bisenet")


def test_boxes_mean_the_same(both, portrait):
    assert len(same_result(both("parse", portrait, faces=[(60, 60, 180.5, 180), (10, 10, 90, 90)])).faces) == 2


def test_redacted_pictures_are_equal(both, portrait):
    here = same_result(both("parse", portrait, output=["redact"], redact="fill"))
    assert [face.id for face in here.redact] == [0]
    assert here.pictures["redact"]


@pytest.mark.parametrize("drawing", ["png", "overlay", "cutout", "confidence", "redact"])
def test_drawings_are_equal(both, portrait, drawing):
    here, there = both("draw", portrait, drawing, classes=["hair", "skin"], faces="full")
    assert here == there
    assert here.startswith(b"\x89PNG")


def test_arrays_are_equal(both, portrait):
    here, there = both("arrays", portrait, classes=["hair"], faces="full")
    same(here, there)
    assert here["alpha"].shape == (1, 256, 256)


def test_no_face_is_a_result(both):
    here = same_result(both("parse", np.zeros((40, 50, 3), np.uint8)))
    assert (here.faces, here.labels.shape) == ((), (40, 50))
    assert here.reason


def test_health_is_the_same(both):
    here, there = both("health")
    assert here == there
    assert here.ready


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("picture", "options", "status", "slug"),
    [
        (b"no picture", {}, 415, "unsupported-image"),
        (b"", {}, 400, "bad-request"),
        (None, {"classes": ["tail"]}, 400, "bad-request"),
        (None, {"model": "nobody"}, 404, "not-found"),
        (None, {"faces": [(900, 900, 990, 990)]}, 422, "impossible"),
        (None, {"faces": []}, 400, "bad-request"),
    ],
)
def test_errors_are_the_same(kind, service, portrait, picture, options, status, slug):
    with pytest.raises(ApiError) as caught:
        ask(kind, service, "parse", portrait if picture is None else picture, **options)
    error = caught.value
    assert (error.status, error.slug, error.retry_after_s) == (status, slug, None)
    assert error.detail
    assert error.request_id


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawing_of_a_crop_is_of_one_face(kind, service, portrait):
    boxes = [(60, 60, 180, 180), (10, 10, 90, 90)]
    with pytest.raises(ApiError, match="max_faces=1") as caught:
        ask(kind, service, "draw", portrait, "overlay", frame="crop", faces=boxes)
    assert (caught.value.status, caught.value.slug) == (422, "impossible")
    assert ask(kind, service, "draw", portrait, "overlay", frame="crop", faces=boxes[:1]).startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_that_passes_is_told(kind, service, portrait):
    with pytest.raises(DeadlinePassed) as caught:
        ask(kind, service, "parse", portrait, deadline_ms=1)
    assert (caught.value.status, caught.value.slug) == (504, "deadline-exceeded")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_options_are_refused_before_anything_is_sent(kind, service):
    with pytest.raises(TypeError, match="the options are"):
        ask(kind, service, "parse", b"picture", colour="red")
