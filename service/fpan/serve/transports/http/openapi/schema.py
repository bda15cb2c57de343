"""The JSON answers, as the OpenAPI document shows them."""

from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from fpan.contract import AliasName, ReferenceHistogram
from fpan.contract.card import Precision
from fpan.contract.face import FaceFacts

Fraction = Annotated[float, Field(ge=0, le=1)]
PixelBox = tuple[int, int, int, int]


class ImageSize(BaseModel):
    """Size of the picture as it is displayed."""

    width: int
    height: int


class ModelName(BaseModel):
    """The version that answered."""

    name: str
    version: int
    alias: AliasName | None = None
    """What it is, as it was asked for; null where it has no alias."""
    sha256: str
    """Of its ONNX file."""
    precision: Precision = "fp32"
    """What it is computed in."""


class MaskClass(BaseModel):
    """The pixels of one class."""

    id: int
    name: str
    counts: str
    """COCO's compressed run lengths: column by column, beginning with pixels that are not of the class."""


class Mask(BaseModel):
    """A label map of the whole picture as one run-length mask for each class that it has."""

    encoding: Literal["coco_rle"] = "coco_rle"
    size: tuple[int, int]
    """Height and width, as COCO has it."""
    classes: list[MaskClass]


class PolygonShape(BaseModel):
    """One region of a class."""

    outline: list[tuple[int, int]]
    """Corners x, y, the first not repeated. Pixel (x, y) is the square from (x, y) to (x + 1, y + 1)."""
    holes: list[list[tuple[int, int]]]


class PolygonClass(BaseModel):
    """The regions of one class, those that enclose others first."""

    id: int
    name: str
    polygons: list[PolygonShape]


class Polygons(BaseModel):
    """A label map as outlines."""

    encoding: Literal["polygons"] = "polygons"
    tolerance: float
    """How far an outline may run from the true border, in pixels."""
    size: tuple[int, int]
    """Height and width of the label map."""
    classes: list[PolygonClass]


class AlphaClass(BaseModel):
    """How much of each pixel one class covers."""

    id: int
    name: str
    window: PixelBox
    """The part that the picture has, x0, y0, x1, y1; all around it is zero."""
    data: str
    """Base64 of a grey PNG of 8 bits as large as the window: 255 = wholly."""


class Alpha(BaseModel):
    """Soft masks of a face."""

    encoding: Literal["png"] = "png"
    size: tuple[int, int]
    """Height and width of the frame."""
    classes: list[AlphaClass]


class CropOfFace(BaseModel):
    """The aligned crop that a face's masks, parts and pictures are in, with ``frame=crop``."""

    size: int
    """Side in pixels."""
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    """From the picture's pixels to the crop's; whole numbers are pixel centres."""


class Picture(BaseModel):
    """A picture within JSON."""

    encoding: Literal["png"] = "png"
    data: str
    """Base64."""


class CoveredFace(BaseModel):
    """How one face was covered."""

    id: int
    whole: bool
    """Whether its whole box is covered, and not its mask alone."""
    why: str | None


class RedactedPicture(Picture):
    """The photo with its faces covered."""

    style: Literal["blur", "pixelate", "fill"]
    faces: list[CoveredFace]


class Arrays(BaseModel):
    """Arrays for ``numpy.load``."""

    encoding: Literal["npz"] = "npz"
    data: str
    """Base64."""


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


_CONFIG = ConfigDict(arbitrary_types_allowed=True, json_schema_serialization_defaults_required=True)
_Facts: Any = create_model("_Facts", __config__=_CONFIG, **_members(FaceFacts))


class Face(_Facts):  # type: ignore[misc]
    """One face. Left and right are the person's own."""

    mask: Mask
    """This face alone."""
    polygons: Polygons | None = None
    """The same as outlines (output ``polygons``)."""
    alpha: Alpha | None = None
    """Soft masks (output ``alpha``) of the classes that were named, or that the face has."""
    crop: CropOfFace | None = None
    """With ``frame=crop``, as are the pictures that follow."""
    png: Picture | None = None
    overlay: Picture | None = None
    cutout: Picture | None = None
    confidence: Picture | None = None


