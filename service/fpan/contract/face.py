"""What an answer tells of a face in numbers and words: described here once.

The pipeline fills it in, JSON is its fields as they stand, the OpenAPI schema is made from it, the client reads it
back, Parquet has a column for each; gRPC's ``Face`` is held to it by a test. To add a member: add it here, to the
message ``Face`` of ``proto/faceparsing/v1/face_parsing.proto``, and to what measures a face (``serve/pipeline/paste``).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, WithJsonSchema


def _rounded(decimals: int) -> PlainSerializer:
    return PlainSerializer(lambda value: round(value, decimals), return_type=float)


def _points(value: Any) -> NDArray[np.float32]:
    return np.asarray(value, np.float32).reshape(5, 2)


Pixels = Annotated[float, _rounded(2)]
Degrees = Annotated[float, _rounded(1)]
Share = Annotated[
    float,
    Field(ge=0, le=1),
    _rounded(4),
    WithJsonSchema({"type": "number", "minimum": 0.0, "maximum": 1.0}, mode="serialization"),
]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture; x1 and y1 are exclusive."""
Window = tuple[int, int, int, int]
"""The same of whole pixels."""
Points = Annotated[
    NDArray[np.float32],
    BeforeValidator(_points),
    PlainSerializer(lambda points: points.astype(float).round(2).tolist(), return_type=list[list[float]]),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2, "maxItems": 2},
        }
    ),
]
"""float32 (5, 2): x and y in pixels of the picture."""
_CONFIG = ConfigDict(arbitrary_types_allowed=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Pose:
    """How the head is turned, in degrees; all 0: the face looks straight into the camera."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    yaw: Degrees
    """Above 0 the nose points to the right of the picture."""
    pitch: Degrees
    """Above 0 the nose points up."""
    roll: Degrees
    """Above 0 the head leans clockwise as seen in the picture."""


@dataclass(frozen=True)
class Part:
    """One part of one face."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    id: int
    """Class id, the value in label maps."""
    name: str
    """Of its class."""
    area: int
    """How many pixels it has."""
    box: Window
    """x0, y0, x1, y1 in pixels; x1 and y1 are exclusive."""
    confidence: Share
    """Mean confidence of the part's pixels."""


@dataclass(frozen=True, kw_only=True)
class FaceFacts:
    """What is told of a face beside its masks. Left and right are the person's own."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    id: int
    """Number of the face in this answer, from 0."""
    box: tuple[Pixels, Pixels, Pixels, Pixels]
    """x0, y0, x1, y1 in pixels of the picture."""
    score: Share | None
    """How sure the detector is; null for boxes that the caller gave and for `faces=full`."""
    landmarks: Points | None
    """x, y of right eye, left eye, nose, right and left corner of the mouth; null where no detector found the face."""
    pose: Pose | None = None
    """Computed from the landmarks; null without them."""
    occluded: Share
    """Share of the face that something covers."""
    sharpness: Share | None = None
    """1 for a face in focus, near 0 for one that is blurred, by defocus or motion or because the picture has too few
    pixels of it; null where the server is older than this figure."""
    cut_by_crop: tuple[str, ...]
    """Names of the parts that go on beyond the aligned crop, which is all that the network sees."""
    cut_by_image: bool
    """Whether the face touches the picture's border."""
    parts: tuple[Part, ...]
    """Those that the face has, by rising id."""

    def as_json(self) -> dict[str, Any]:
        """Its members as values of JSON, rounded."""
        members: dict[str, Any] = FACTS.dump_python(self, mode="json")
        return members


FACTS: TypeAdapter[FaceFacts] = TypeAdapter(FaceFacts)
"""Reads and writes it."""
