"""Settings of the rollout of versions."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from fpan.serve.setting_types import Address, ComponentSettings, Mark, NonNegative, Positive, Seconds, Share, refused


class RolloutSettings(ComponentSettings):
    """Which versions answer, and how they are validated, compared and watched."""

    model_repository: Annotated[Address, Mark.FOR_ONE_COMMAND] = Path("model_repository")
    """The model repository: a folder, or s3://BUCKET/PREFIX, from which what is served is fetched."""
    segm_model: Annotated[str, Mark.FOR_ONE_COMMAND] = "segm"
    """Name of the segmentation model that answers when a request names none."""
    detector_model: Annotated[str, Mark.FOR_ONE_COMMAND] = "detector"
    """Name of the face detector in the model repository."""
    registry_poll_s: Seconds = 0.5
    """How often the aliases in the model repository are read, in seconds; what they name is brought into traffic."""
    golden_agreement: Annotated[Share, Mark.FOR_ONE_COMMAND] = 0.995
    """Least share of the pixels of a version's golden pictures that must have the right label before it may answer."""
    shadow_share: Share = 1.0
    """Share of the requests whose crops go to the version that is shadow too, once the champion has answered."""
    shadow_queue: Positive = 32
    """Crops that may wait for the shadow; those beyond are not compared."""
    watch_window_s: Seconds = 600
    """How far back the requests go by which a challenger or a new champion is judged, in seconds."""
    watch_min_requests: Positive = 50
    """Requests within the window without which nothing is judged."""
    watch_error_rate: Share = 0.05
    """Errors of a version, as a share of its requests and beyond those of the version before, that take it back."""
    watch_latency_ratio: Annotated[float, Field(ge=1)] = 2.0
    """Time of a crop (95th percentile), as a multiple of the version's before, that takes a version back."""
    watch_latency_floor_ms: NonNegative = 20.0
    """How much longer a crop must take besides for a version to be too slow, in milliseconds."""
    watch_champion_s: Seconds = 600
    """How long a new champion is judged beside the former, in seconds."""
    drift_window_faces: Positive = 2000
    """Newest faces of each version that are compared with the reference in its card."""
    drift_min_faces: Positive = 300
    """Fewest faces that are compared; with less, chance alone looks like drift."""

    @model_validator(mode="after")
    def _window_holds_the_fewest_faces(self) -> Self:
        fewest, window = self.drift_min_faces, self.drift_window_faces
        if fewest > window:
            raise refused(
                "drift_min_faces",
                fewest,
                f"{fewest} faces are more than the {window} of DRIFT_WINDOW_FACES: lower it too",
            )
        return self
