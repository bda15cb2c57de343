"""What the client answers with. Coordinates are pixels of the picture, x to the right, y down; x1, y1 exclusive."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.client._masks import Mask
from fpan.client._pictures import grey_png


@dataclass(frozen=True)
class ModelVersion:
    """The version of a model that answered."""

    name: str
    version: int
    sha256: str
    alias: str | None = None
    """champion, challenger or shadow, as it was asked for; None where it has no alias."""


@dataclass(frozen=True)
class Part:
    """A part of one face."""

    id: int
    """Class id, the value in label maps."""
    name: str
    area: int
    """In pixels."""
    box: tuple[int, int, int, int]
    confidence: float
    """Mean over the part's pixels, 0 to 1."""


@dataclass(frozen=True)
class Face:
    """One face."""

    id: int
    box: tuple[float, float, float, float]
    score: float | None
    """Of the detector, 0 to 1; None where it was not asked."""
    landmarks: NDArray[np.float32] | None
    """float (5, 2): right eye, left eye, nose, right and left corner of the mouth (the person's own right and left)."""
    occluded: float
    """Share of the face that something covers, 0 to 1."""
    cut_by_crop: tuple[str, ...]
    """Names of parts that the crop's border cuts although the picture goes on."""
    cut_by_image: bool
    parts: tuple[Part, ...]
    mask: Mask = field(repr=False)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of this face alone, uint8 (H, W) of the whole picture; decoded when first asked for."""
        return self.mask.labels

    def part(self, name: str) -> NDArray[np.bool_]:
        """Where one part of this face is, bool (H, W); all False where the face has no such part."""
        return self.mask.of(name)


@dataclass(frozen=True)
class Result:
    """What is known of a picture."""

    request_id: str
    width: int
    height: int
    taxonomy: str
    """Name of the set of classes; :meth:`Client.labels` has it whole."""
    model: ModelVersion
    faces: tuple[Face, ...]
    reason: str | None
    """Why there is no face, where there is none."""
    notes: tuple[str, ...]
    """What the caller should know, e.g. that only the first frame was read."""
    timing_ms: dict[str, float]
    """Milliseconds by stage."""
    mask: Mask = field(repr=False)
    raw: dict[str, Any] = field(repr=False)
    """The server's JSON."""
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    """PNG files by name, those that were asked for."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of all faces, uint8 (H, W); decoded when first asked for."""
        return self.mask.labels

    @cached_property
    def confidence(self) -> NDArray[np.uint8] | None:
        """Largest probability of each pixel, uint8 (H, W), 255 = certain; None unless among ``pictures``."""
        data = self.pictures.get("confidence")
        return None if data is None else grey_png(data)


@dataclass(frozen=True)
class Health:
    """How the server is."""

    live: bool
    ready: bool
    detail: str
    """Why it is not ready, in the server's words; empty when it is."""
