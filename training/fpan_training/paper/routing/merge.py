"""DOM's occlusion and the part labels in one label map."""

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.label_space import LabelSpace
from fpan_training.paper.routing.decision import OCCLUSION, RoutingConfig, values_within


def merge(
    labels: NDArray[np.uint8], occluded: NDArray[np.float32], config: RoutingConfig, space: LabelSpace
) -> NDArray[np.uint8]:
    """The pseudo-label of an occluded picture, uint8 (H, W).

    Above the upper bound of ``config.unsure`` the pixel is occlusion; below the lower one it keeps its label; between
    them, bounds included, it is unknown. Classes that cover faces under names of their own (``config.covering``) stay.

    Args:
        labels: the parts, uint8 (H, W).
        occluded: DOM's probability of occlusion, float (H, W).
        config: bounds and covering classes.
        space: what the labels' values stand for. Occlusion and unknown have the taxonomy's own values in all of them.

    Raises:
        ValueError: the shapes differ.
    """
    if labels.shape != occluded.shape:
        raise ValueError(f"labels are {labels.shape}, probabilities of occlusion {occluded.shape}")
    low, high = config.unsure
    ids = np.array([space.taxonomy.id_of(OCCLUSION), space.taxonomy.ignore], np.uint8)
    open_to = ~values_within(space, config.covering)[labels]
    merged = np.where(open_to & (occluded >= low), ids[1], labels)
    return np.asarray(np.where(open_to & (occluded > high), ids[0], merged), np.uint8)
