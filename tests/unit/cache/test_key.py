"""The name of an answer: whatever changes the answer changes it, and nothing else does."""

import dataclasses

import pytest
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import NotFound
from fpan.serve.api.options import DIRECT_OUTPUTS, OUTPUTS, ParseOptions
from fpan.serve.api.parse import ParseRequest, ResponseEncoder
from fpan.serve.cache import key as keys
from fpan.serve.cache.key import AnswerKeys
from fpan.serve.cache.secret import Secret
from fpan.serve.config import Settings
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.pipeline.encode.json_answer import json_answer
from fpan.serve.pipeline.segment.routing import ModelRouter, RoutingTable, Segmenter, TrafficSplit
from fpan.serve.pipeline.types import CropFrame, Photo
from fpan.serve.setting_types import Mark, marked
from fpan.serve.transports.grpc.convert import write_response

from tests.support.known_face import CARD, HEIGHT, WIDTH, file_of, known_gateway, photo

SETTINGS = Settings(cache_key="a secret of the tests")
OTHERS = {
    "faces": "full",
    "max_faces": 2,
    "classes": ("hair",),
    "groups": ("eyes",),
    "output": ("npz",),
    "tolerance": 0.0,
    "redact": "fill",
    "abstain": 0.0,
    "face_masks": False,
    "frame": "crop",
    "taxonomy": "bisenet",
    "orientation": "raw",
    "model": "segm@champion",
    "deadline_ms": 7,
}
"""Of each option another value than it has by default."""
FREE = {"model", "deadline_ms"}
"""Options of which no answer depends but by the version that they choose."""
CHANGE_ANSWERS = {
    "backend", "runtime", "detector_threshold", "redact_detector_threshold",
    "max_pixels", "max_pixels_in_flight", "max_faces", "max_face_pixels", "max_alpha_bytes",
    "polygon_tolerance_px", "max_outline_steps",
    "redact_cells", "redact_margin", "redact_min_confidence", "redact_min_share",
}  # fmt: skip
"""Settings on which answers depend: whoever adds one decides whether it is marked so."""
OUTPUTS_OF_PICTURES = {"overlay", "cutout", "redact"}


def encode(answer: AnswerEncoder) -> bytes:
    raise AssertionError("nothing is encoded here")


def routing_table(card=CARD, alias=None, finder=None, share=0.0) -> RoutingTable:
    segmenter = Segmenter(card, None, alias)
    named = {"segm": segmenter, "segm@champion": segmenter}
    splits = {"segm": TrafficSplit(Segmenter(card, None, "challenger"), share)} if share else {}
    return RoutingTable(named, "segm", None, None, splits, finder=finder)


async def name(
    options: ParseOptions = ParseOptions(),  # noqa: B008 (frozen)
    data: bytes = b"picture",
    kind: str = "json",
    settings: Settings = SETTINGS,
    now: RoutingTable | None = None,
    caller: str | None = None,
    account: str = "",
) -> bytes:
    made = AnswerKeys(
        Secret(settings),
        settings,
        ModelRouter(now or routing_table()),
        per_account=settings.cache_per_account,
    )
    asking, context = ParseRequest(data, options, ResponseEncoder(kind, encode)), RequestContext("1", caller=caller)
    context = dataclasses.replace(context, account=account)
    return made.name(await made.digest(data), asking, context, made.answering(asking, context))


def changed(**settings: object) -> Settings:
    return SETTINGS.model_copy(update=settings)


async def test_every_option_is_in_the_name_unless_no_answer_depends_on_it():
    assert set(OTHERS) == {field.name for field in dataclasses.fields(ParseOptions)}
    plain = await name()
    for option, other in OTHERS.items():
        again = await name(dataclasses.replace(ParseOptions(), **{option: other}))
        assert (again == plain) == (option in FREE), option


async def test_boxes_and_faces_auto_have_names_of_their_own():
    boxes = [((0.0, 0.0, 30.0, 30.0),), ((0.0, 0.0, 30.0, 30.5),), ((0.0, 0.0, 30.0, 30.0),) * 2]
    names = {await name(ParseOptions(faces=each)) for each in ("auto", "full", *boxes)}
    assert len(names) == 5


