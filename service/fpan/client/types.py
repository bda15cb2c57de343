"""What the client answers with. Coordinates are pixels of the picture, x to the right, y down; x1, y1 exclusive."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fpan.client._masks import Mask
from fpan.client._pictures import grey_png
from fpan.client._shapes import Polygon, SoftMasks
from fpan.contract.face import FaceFacts, Part, Pose

__all__ = ["CoveredFace", "CropFrame", "Face", "Health", "Job", "ModelVersion", "Part", "Pose", "Result"]


@dataclass(frozen=True)
class ModelVersion:
    """The version of a model that answered."""

    name: str
    version: int
    sha256: str
    alias: str | None = None
    """champion, challenger or shadow, as it was asked for; None where it has no alias."""
    precision: str | None = None
    """What it is computed in: fp32, int8 or bf16; None where the server is older than that."""


@dataclass(frozen=True)
class CropFrame:
    """A face's aligned crop, with ``frame="crop"``."""

    size: int
    """Side in pixels."""
    matrix: NDArray[np.float64]
    """(2, 3): from the picture's pixels to the crop's; whole numbers are pixel centres."""


@dataclass(frozen=True)
class CoveredFace:
    """How a face of a redacted picture was covered."""

    id: int
    whole: bool
    """Whether its whole box is covered, and not its mask alone."""
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Face(FaceFacts):
    """One face: what is told of it, and its masks."""

    mask: Mask = field(repr=False)
    polygons: dict[str, tuple[Polygon, ...]] | None = field(default=None, repr=False)
    """Outlines of this face alone by class; None unless among the outputs."""
    alpha_masks: SoftMasks | None = field(default=None, repr=False)
    """See :meth:`alpha`; None unless ``alpha`` is among the outputs."""
    crop: CropFrame | None = None
    """Whose pixels masks, parts and outlines count, with ``frame="crop"``; box and landmarks count the picture's."""
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    """PNG files of the crop by name, with ``frame="crop"``."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of this face alone, uint8 (H, W) of the picture, or its crop; decoded when first asked for."""
        return self.mask.labels

    def alpha(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel one part covers, uint8 (H, W), 255 = wholly; zero where the face has no such part.

        Raises:
            ValueError: soft masks were not asked for.
            UnexpectedAnswer: the server's cannot be decoded.
        """
        if self.alpha_masks is None:
            raise ValueError('soft masks come when they are asked for: parse(..., output=["alpha"])')
        return self.alpha_masks.of(name)

    @property
    def soft(self) -> SoftMasks | None:
        """Former name of :attr:`alpha_masks`, which warns."""
        _renamed("soft", "alpha_masks")
        return self.alpha_masks

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
    raw: Any = field(repr=False)
    """The server's own answer: its JSON, or over gRPC its ``faceparsing.v1.ParseResponse``."""
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    """PNG files by name, those that were asked for; with ``frame="crop"`` each face has its own."""
    polygons: dict[str, tuple[Polygon, ...]] | None = field(default=None, repr=False)
    """Outlines of all faces by class; None unless among the outputs."""
    npz: bytes | None = field(default=None, repr=False)
    """The file that ``numpy.load`` reads (see :meth:`Client.arrays`); None unless among the outputs."""
    redact: tuple[CoveredFace, ...] = ()
    """How each face was covered, where ``redact`` is among the outputs."""

    @property
    def covered(self) -> tuple[CoveredFace, ...]:
        """Former name of :attr:`redact`, which warns."""
        _renamed("covered", "redact")
        return self.redact

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of all faces, uint8 (H, W), (0, 0) with ``frame="crop"``; decoded when first asked for."""
        return self.mask.labels

    def alpha(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel one part of any face covers, uint8 (H, W): the largest where faces overlap.

        Raises:
            ValueError: soft masks were not asked for, or each face has a frame of its own.
            UnexpectedAnswer: the server's cannot be decoded.
        """
        if any(face.crop for face in self.faces):
            raise ValueError("every face has a frame of its own: ask the faces")
        whole = np.zeros((self.height, self.width), np.uint8)
        for face in self.faces:
            np.maximum(whole, face.alpha(name), out=whole)
        return whole

    @cached_property
    def confidence(self) -> NDArray[np.uint8] | None:
        """Largest probability of each pixel, uint8 (H, W), 255 = certain; None unless among the outputs."""
        data = self.pictures.get("confidence")
        return None if data is None else grey_png(data)


@dataclass(frozen=True)
class Job:
    """Pictures that were handed in together."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    done: int
    """Pictures that are parsed."""
    failed: int
    """Those of them that have an error instead of a result."""
    total: int
    detail: str
    """Why it failed as a whole, in the server's words; empty where it did not."""
    raw: dict[str, Any] = field(repr=False)
    """The server's JSON."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in ("queued", "running")


@dataclass(frozen=True)
class Health:
    """How the server is."""

    live: bool
    ready: bool
    detail: str
    """Why it is not ready, in the server's words; empty when it is."""


def _renamed(former: str, name: str) -> None:
    warnings.warn(f"{former} is called {name}", DeprecationWarning, stacklevel=3)
