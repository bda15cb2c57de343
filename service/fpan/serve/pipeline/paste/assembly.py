"""From the network's answers about crops to faces in the frame that was asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fpan.contract import AlignmentTemplate, Taxonomy
from fpan.contract.face import FaceFacts, Window
from fpan.contract.figures import OCCLUSION, occluded_share
from fpan.serve.api.errors import TooLarge
from fpan.serve.api.options import ParseOptions
from fpan.serve.inference.batcher import Arrays
from fpan.serve.pipeline.align.crop import Crop
from fpan.serve.pipeline.align.pose import solve
from fpan.serve.pipeline.align.targets import Target
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.paste import measure
from fpan.serve.pipeline.paste.soft_masks import soft_masks
from fpan.serve.pipeline.types import CropFrame, Labels, ParsedFace, Photo, SoftMask

Assembled = tuple[Labels, Labels, tuple[ParsedFace, ...]]
"""Label map and confidence of all faces together, as :class:`ParseResult` has them, and each face."""


@dataclass
class Assembly:
    """Puts the faces of one picture together. It computes: it belongs in a worker thread."""

    photo: Photo
    taxonomy: Taxonomy
    template: AlignmentTemplate | None
    """Where crops have the face; None: anywhere."""
    kept: frozenset[int] | None
    """Ids of the classes that the caller wants; None for all."""
    options: ParseOptions
    max_alpha_bytes: int
    """Most bytes of all soft masks together."""
    check: Callable[[], None]
    """Raises where the work should be given up."""
    _alpha_bytes: int = 0

    def __call__(self, targets: Sequence[Target], answers: Sequence[Arrays]) -> Assembled:
        """Puts them together.

        Raises:
            TooLarge: soft masks of too many classes of too large faces.
        """
        faces = []
        for i, (target, answer) in enumerate(zip(targets, answers, strict=True)):
            self.check()
            faces.append(self._face(i, target, answer))
        self.check()
        if self.options.frame == "crop":
            nothing = np.empty((0, 0), np.uint8)
            return nothing, nothing, tuple(faces)
        yields = [c.id for c in self.taxonomy.classes if c.name == OCCLUSION] + [self.taxonomy.ignore]
        sizes = [t.crop.enlargement for t in targets]
        size, background = (self.photo.width, self.photo.height), self.taxonomy.background
        labels, confidence = paste.together(faces, *size, sizes, background, yields)
        return labels, confidence, tuple(faces)

    def _face(self, i: int, target: Target, answer: Arrays) -> ParsedFace:
        told = np.asarray(answer["labels"], np.uint8), np.asarray(answer["confidence"], np.uint8)
        logits = np.asarray(answer["logits"], np.float32) if "logits" in answer else None
        crop, window, own = target.crop, target.window, None
        if self.options.frame == "crop":
            own = CropFrame(crop.pixels, crop.matrix)
            crop, window = Crop(crop.pixels, np.eye(2, 3)), (0, 0, crop.size, crop.size)
            labels, sure = told
        elif logits is not None and crop.enlargement > 1:
            labels, sure = paste.paste_probabilities(crop, window, logits, self.check)
        else:
            labels, sure = paste.paste_labels(crop, window, *told)
        alpha: tuple[SoftMask, ...] = ()
        if self.options.wants_alpha and logits is not None:
            alpha = self._alpha(crop, window, labels, logits)
        background, ignore = self.taxonomy.background, self.taxonomy.ignore
        if self.options.abstain is not None:
            labels = paste.abstained(labels, sure, self.options.abstain, ignore)
        return ParsedFace(
            id=i,
            box=target.box,
            score=target.score,
            landmarks=target.landmarks,
            window=window,
            labels=labels if self.kept is None else paste.keep_only(labels, self.kept, background, ignore),
            confidence=sure,
            measure=cache(lambda: self._facts(i, target, told, labels, sure, window)),
            alpha=alpha,
            crop=own,
        )

    def _facts(
        self, i: int, target: Target, told: tuple[Labels, Labels], labels: Labels, sure: Labels, window: Window
    ) -> FaceFacts:
        """Of a face whose crop the network ``told`` of, which is ``labels`` and ``sure`` in the answer's frame."""
        picture = (self.photo.width, self.photo.height)
        in_picture = labels
        if self.options.frame == "crop":
            in_picture, _ = paste.paste_labels(target.crop, target.window, *told)
        area, sureness = measure.sums_by_class(labels, sure)
        points = target.landmarks
        return FaceFacts(
            id=i,
            box=target.box,
            score=target.score,
            landmarks=points,
            pose=None if points is None else solve(points),
            occluded=occluded_share(area, self.taxonomy),
            sharpness=measure.sharpness(target.crop, self.template),
            cut_by_crop=measure.cut_parts(target.crop, told[0], *picture, self.taxonomy),
            cut_by_image=measure.reaches_border(target.window, picture, in_picture, self.taxonomy),
            parts=measure.part_facts(labels, area, sureness, self.taxonomy, window[:2], self.kept),
        )

    def _alpha(self, crop: Crop, window: Window, labels: Labels, logits: NDArray[np.float32]) -> tuple[SoftMask, ...]:
        """Of the kept classes; where all are, of those that the face has."""
        wanted = set(np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist())
        if self.kept is not None:
            wanted = set(self.kept)
        wanted = {i for i in wanted if i < len(logits)} - {self.taxonomy.background}
        self._alpha_bytes += len(wanted) * labels.size
        if self._alpha_bytes > self.max_alpha_bytes:
            most = f"the {self.max_alpha_bytes} bytes that those of one picture may have"
            raise TooLarge(f"the soft masks have more than {most}: name fewer classes or send a smaller picture")
        return soft_masks(crop, window, logits, sorted(wanted), self.check)
