"""The JSON answers, as the OpenAPI document shows them."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fpan.contract import ModelCard, ReferenceHistogram

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
    """What it is, as it was asked for; null where it has no alias."""
    sha256: str
    """Of its ONNX file."""
    precision: Precision = Precision.FP32
    """What it is computed in."""


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
    """The part that the picture has, x0, y0, x1, y1; all around it is zero."""
    data: str
    """Base64 of a grey PNG of 8 bits as large as the window: 255 = wholly."""


class Alpha(_Described):
    """Soft masks of a face."""

    encoding: Literal["png"] = "png"
    size: tuple[int, int]
    """Height and width of the frame."""
    classes: list[AlphaClass]


class CropOfFace(_Described):
    """The aligned crop that a face's masks, parts and pictures are in, with ``frame=crop``."""

    size: int
    """Side in pixels."""
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    """From the picture's pixels to the crop's; whole numbers are pixel centres."""


class Picture(_Described):
    """A picture within JSON."""

    encoding: Literal["png"] = "png"
    data: str
    """Base64."""


class CoveredFace(_Described):
    """How one face was covered."""

    id: int
    whole: bool
    """Whether its whole box is covered, and not its mask alone."""
    why: str | None


class RedactedPicture(Picture):
    """The photo with its faces covered."""

    style: RedactStyle
    faces: list[CoveredFace]


class Arrays(_Described):
    """Arrays for ``numpy.load``."""

    encoding: Literal["npz"] = "npz"
    data: str
    """Base64."""


class Part(_Described):
    """One part of one face."""

    id: int
    name: str
    area: int
    """In pixels."""
    box: PixelBox
    """x0, y0, x1, y1; x1 and y1 are exclusive."""
    confidence: Fraction
    """Mean over the part's pixels."""


class Pose(_Described):
    """How the head is turned, in degrees; all 0: the face looks straight into the camera."""

    yaw: float
    """Above 0 the nose points to the right of the picture."""
    pitch: float
    """Above 0 the nose points up."""
    roll: float
    """Above 0 the head leans clockwise as seen in the picture."""


class Face(_Described):
    """One face. Left and right are the person's own."""

    id: int
    box: tuple[float, float, float, float]
    score: Fraction | None
    """Of the detector; null for boxes of the caller's and for faces=full."""
    landmarks: list[tuple[float, float]] | None
    """Right eye, left eye, nose, right and left corner of the mouth."""
    pose: Pose | None
    """Solved from the landmarks; null without them."""
    occluded: Fraction
    """Share of the face that something covers."""
    cut_by_crop: list[str]
    """Parts that go on beyond the square that the network sees."""
    cut_by_image: bool
    """Whether the face touches the picture's border."""
    parts: list[Part]
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


class ParseAnswer(_Described):
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
    model: str
    background: int
    ignore: int
    sides: str
    classes: list[LabelClass]
    groups: dict[str, list[int]]
    remaps: dict[str, list[int]]
    """Other 19-class orders in use: for each of our ids its id there, 255 where there is none."""


class ServedModel(ModelCard):
    """The card of a version that is served."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    aliases: list[Alias]
    """What it is."""
    default: bool
    """Whether it answers where a request says the model's name alone."""
    tried: bool
    """Whether it has parsed its golden pictures here before it was served."""


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
    """What the card says of it, its edges being some of these; null where it says nothing."""
    psi: float | None
    """Population stability index against the reference; null without one, and where there are too few faces."""


class DriftOfVersion(_Described):
    """How the newest faces of a version differ from the reference in its card."""

    model: str
    version: int
    sha256: str
    """Of its ONNX file."""
    faces: int
    """That are counted now."""
    quantities: dict[str, DriftQuantity]


class Drift(_Described):
    """Of every version that is served."""

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
    """What the picture alone would have been answered with."""
    answer: ParseAnswer | None = None
    """As `/v1/parse` answers; there where the status is 200."""
    problem: PictureProblem | None = None
    """There where it is another."""


class BatchAnswer(_Described):
    """The answer to several pictures."""

    request_id: str
    results: list[PictureResult]
    """One for each picture, in their order."""


class JobProgress(_Described):
    """How far a job is, in pictures."""

    done: int
    failed: int
    """That are done and have a problem instead of an answer."""
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