class ParseAnswer(BaseModel):
    """The answer of a parse."""

    request_id: str
    image: ImageSize
    taxonomy: str
    model: ModelName
    reason: str | None
    """Why there is no face, when there is none."""
    notes: list[str]
    faces: list[Face]
    mask: Mask | None = None
    """All faces together (output ``rle``, the default), but with ``frame=crop``."""
    polygons: Polygons | None = None
    """The same as outlines (output ``polygons``)."""
    png: Picture | None = None
    """Indexed label map (output ``png``)."""
    overlay: Picture | None = None
    cutout: Picture | None = None
    confidence: Picture | None = None
    """Grey, 255 = certain."""
    redact: RedactedPicture | None = None
    npz: Arrays | None = None
    timing_ms: dict[str, float]
    """By stage: decode, detect, queue, infer, paste, encode; before them cache, where one was asked. An answer from
    there has that alone, and one that was made for somebody else at the same time only ``shared``: the wait for it."""


class LabelClass(BaseModel):
    """One class of the taxonomy."""

    id: int
    name: str
    title: str
    colour: tuple[int, int, int]
    partner: int
    """Id of the class on the other side; its own where it has none."""
    groups: list[str]


class Labels(BaseModel):
    """The classes of a model's label maps."""

    taxonomy: str
    model: str
    background: int
    ignore: int
    sides: str
    classes: list[LabelClass]
    groups: dict[str, list[int]]
    remaps: dict[str, list[int]]
    """Other 19-class orders in use: for each of our ids its id there, 255 where there is none."""


class DriftQuantity(BaseModel):
    """One quantity over the newest faces. Bins lie between the edges, open at both ends: one more than edges."""

    edges: list[float]
    counts: list[int]
    """Faces in each bin."""
    reference: ReferenceHistogram | None
    """What the card says of it, its edges being some of these; null where it says nothing."""
    psi: float | None
    """Population stability index against the reference; null without one, and where there are too few faces."""


class DriftOfVersion(BaseModel):
    """How the newest faces of a version differ from the reference in its card."""

    model: str
    version: int
    sha256: str
    """Of its ONNX file."""
    faces: int
    """That are counted now."""
    quantities: dict[str, DriftQuantity]


class Drift(BaseModel):
    """Of every version that is served."""

    versions: list[DriftOfVersion]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class PictureProblem(Problem):
    """The error of one picture of several."""

    retry_after_s: float | None = None
    """When to try again, in seconds, where that may help."""


class PictureResult(BaseModel):
    """What became of one picture of several."""

    index: int
    """Its place among them, from 0."""
    status: int
    """What the picture alone would have been answered with."""
    answer: ParseAnswer | None = None
    """As `/v1/parse` answers; there where the status is 200."""
    problem: PictureProblem | None = None
    """There where it is another."""


class BatchAnswer(BaseModel):
    """The answer to several pictures."""

    request_id: str
    results: list[PictureResult]
    """One for each picture, in their order."""


class JobProgress(BaseModel):
    """How far a job is, in pictures."""

    done: int
    failed: int
    """That are done and have a problem instead of an answer."""
    total: int


class Job(BaseModel):
    """A job."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: JobProgress
    attempts: int
    """How often a worker has taken it: more than once where one was ended over it."""
    created_at: str
    """RFC 3339, as all times."""
    started_at: str | None
    finished_at: str | None
    problem: Problem | None
    """Why it failed as a whole. A picture that failed has its problem in the result."""
    result: str | None
    """Path of the result, while there is one."""
    result_expires_at: str | None
    """When it is deleted."""
    events: str
    """Path of the changes."""


class Health(BaseModel):
    """Whether the service is alive or ready."""

    status: Literal["live", "ready", "not ready"]
