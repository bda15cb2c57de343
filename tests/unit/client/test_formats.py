"""The client and every format of the gateway's own routes; only the networks are left out."""

import io

import httpx
import numpy as np
import pytest
from fpan.client import ApiError, AsyncClient, Client, UnexpectedAnswer
from fpan.client._decoding import SoftMasks, read_arrays
from fpan.serve.transports.http.app import create_app
from PIL import Image

from tests.support.known_face import FACE, HAIR, HEIGHT, SIZE, SKIN, TAXONOMY, WIDTH, drawn, known_gateway, photo


@pytest.fixture
def gateway():
    with known_gateway() as made:
        yield made


@pytest.fixture
async def client(gateway):
    transport = httpx.ASGITransport(create_app(gateway))
    async with AsyncClient("http://gateway", transport=transport) as opened:
        yield opened


async def test_polygons_are_rings_by_class(client):
    result = await client.parse(photo(), output=["polygons"], tolerance=0)
    for polygons in (result.polygons, result.faces[0].polygons):
        assert set(polygons) == {"skin", "hair", "nose"}
        [skin] = polygons["skin"]
        assert skin.outline.shape[1] == 2
        assert len(skin.holes) == 1
        x, y = skin.outline.T
        assert (x.min(), y.min()) == tuple(np.argwhere(result.labels == SKIN).min(0)[::-1])
    assert (await client.parse(photo())).polygons is None


async def test_soft_masks_are_arrays_of_the_picture(client, gateway):
    gateway.eyes.faces = [FACE, FACE]
    result = await client.parse(photo(), output=["alpha"], classes=["hair"])
    values = result.faces[0].alpha("hair")
    assert (values.dtype, values.shape) == (np.uint8, (HEIGHT, WIDTH))
    assert np.abs(values / 255 - result.faces[0].part("hair")).mean() < 0.02
    assert np.array_equal(result.alpha("hair"), values)
    assert not result.alpha("hat").any()


async def test_soft_masks_that_were_not_asked_for_are_not_taken_for_empty(client):
    result = await client.parse(photo())
    with pytest.raises(ValueError, match="output"):
        result.alpha("hair")


async def test_redacted_pictures_tell_how_faces_were_covered(client, gateway):
    gateway.network.confidence[:] = 100
    result = await client.parse(photo(), output=["redact"], redact="fill")
    [face] = result.redact
    assert (face.id, face.whole, "uncertain" in face.why) == (0, True, True)
    with Image.open(io.BytesIO(result.pictures["redact"])) as image:
        assert (np.asarray(image)[result.labels == SKIN] == 0).all()
    assert (await client.draw(photo(), "redact")).startswith(b"\x89PNG")


async def test_too_many_faces_to_redact_are_an_error(client, gateway):
    gateway.careful.faces = [FACE] * 4
    with pytest.raises(ApiError, match="4 faces were found") as caught:
        await client.draw(photo(), "redact")
    assert (caught.value.status, caught.value.slug) == (422, "impossible")


async def test_arrays_are_arrays(client):
    arrays = await client.arrays(photo())
    assert np.array_equal(arrays["labels"], (await client.parse(photo())).labels)
    assert "alpha" not in arrays
    arrays = await client.arrays(photo(), classes=["hair"])
    assert arrays["alpha_ids"].tolist() == [HAIR]
    assert (await client.arrays(photo(), alpha=True))["alpha"].shape == (3, HEIGHT, WIDTH)


async def test_arrays_come_with_a_result(client):
    with np.load(io.BytesIO((await client.parse(photo(), output=["npz"])).npz)) as file:
        assert file["labels"].shape == (HEIGHT, WIDTH)
    assert (await client.parse(photo())).npz is None


async def test_a_matte_is_drawn(client):
    with Image.open(io.BytesIO(await client.draw(photo(), "alpha", groups=["head"]))) as image:
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))


async def test_in_the_crops_frame_every_face_has_its_own(client, gateway):
    gateway.eyes.faces = [FACE, FACE]
    result = await client.parse(photo(), frame="crop", output=["overlay", "alpha"])
    assert result.labels.shape == (0, 0)
    assert result.pictures == {}
    for face in result.faces:
        assert np.array_equal(face.labels, drawn())
        assert face.alpha("skin").shape == (SIZE, SIZE)
        assert (face.crop.size, face.crop.matrix.shape) == (SIZE, (2, 3))
        assert face.pictures["overlay"].startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="frame of its own"):
        result.alpha("skin")
    gateway.eyes.faces = []
    assert (await client.parse(photo(), frame="crop")).labels.shape == (0, 0)


async def test_uncertain_pixels_are_255_and_other_orders_are_told(client, gateway):
    gateway.network.confidence[: SIZE // 2] = 50
    result = await client.parse(photo(), abstain=0.5, taxonomy="bisenet")
    assert result.taxonomy == "bisenet"
    assert set(np.unique(result.labels)) >= {0, 255, TAXONOMY.remaps["bisenet"][HAIR]}


def test_a_soft_mask_that_does_not_fit_is_told():
    file = io.BytesIO()
    Image.new("L", (3, 3)).save(file, "PNG")
    for data in (b"no picture", file.getvalue()):
        with pytest.raises(UnexpectedAnswer, match="hair"):
            SoftMasks(8, 8, (("hair", (0, 0, 4, 4), data),)).of("hair")


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(17)])
def test_what_is_no_archive_of_arrays_is_told(data):
    with pytest.raises(UnexpectedAnswer, match="arrays"):
        read_arrays(data)


def test_the_blocking_client_asks_for_the_same():
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((dict(request.url.params), request.headers["accept"]))
        return httpx.Response(200, content=b"", headers={"content-type": request.headers["accept"]})

    with Client("http://nowhere", transport=httpx.MockTransport(answer)) as client:
        client.draw(b"picture", "redact", redact="pixelate", classes=["nose"])
        with pytest.raises(UnexpectedAnswer):
            client.arrays(b"picture", alpha=True)
        with pytest.raises(UnexpectedAnswer):
            client.parse(b"picture", output=["polygons", "alpha"], tolerance=0.0, frame="crop", abstain=0.5)
    assert seen == [
        ({"redact": "pixelate", "classes": "nose", "output": "redact"}, "image/png"),
        ({"output": "npz,alpha"}, "application/x-npz"),
        (
            {"tolerance": "0.0", "frame": "crop", "abstain": "0.5", "output": "rle,polygons,alpha"},
            "application/json",
        ),
    ]


async def test_the_label_map_of_all_faces_comes_once(client):
    """As a PNG where that is an output and no face has a mask of its own."""
    whole = await client.parse(photo())
    drawn = await client.parse(photo(), output=["png"], face_masks=False)
    assert "mask" not in drawn.raw
    assert np.array_equal(drawn.labels, whole.labels)
    assert np.array_equal(drawn.mask.of("hair"), whole.mask.of("hair"))
    assert drawn.labels.any()
    assert not drawn.faces[0].labels.any()
    assert drawn.faces[0].parts == whole.faces[0].parts
