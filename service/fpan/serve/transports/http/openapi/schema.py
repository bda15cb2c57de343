"""The JSON answers, as the OpenAPI document shows them."""

from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from fpan.contract import ModelCard, ReferenceHistogram
from fpan.contract.face import FaceFacts

Fraction = Annotated[float, Field(ge=0, le=1)]
PixelBox = tuple[int, int, int, int]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339."""


class _Described(BaseModel):
    """A model whose members are described by the text below them, in the document too."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Precision(StrEnum):
    """What a network is computed in."""

    FP32 = "fp32"
    INT8 = "int8"
    BF16 = "bf16"


class Alias(StrEnum):
    """What a version of a model is."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


class RedactStyle(StrEnum):
    """How faces are covered."""

    BLUR = "blur"
    PIXELATE = "pixelate"
    FILL = "fill"


class JobState(StrEnum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ImageSize(_Described):
    """Size of the picture as it is displayed."""

    width: int
    height: int


class ModelName(_Described):
    """The version that answered."""

    name: str
    version: int
    alias: Alias | None = None
    """The alias by which the request named it, or that it has; null where it has none."""
    sha256: str
    """SHA-256 of its ONNX file, in hexadecimal digits."""
    precision: Precision = Precision.FP32
    """The arithmetic that it is computed in."""


class MaskClass(_Described):
    """The pixels of one class."""

    id: int
    name: str
    counts: str
    """COCO's compressed run lengths: column by column, beginning with pixels that are not of the class."""


class Mask(_Described):
    """A label map of the whole picture as one run-length mask for each class that it has."""

    encoding: Literal["coco_rle"] = "coco_rle"
    size: tuple[int, int]
    """Height and width, as COCO has it."""
    classes: list[MaskClass]


class PolygonShape(_Described):
    """One region of a class."""

    outline: list[tuple[int, int]]
    """Corners x, y, the first not repeated. Pixel (x, y) is the square from (x, y) to (x + 1, y + 1)."""
    holes: list[list[tuple[int, int]]]
    """Corners of each hole in the region."""


class PolygonClass(_Described):
    """The regions of one class, those that enclose others first."""

    id: int
    name: str
    polygons: list[PolygonShape]


class Polygons(_Described):
    """A label map as outlines."""

    encoding: Literal["polygons"] = "polygons"
    tolerance: float
    """How far an outline may run from the true border, in pixels."""
    size: tuple[int, int]
    """Height and width of the label map."""
    classes: list[PolygonClass]


class AlphaClass(_Described):
    """How much of each pixel one class covers."""

    id: int
    name: str
    window: PixelBox
    """The rectangle of the frame that the PNG shows, x0, y0, x1, y1; outside it the mask is zero."""
    data: str
    """A grey PNG of 8 bits in base64, as large as the window; 255: the class covers the whole pixel."""


class Alpha(_Described):
    """Soft masks of a face."""

    encoding: Literal["png"] = "png"
    size: tuple[int, int]
    """Height and width of the frame."""
    classes: list[AlphaClass]


class CropOfFace(_Described):
    """The aligned crop that a face's masks, parts and pictures are in, with `frame=crop`."""

    size: int
    """Side in pixels."""
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Takes coordinates in the picture to coordinates in the crop, in pixels; whole numbers are pixel centres."""


class Picture(_Described):
    """A picture within JSON."""

    encoding: Literal["png"] = "png"
    data: str
    """The PNG file in base64."""


class CoveredFace(_Described):
    """How one face was covered."""

    id: int
    whole: bool
    """Whether its whole box is covered, and not its mask alone."""
    why: str | None
    """Why the whole box is covered; null where it is not."""


class RedactedPicture(Picture):
    """The photo with its faces covered."""

    style: RedactStyle
    """The style that was chosen."""
    faces: list[CoveredFace]
    """The faces that are covered."""


class Arrays(_Described):
    """Arrays for `numpy.load`."""

    encoding: Literal["npz"] = "npz"
    data: str
    """The `.npz` file in base64."""


def _members(described: type[Any]) -> dict[str, Any]:
    """The members of a dataclass of the contract, with what it says of each, for a model that has them too."""
    hints = get_type_hints(described, include_extras=True)
    told = TypeAdapter(described).json_schema()["properties"]
    return {
        each.name: (
            hints[each.name],
            FieldInfo(
                default=... if each.default is MISSING else each.default, description=told[each.name].get("description")
            ),
        )
        for each in fields(described)
    }


class _Arrays(_Described):
    model_config = ConfigDict(arbitrary_types_allowed=True, json_schema_serialization_defaults_required=True)


_Facts: Any = create_model("_Facts", __base__=_Arrays, **_members(FaceFacts))


class Face(_Facts):  # type: ignore[misc]
    """One face. Left and right are the person's own."""

    mask: Mask
    """The label map of this face alone."""
    polygons: Polygons | None = None
    """The same as outlines (output `polygons`)."""
    alpha: Alpha | None = None
    """Soft masks (output `alpha`) of the classes that were named, or that the face has."""
    crop: CropOfFace | None = None
    """The aligned crop, with `frame=crop`; the pictures that follow are then of the crop."""
    png: Picture | None = None
    """Indexed label map of the crop (output `png`, with `frame=crop`)."""
    overlay: Picture | None = None
    """The crop with its parts tinted (output `overlay`, with `frame=crop`)."""
    cutout: Picture | None = None
    """The crop with all else transparent (output `cutout`, with `frame=crop`)."""
    confidence: Picture | None = None
    """Grey, 255 = certain (output `confidence`, with `frame=crop`)."""