async def test_the_settings_that_are_marked_are_in_the_name_and_no_others():
    marks = marked(Settings, Mark.CHANGES_ANSWERS)
    assert marks == CHANGE_ANSWERS
    plain = await name()
    for setting in Settings.model_fields.keys() - {"cache_key"}:  # names are made with it
        again = await name(settings=changed(**{setting: "another value"}))
        assert (again != plain) == (setting in marks), setting


async def test_whoever_answers_and_what_it_is_called_is_in_the_name():
    other = CARD.model_copy(update={"files": {**CARD.files, "model.onnx": "0" * 64}})
    reordered = CARD.taxonomy.model_copy(update={"name": "another"})
    routing_tables = [
        routing_table(),
        routing_table(other),
        routing_table(CARD.model_copy(update={"taxonomy": reordered})),  # the same network, other words
        routing_table(CARD.model_copy(update={"precision": "bf16"})),
        routing_table(alias="champion"),
        routing_table(finder=CARD),
        routing_table(finder=other),
        routing_table(share=1.0),
    ]
    names = [await name(now=each, caller="somebody") for each in routing_tables]
    assert len(set(names)) == len(routing_tables)
    assert await name(now=routing_tables[-1]) == names[0]  # whom no challenger answers
    with pytest.raises(NotFound):
        await name(ParseOptions(model="nothing"))


async def test_the_secret_the_kind_of_answer_and_every_byte_are_in_the_name():
    plain = await name()
    assert plain == await name()
    assert plain != await name(kind="grpc")
    assert plain != await name(data=b"picturf")
    assert plain != await name(settings=changed(cache_key=Settings(cache_key="another secret ..").cache_key))
    assert await name(settings=Settings()) != await name(settings=Settings())  # made up each time
    assert len(plain) == 32


async def test_the_account_is_in_the_name_unless_all_callers_share_answers():
    everybodys = changed(cache_per_account=False)
    assert await name(account="key:a") == await name(account="key:a", caller="another client of it")
    assert len({await name(account=who) for who in ("key:a", "key:b", "address 10.0.0.7")}) == 3
    assert len({await name(account=who, settings=everybodys) for who in ("key:a", "key:b")}) == 1


async def test_large_pictures_are_hashed_in_a_thread_to_the_same_name(monkeypatch):
    here = await name(data=b"x" * 5000)
    monkeypatch.setattr(keys, "_HERE_BYTES", 4999)
    assert await name(data=b"x" * 5000) == here


@pytest.mark.parametrize("frame", ["image", "crop"])
@pytest.mark.parametrize("output", OUTPUTS)
async def test_an_answer_that_may_be_kept_has_no_pixel_of_the_picture(output, frame):
    """Two pictures of the same findings: their answers are the same, unless they show them."""
    if output == "redact" and frame == "crop":
        return  # refused
    options = ParseOptions(output=(output,), frame=frame)
    with known_gateway() as gateway:
        result, shown, *_ = await gateway.parser.parse(file_of(photo()), options)
    other = dataclasses.replace(
        result,
        faces=tuple(
            dataclasses.replace(face, crop=CropFrame(255 - face.crop.pixels, face.crop.matrix) if face.crop else None)
            for face in result.faces
        ),
    )
    negative = Photo(255 - shown.pixels, "png")
    assert shown.pixels.shape == (HEIGHT, WIDTH, 3)
    encoders = [json_answer, lambda answer: write_response(answer).SerializeToString(), AnswerEncoder.npz]
    if output in DIRECT_OUTPUTS:
        encoders.append(lambda answer: answer.picture(output))
    same = [
        encoder(AnswerEncoder(result, shown, CARD, options, SETTINGS))
        == encoder(AnswerEncoder(other, negative, CARD, options, SETTINGS))
        for encoder in encoders
    ]
    assert options.shows_picture == (output in OUTPUTS_OF_PICTURES)
    assert all(same) == (not options.shows_picture)
