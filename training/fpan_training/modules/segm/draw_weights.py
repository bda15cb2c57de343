"""`fpan-train weights`: the weights of Eq. 2 drawn over pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, list_pictures, read_rgb
from fpan_training.modules.predictions import FacePrediction, PredictionStore
from fpan_training.modules.segm.weights import WeightConfig, large_pose, pixel_weights

_INCHES = 2.6
"""Side of a picture."""
_DPI = 90


@dataclass(frozen=True)
class DrawWeights:
    """Draws what Eq. 2 makes of LOM's and PPM's predictions: the landmarks, hidden ones in red, and the weights."""

    data: Path
    """Folder with ``images/``."""
    predictions: Path
    """Its store of `fpan-train predictions`."""
    out: Path
    """Picture to write."""
    count: int = 6
    """Pictures that are drawn, spread evenly over those with an prediction."""
    weights: WeightConfig = field(default_factory=lambda: WeightConfig(lambda_o=1.0, lambda_p=1.0))

    def __call__(self) -> Path:
        """Draws and returns the picture's path.

        Raises:
            DataError: no picture has an prediction.
        """
        store = PredictionStore(self.predictions)
        known = [path for path in list_pictures(self.data) if store.path(path.stem).is_file()]
        if not known:
            raise DataError(
                f"{self.predictions} has no prediction about {self.data}: run `fpan-train predictions` on it"
            )
        chosen = [known[i * len(known) // self.count] for i in range(min(self.count, len(known)))]
        predictions = [
            (read_rgb(path), prediction) for path in chosen if (prediction := store.get(path.stem)) is not None
        ]
        self.out.parent.mkdir(parents=True, exist_ok=True)
        draw_weights(predictions, self.weights).savefig(self.out, dpi=_DPI)
        return self.out


def draw_weights(pictures: Sequence[tuple[NDArray[np.uint8], FacePrediction]], config: WeightConfig) -> Figure:
    """Above each picture with its landmarks, below its weights, all on one scale.

    Args:
        pictures: RGB uint8 (H, W, 3), and what LOM and PPM say of each.
        config: of the weights.
    """
    figure = Figure(figsize=(_INCHES * len(pictures) + 0.8, 2 * _INCHES + 0.6), layout="constrained")
    above, below = figure.subplots(2, len(pictures), squeeze=False)
    high = 1 + config.lambda_o + config.lambda_p
    for top, bottom, (image, prediction) in zip(above, below, pictures, strict=True):
        hidden = prediction.visibility < config.visible
        weights = pixel_weights(prediction.points, prediction.visibility, prediction.angles, image.shape[:2], config)
        top.imshow(image)
        top.scatter(*prediction.points[~hidden].T, s=1.5, c="#1ed26e")
        top.scatter(*prediction.points[hidden].T, s=4, c="#ff3030")
        top.set_title(f"{hidden.sum()} of {len(hidden)} hidden", fontsize=8)
        bottom.imshow(image)
        shown = bottom.imshow(weights, vmin=1, vmax=high, cmap="inferno", alpha=0.65)
        yaw, pitch, roll = prediction.angles
        share = large_pose(prediction.angles, config.theta)
        bottom.set_title(f"yaw {yaw:.0f}, pitch {pitch:.0f}, roll {roll:.0f}: p = {share:.2f}", fontsize=8)
        for axes in (top, bottom):
            axes.set_axis_off()
            axes.set_xlim(-0.5, image.shape[1] - 0.5)
            axes.set_ylim(image.shape[0] - 0.5, -0.5)
    figure.colorbar(shown, ax=below.tolist(), label="w, Eq. 2", shrink=0.9)
    return figure
