"""Parsed faces by hand, for tests of what is made of them."""

from functools import cache

import numpy as np
from fpan.contract import FaceClass, Taxonomy
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.paste import measure
from fpan.serve.pipeline.paste.labels import keep_only
from fpan.serve.pipeline.types import Box, FaceFigures, Labels, ParsedFace, Window
from numpy.typing import ArrayLike

SIZE = 64
"""Of crops here."""
NAMES = ("background", "skin", "l_eye", "r_eye", "hair", "occlusion")
TAXONOMY = Taxonomy(
    name="small",
    classes=tuple(
        FaceClass(id=i, name=n, title=n, colour=(i, i, i), partner={2: 3, 3: 2}.get(i, i)) for i, n in enumerate(NAMES)
    ),
    groups={"face": ("skin", "l_eye", "r_eye")},
)


def crop(matrix: ArrayLike) -> align.Crop:
    """A black crop that lies so in the picture."""
    return align.Crop(np.zeros((SIZE, SIZE, 3), np.uint8), np.asarray(matrix, float))


def parsed_face(
    labels: Labels,
    window: Window,
    taxonomy: Taxonomy = TAXONOMY,
    *,
    confidence: Labels | None = None,
    kept: frozenset[int] | None = None,
    id: int = 0,
    box: Box = (0, 0, 1, 1),
    score: float | None = None,
    cut_by_crop: tuple[str, ...] = (),
) -> ParsedFace:
    """A face whose label map fills ``window``, which no border of the picture cuts."""
    sure = np.full(labels.shape, 128, np.uint8) if confidence is None else confidence
    shown = labels if kept is None else keep_only(labels, kept, taxonomy.background)

    @cache
    def figures() -> FaceFigures:
        return measure.face_figures(labels, sure, taxonomy, window[:2], kept, cut_by_crop, cut_by_image=False)

    return ParsedFace(id, box, score, None, window, shown, sure, figures)
