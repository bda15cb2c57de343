"""What the faces of a data set are like, as the gateway will measure those of its callers: the reference of drift.

The file that is served answers every picture as one crop, which is what aligned pictures are, and the gateway's own
arithmetic (:func:`fpan.contract.figures.crop_figures`) measures the answer. How heads are turned, and how large faces
are in their photos, aligned pictures do not tell: `fpan models reference` takes that from live traffic.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fpan.contract import ModelCard, ReferenceHistogram
from fpan.contract.drift import count, grid_of, quantities
from fpan.contract.figures import crop_figures

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import FaceFolder
from fpan_training.release.export.onnx_file import INPUT, open_session


def measure_reference(
    model: Path, pictures: FaceFolder, card: ModelCard, source: str
) -> tuple[ReferenceHistogram, ...]:
    """The histograms of a split of aligned pictures: area of every class, confidence, occluded share.

    Args:
        model: the ONNX file that is served.
        pictures: the split.
        card: the version's; its taxonomy and input size count.
        source: name of the pictures, for the card.
    """
    figures = list(_figures(model, pictures, card))
    assert card.taxonomy is not None
    histograms = []
    for quantity in quantities(card.taxonomy):
        counts = count(grid_of(quantity), (each[quantity] for each in figures if quantity in each))
        if counts.any():
            histograms.append(ReferenceHistogram.of(quantity, grid_of(quantity), counts, source))
    return tuple(histograms)


def _figures(model: Path, pictures: FaceFolder, card: ModelCard) -> Iterator[dict[str, float]]:
    session = open_session(model)
    assert card.taxonomy is not None
    for i in range(len(pictures)):
        sample = pictures[i]
        crop = resize_pair(sample.image, sample.labels, card.input_size)[0]
        labels, confidence = session.run(["labels", "confidence"], {INPUT: np.stack([crop])})
        yield crop_figures(labels[0], confidence[0], card.taxonomy)
