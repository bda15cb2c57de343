"""From the network's answer about a crop to a face in the frame that was asked for, and what is told of it."""

import numpy as np
import pytest
from fpan.contract.face import FaceFacts
from fpan.serve.api.options import ParseOptions
from fpan.serve.pipeline.align.crop import Crop
from fpan.serve.pipeline.align.targets import Target
from fpan.serve.pipeline.paste import measure
from fpan.serve.pipeline.paste.assembly import Assembly
from fpan.serve.pipeline.paste.labels import window_of
from fpan.serve.pipeline.types import ParsedFace, Photo

from tests.support.parsed import SIZE, TAXONOMY, TEMPLATE

SKIN, HAIR, OCCLUSION = 1, 4, 5
SIDE = 200


def assembled(left: int = 50, top: int = 50, kept: frozenset[int] | None = None, **options: object) -> ParsedFace:
    """Of a crop that lies so in the picture, a pixel a pixel: skin of 40 x 40 whose upper half is covered, the lowest 8
    rows of it doubted, and hair from its right to the crop's border.
    """
    photo = Photo(np.zeros((SIDE, SIDE, 3), np.uint8), "png")
    crop = Crop(np.zeros((SIZE, SIZE, 3), np.uint8), np.array([[1.0, 0, -left], [0, 1, -top]]))
    labels, sure = np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 250, np.uint8)
    labels[0:20, 0:40], labels[20:40, 0:40], labels[0:40, 40:] = OCCLUSION, SKIN, HAIR
    sure[32:40, 0:40] = 50
    target = Target(crop, window_of(crop, SIDE, SIDE), (0.0, 0.0, 1.0, 1.0))
    asked = ParseOptions.read({"faces": "full", **options})
    assembly = Assembly(photo, TAXONOMY, TEMPLATE, kept, asked, 10**9, lambda: None)
    _, _, (face,) = assembly([target], [{"labels": labels, "confidence": sure}])
    return face


def told(**how: object) -> FaceFacts:
    return assembled(**how).facts


@pytest.mark.parametrize("frame", ["image", "crop"])
def test_the_pictures_border_is_told_of_the_face_in_either_frame(frame: str) -> None:
    assert not told(frame=frame).cut_by_image
    assert told(left=0, frame=frame).cut_by_image
    assert not told(left=SIDE - SIZE, frame=frame).cut_by_image  # there is hair alone
    assert not told(left=-45, frame=frame).cut_by_image  # of the crop's skin the picture has nothing
    assert not told(top=0, frame=frame).cut_by_image  # what covers the face is no part of it


@pytest.mark.parametrize("frame", ["image", "crop"])
def test_parts_that_go_on_beyond_the_crop_are_told_in_either_frame(frame: str) -> None:
    assert told(frame=frame).cut_by_crop == ("skin", "hair", "occlusion")
    assert told(left=SIDE - SIZE, top=0, frame=frame).cut_by_crop == ("skin", "occlusion")
    assert told(frame=frame, abstain=1).cut_by_crop == ("skin", "hair", "occlusion")


@pytest.mark.parametrize(("frame", "at"), [("image", (50, 70)), ("crop", (0, 20))])
def test_parts_count_pixels_of_the_frame_and_occlusion_counts_all_classes(frame: str, at: tuple[int, int]) -> None:
    figures = told(frame=frame, kept=frozenset({SKIN}))
    (skin,) = figures.parts
    x, y = at
    assert (skin.name, skin.area, skin.box) == ("skin", 800, (x, y, x + 40, y + 20))
    assert skin.confidence == pytest.approx((12 * 250 + 8 * 50) / 20 / 255)
    assert figures.occluded == 0.5


@pytest.mark.parametrize("frame", ["image", "crop"])
def test_what_is_left_undecided_is_no_part(frame: str) -> None:
    areas = {part.name: part.area for part in told(frame=frame, abstain=0.5).parts}
    assert areas == {"skin": 480, "hair": 40 * 24, "occlusion": 800}


def test_figures_are_counted_when_they_are_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[bool] = []
    counts = measure.sums_by_class
    monkeypatch.setattr(measure, "sums_by_class", lambda *args: counted.append(True) or counts(*args))
    face = assembled()
    assert not counted
    assert face.facts is face.facts
    assert counted == [True]