class ParseAnswer(_Described):
    """The answer of a parse."""

    request_id: str
    image: ImageSize
    taxonomy: str
    model: ModelName
    reason: str | None
    """Why there is no face, where there is none; else null."""
    notes: list[str]
    """What else the caller should know of this answer."""
    faces: list[Face]
    mask: Mask | None = None
    """The label map of all faces together (output `rle`, the default); not with `frame=crop`."""
    polygons: Polygons | None = None
    """The same as outlines (output `polygons`)."""
    png: Picture | None = None
    """Indexed label map (output `png`)."""
    overlay: Picture | None = None
    """The picture with its parts tinted (output `overlay`)."""
    cutout: Picture | None = None
    """The picture with all else transparent (output `cutout`)."""
    confidence: Picture | None = None
    """Grey, 255 = certain (output `confidence`)."""
    redact: RedactedPicture | None = None
    """The picture with its faces covered (output `redact`)."""
    npz: Arrays | None = None
    """Label maps as arrays (output `npz`)."""
    timing_ms: dict[str, float]
    """Milliseconds of each stage: `decode`, `detect`, `queue`, `infer`, `paste`, `encode`, and before them `cache`
    where the server has one. An answer from the cache has `cache` alone. An answer that was being made for an identical
    request has `shared` alone, the time spent waiting for it."""


class LabelClass(_Described):
    """One class of the taxonomy."""

    id: int
    name: str
    title: str
    colour: tuple[int, int, int]
    partner: int
    """Id of the class on the other side; its own where it has none."""
    groups: list[str]


class Labels(_Described):
    """The classes of a model's label maps."""

    taxonomy: str
    """Name of the taxonomy."""
    model: str
    """`NAME:VERSION` of the model."""
    background: int
    """Id of what is no part of a face."""
    ignore: int
    """Label of pixels without a known class."""
    sides: str
    """Whose left and right the names mean."""
    classes: list[LabelClass]
    groups: dict[str, list[int]]
    """Ids of the classes of each group."""
    remaps: dict[str, list[int]]
    """Other 19-class orders in use: for each of our ids its id there, 255 where there is none."""


class ServedModel(ModelCard):
    """The card of a version that is served."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    aliases: list[Alias]
    """The aliases that name it."""
    default: bool
    """Whether it answers where a request says the model's name alone."""
    tried: bool
    """Whether its golden pictures were parsed here before it was served; false while the inference server is away."""


class RefusedModel(_Described):
    """A version that the registry asks for and that is not served."""

    name: str
    version: int
    reason: str
    """Why it is not served."""


class ServedModels(_Described):
    """The versions that are served, and those that are asked for in vain."""

    models: list[ServedModel]
    refused: list[RefusedModel]


class DriftQuantity(_Described):
    """One quantity over the newest faces. Bins lie between the edges, open at both ends: one more than edges."""

    edges: list[float]
    counts: list[int]
    """Faces in each bin."""
    reference: ReferenceHistogram | None
    """The histogram in the model's card, whose edges are some of these; null where the card has none."""
    psi: float | None
    """Population stability index against the reference; null without one, and where there are too few faces."""


class DriftOfVersion(_Described):
    """How the newest faces of a version differ from the reference in its card."""

    model: str
    version: int
    sha256: str
    """SHA-256 of its ONNX file, in hexadecimal digits."""
    faces: int
    """How many faces are counted."""
    quantities: dict[str, DriftQuantity]


class Drift(_Described):
    """How the newest faces differ from the reference, for every version that is served."""

    versions: list[DriftOfVersion]


class Problem(_Described):
    """An error (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:mask-fpan:problem:bad-request"])]
    """What went wrong, a URI that does not change: the page of problems lists them."""
    title: str
    """The same for people; the same for every problem of the type."""
    status: int
    """Of HTTP."""
    detail: str
    """What went wrong this time, for people."""
    request_id: str
    """As in the header `X-Request-Id`."""


class PictureProblem(Problem):
    """The error of one picture of several."""

    retry_after_s: float | None = None
    """When to try again, in seconds, where that may help."""


class PictureResult(_Described):
    """What became of one picture of several."""

    index: int
    """Its place among them, from 0."""
    status: int
    """HTTP status that the picture alone would have been answered with."""
    answer: ParseAnswer | None = None
    """As `/v1/parse` answers; there where the status is 200."""
    problem: PictureProblem | None = None
    """The error; there where the status is another."""


class BatchAnswer(_Described):
    """The answer to several pictures."""

    request_id: str
    results: list[PictureResult]
    """One for each picture, in their order."""


class JobProgress(_Described):
    """How far a job is, in pictures."""

    done: int
    failed: int
    """How many of those that are done have a problem instead of an answer."""
    total: int


class Job(_Described):
    """A job."""

    id: str
    state: JobState
    progress: JobProgress
    attempts: int
    """How often a worker has taken it: more than once where one was ended over it."""
    created_at: Time
    """RFC 3339, as all times."""
    started_at: Time | None
    finished_at: Time | None
    problem: Problem | None
    """Why it failed as a whole. A picture that failed has its problem in the result."""
    result: str | None
    """Path of the result, while there is one."""
    result_expires_at: Time | None
    """When it is deleted."""
    events: str
    """Path of the changes."""


class JobEnd(StrEnum):
    """How a job has ended, as its webhook tells it."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


class JobEnded(_Described):
    """What the webhook of a job is told."""

    type: JobEnd
    timestamp: Time
    """When it is told."""
    data: Job
    """The job, as `GET /v1/jobs/{job}` tells it."""


class Health(_Described):
    """Whether the service is alive or ready."""

    status: Literal["live", "ready", "not ready"]
