"""What is measured of a parsed crop, by the gateway and by training alike."""

import numpy as np
from numpy.typing import NDArray

from fpan.contract.taxonomy import Taxonomy

OCCLUSION = "occlusion"
"""Name of the class of what covers a face."""
FACE_GROUP = "face"
"""Name of the group of classes that are the face itself."""
CERTAIN = 255
"""Confidence of a pixel whose class is beyond doubt."""
CONFIDENCE, OCCLUDED = "confidence", "occluded"
AREA = "area_"
"""How the names of those quantities begin that are the area of a class."""


def area_of(class_name: str) -> str:
    """Name of the quantity that is the area of a class."""
    return AREA + class_name


def occluded_share(area: NDArray[np.int64], taxonomy: Taxonomy) -> float:
    """Share of the face's area that is labelled ``occlusion``, 0 to 1; 0 where the taxonomy has no such class.

    Args:
        area: pixels of each class, int (256,).
    """
    covering = sum(int(area[c.id]) for c in taxonomy.classes if c.name == OCCLUSION)
    face = sum(int(area[taxonomy.id_of(name)]) for name in taxonomy.groups.get(FACE_GROUP, ()))
    return covering / (face + covering) if covering else 0.0


def crop_figures(labels: NDArray[np.uint8], confidence: NDArray[np.uint8], taxonomy: Taxonomy) -> dict[str, float]:
    """What drift watches of one crop as the network answers it, by name of the quantity, all 0 to 1.

    They are ``area_CLASS``, the share of the crop's pixels, for every class; ``confidence``, the mean over what is not
    background, left out where all is; and ``occluded``.

    Args:
        labels: uint8 (size, size); ``confidence`` alike.
        taxonomy: of the labels.
    """
    area = np.bincount(labels.ravel(), minlength=256)
    figures = {area_of(c.name): float(area[c.id] / labels.size) for c in taxonomy.classes}
    if pixels := labels.size - int(area[taxonomy.background]):
        # A sum by class would take several times as long.
        sureness = int(np.multiply(confidence, labels != taxonomy.background).sum(dtype=np.int64))
        figures[CONFIDENCE] = sureness / pixels / CERTAIN
    figures[OCCLUDED] = occluded_share(area, taxonomy)
    return figures
