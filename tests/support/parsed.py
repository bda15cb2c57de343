"""Parsed faces by hand, for tests of what is made of them."""

from functools import cache

import numpy as np
from fpan.contract import AlignmentTemplate, FaceClass, Taxonomy
from fpan.contract.face import Box, FaceFacts, Window
from fpan.contract.figures import occluded_share
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.paste import measure
from fpan.serve.pipeline.paste.labels import keep_only
from fpan.serve.pipeline.types import Labels, ParsedFace
from numpy.typing import ArrayLike

SIZE = 64
"""Of crops here."""
TEMPLATE = AlignmentTemplate(
    points=((0.35, 0.45), (0.65, 0.45), (0.5, 0.6), (0.38, 0.75), (0.62, 0.75)),
    box=(0.25, 0.2, 0.75, 0.9),
    fitted_on="nothing",
    residual=0.0,
)
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
    def facts() -> FaceFacts:
        area, sureness = measure.sums_by_class(labels, sure)
        parts = measure.part_facts(labels, area, sureness, taxonomy, window[:2], kept)
        occluded = occluded_share(area, taxonomy)
        return face_facts(id=id, box=box, score=score, occluded=occluded, cut_by_crop=cut_by_crop, parts=parts)

    return ParsedFace(id, box, score, None, window, shown, sure, facts)


def face_facts(**members: object) -> FaceFacts:
    """What is told of a face about which nothing is known but these members."""
    plain = {"id": 0, "box": (0.0, 0.0, 1.0, 1.0), "score": None, "landmarks": None, "occluded": 0.0, "sharpness": 0.5}
    return FaceFacts(**{**plain, "cut_by_crop": (), "cut_by_image": False, "parts": (), **members})
