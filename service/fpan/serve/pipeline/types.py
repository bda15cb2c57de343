"""What the stages of the pipeline hand to each other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fpan.contract.face import Box, FaceFacts, Window

Labels = NDArray[np.uint8]
"""A label map, or the confidence of each of its pixels: uint8 (H, W)."""


@dataclass(frozen=True)
class Photo:
    """A decoded picture."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (H, W, 3), turned upright as EXIF says unless ``orientation=raw``."""
    format: str
    """Name of the file format: ``jpeg``, ``png``, ``webp``, ``avif``, ``heic``, ``gif`` or ``tiff``."""
    frames: int = 1
    """Frames of an animated picture; only the first is decoded."""

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Detection:
    """A face that the detector found."""

    box: Box
    score: float
    landmarks: NDArray[np.float32]
    """Five points, float (5, 2), in pixels of the picture, in the order of ``fpan.contract.FIVE_POINTS``."""


@dataclass(frozen=True)
class SoftMask:
    """How much of each pixel one class of one face covers."""

    id: int
    """Of the class."""
    window: Window
    """The smallest that holds all that is not zero, in the frame of the answer."""
    values: NDArray[np.uint8]
    """uint8 (y1 - y0, x1 - x0): 255 = wholly."""


@dataclass(frozen=True)
class CropFrame:
    """A face's aligned crop, for answers in its frame."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (size, size, 3): what the network saw; black where the picture has no pixels."""
    matrix: NDArray[np.float64]
    """(2, 3): from the picture's pixels to the crop's; whole numbers are pixel centres."""

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class ParsedFace:
    """One face in the frame of the picture, or of its own crop where ``crop`` is set.

    Box and landmarks are always in the picture's.
    """

    id: int
    box: Box
    score: float | None
    """Of the detector; None for a box that the caller gave and for ``faces=full``."""
    landmarks: NDArray[np.float32] | None
    window: Window
    """Part of the picture that ``labels`` covers."""
    labels: Labels
    """This face alone: label map of the window, (y1 - y0, x1 - x0)."""
    confidence: Labels
    """Largest probability of each pixel of the window, 255 = certain; same shape."""
    measure: Callable[[], FaceFacts]
    """Gives ``facts``, the same each time. It takes longer than pasting, and an answer that is a picture tells none of
    them: they are made when somebody asks."""
    alpha: tuple[SoftMask, ...] = ()
    """By rising id, where they were asked for."""
    crop: CropFrame | None = None
    """Whose pixels ``window``, ``labels`` and the parts count, with ``frame=crop``."""

    @property
    def facts(self) -> FaceFacts:
        """What is told of it in numbers and words. Asking computes: it belongs in a worker thread."""
        return self.measure()


@dataclass(frozen=True)
class ParseResult:
    """What is known of a picture."""

    width: int
    height: int
    labels: Labels
    """All faces together, (height, width); (0, 0) with ``frame=crop``, where each face has a frame of its own."""
    confidence: Labels
    """Same shape; 255 where no face is."""
    faces: tuple[ParsedFace, ...]
    reason: str | None = None
    """Why there is no face, when there is none."""
    notes: tuple[str, ...] = ()
    """What the caller should know, e.g. that only the first frame was read."""
    timing_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage: decode, detect, queue, infer, paste, encode."""
    unparsed: tuple[Box, ...] = ()
    """Boxes of faces that were found but of whose crop the picture shows nothing: ``redact`` covers them whole."""
    frame: Literal["image", "crop"] = "image"
