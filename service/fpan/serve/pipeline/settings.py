"""Settings of the pipeline: decoding, detection, encoding."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fpan.serve.setting_types import ComponentSettings, Mark, Positive, Share, refused


class PipelineSettings(ComponentSettings):
    """How large a picture may be and how long it may take, which faces are found, and how answers are encoded."""

    deadline_ms: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 30_000
    """Time a request may take when it names no ``deadline_ms`` of its own, in milliseconds."""
    decode_threads: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 2
    """Pictures that are decoded or encoded at once."""
    background_concurrency: Annotated[Positive, Mark.FOR_ONE_COMMAND] = 1
    """Pictures of jobs, and of callers who would rather wait (``Priority: u=7``), that are in work at once."""
    max_pixels: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 64_000_000
    """Largest picture in pixels, told from its header before it is decoded."""
    max_pixels_in_flight: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 256_000_000
    """Pixels of all decoded pictures together, 5 bytes each, 14 in decoding; what finds no room waits for it."""
    max_faces: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 100
    """Faces of a picture that are parsed, the largest first; a request may ask for fewer."""
    max_face_pixels: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 256_000_000
    """Pixels of the windows of all faces of a picture together; a picture may not ask for more."""
    detector_threshold: Annotated[Share, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 0.8
    """Least detector score of a face."""
    redact_detector_threshold: Annotated[Share, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 0.6
    """Least detector score of a face for ``redact``, lower than ``detector_threshold``: rather a shoe is covered than a
    face left."""
    max_alpha_bytes: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 256 * 2**20
    """Bytes of the soft masks of all faces of a picture together: pixels of the faces' windows times classes."""
    polygon_tolerance_px: Annotated[float, Field(ge=0, le=100), Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 1.0
    """How far outlines of ``polygons`` may run from the true border where a request names no ``tolerance``: pixels."""
    max_outline_steps: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 500_000
    """Sides of pixels that the outlines of one answer may follow; a label map with longer borders is refused."""
    redact_cells: Annotated[Positive, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 6
    """How many cells of one colour each are left across a face that is blurred or pixelated."""
    redact_margin: Annotated[Share, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 0.05
    """How far beyond the mask, or the face's box, ``redact`` covers, as a share of the face's side."""
    redact_min_confidence: Annotated[Share, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 0.8
    """Least mean confidence of a mask that ``redact`` trusts; a face with a lower one is covered by its whole box."""
    redact_min_share: Annotated[Share, Mark.CHANGES_ANSWERS, Mark.FOR_ONE_COMMAND] = 0.5
    """Least share of a face's box that its mask must fill to be trusted where whole faces are redacted."""

    @model_validator(mode="after")
    def _largest_picture_fits(self) -> Self:
        largest, room = self.max_pixels, self.max_pixels_in_flight
        if room < largest:
            raise refused(
                "max_pixels_in_flight",
                room,
                f"a picture of {largest} pixels, which MAX_PIXELS allows, would never fit into {room}",
            )
        return self
