"""Results of the client. Coordinates are pixels of the picture, x to the right, y down; x1, y1 exclusive."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fpan.client._decoding import Mask, Polygon, SoftMasks, grey_png
from fpan.contract.face import FaceFacts, Part, Pose

__all__ = ["CoveredFace", "CropFrame", "Face", "Health", "Job", "ModelVersion", "Part", "Pose", "Result"]


@dataclass(frozen=True)
class ModelVersion:
    """The model version that computed the answer."""

    name: str
    version: int
    sha256: str
    alias: str | None = None
    """champion, challenger or shadow, as the request named it; None without an alias."""
    precision: str | None = None
    """Numeric precision of the computation: fp32, int8 or bf16; None if the server is too old to report it."""


@dataclass(frozen=True)
class CropFrame:
    """A face's aligned crop, with ``frame="crop"``."""

    size: int
    """Side in pixels."""
    matrix: NDArray[np.float64]
    """float64 (2, 3): maps pixels of the picture to pixels of the crop; integer coordinates are pixel centres."""


@dataclass(frozen=True)
class CoveredFace:
    """How a face of a redacted picture was covered."""

    id: int
    whole: bool
    """True if its whole box is covered, False if only its mask is."""
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Face(FaceFacts):
    """One face: its measurements and its masks."""

    mask: Mask = field(repr=False)
    polygons: dict[str, tuple[Polygon, ...]] | None = field(default=None, repr=False)
    """Outlines of this face by class name; None unless ``polygons`` is among the outputs."""
    alpha_masks: SoftMasks | None = field(default=None, repr=False)
    """See :meth:`alpha`; None unless ``alpha`` is among the outputs."""
    crop: CropFrame | None = None
    """The crop in whose pixels masks, parts and outlines are given, with ``frame="crop"``; else None. Box and landmarks
    are always in pixels of the picture."""
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    """PNG files of the crop by name, with ``frame="crop"``."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of this face alone, uint8 (H, W), of the picture or of its crop; decoded on first access."""
        return self.mask.labels

    def alpha(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel one part covers, uint8 (H, W): 255 is all of it; all 0 if the face has no such part.

        Raises:
            ValueError: ``alpha`` is not among the outputs.
            UnexpectedAnswer: the server's soft mask cannot be decoded.
        """
        if self.alpha_masks is None:
            raise ValueError('soft masks come when they are asked for: parse(..., output=["alpha"])')
        return self.alpha_masks.of(name)

    @property
    def soft(self) -> SoftMasks | None:
        """Deprecated name of :attr:`alpha_masks`; emits a DeprecationWarning."""
        _renamed("soft", "alpha_masks")
        return self.alpha_masks

    def part(self, name: str) -> NDArray[np.bool_]:
        """The pixels of one part of this face, bool (H, W); all False if the face has no such part."""
        return self.mask.of(name)


@dataclass(frozen=True)
class Result:
    """The result for one picture."""

    request_id: str
    width: int
    height: int
    taxonomy: str
    """Name of the set of classes; :meth:`Client.labels` returns the classes themselves."""
    model: ModelVersion
    faces: tuple[Face, ...]
    reason: str | None
    """Why the result has no faces; None if it has some."""
    notes: tuple[str, ...]
    """What the caller should know, e.g. that only the first frame was read."""
    timing_ms: dict[str, float]
    """Stage -> duration in milliseconds."""
    mask: Mask = field(repr=False)
    raw: Any = field(repr=False)
    """The server's response: the decoded JSON, or over gRPC the ``faceparsing.v1.ParseResponse``."""
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Name -> PNG file, for the requested drawings; with ``frame="crop"`` each face has its own."""
    polygons: dict[str, tuple[Polygon, ...]] | None = field(default=None, repr=False)
    """Outlines of all faces by class name; None unless ``polygons`` is among the outputs."""
    npz: bytes | None = field(default=None, repr=False)
    """The file that ``numpy.load`` reads (see :meth:`Client.arrays`); None unless among the outputs."""
    redact: tuple[CoveredFace, ...] = ()
    """How each face was covered; empty unless ``redact`` is among the outputs."""

    @property
    def covered(self) -> tuple[CoveredFace, ...]:
        """Deprecated name of :attr:`redact`; emits a DeprecationWarning."""
        _renamed("covered", "redact")
        return self.redact

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map of all faces, uint8 (H, W), (0, 0) with ``frame="crop"``; decoded on first access."""
        return self.mask.labels

    def alpha(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel one part covers, for all faces, uint8 (H, W): the maximum where faces overlap.

        Raises:
            ValueError: ``alpha`` is not among the outputs, or each face has its own frame.
            UnexpectedAnswer: the server's soft mask cannot be decoded.
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
    """Pictures that were submitted together."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    done: int
    """Number of pictures that are finished, including those that failed."""
    failed: int
    """Number of finished pictures that have an error instead of a result."""
    total: int
    detail: str
    """Why the whole job failed, as the server reports it; empty if it did not fail."""
    raw: dict[str, Any] = field(repr=False)
    """The server's JSON."""

    @property
    def ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state not in ("queued", "running")


@dataclass(frozen=True)
class Health:
    """Health of the server."""

    live: bool
    ready: bool
    detail: str
    """Why the server is not ready, as it reports it; empty if it is ready."""


def _renamed(former: str, name: str) -> None:
    warnings.warn(f"{former} is called {name}", DeprecationWarning, stacklevel=3)
