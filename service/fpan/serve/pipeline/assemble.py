"""From the network's answers about crops to faces in the frame that was asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpan.contract import Taxonomy
from fpan.contract.figures import OCCLUSION
from fpan.serve.errors import TooLarge
from fpan.serve.inference.batcher import Arrays
from fpan.serve.pipeline import paste
from fpan.serve.pipeline.align import Crop
from fpan.serve.pipeline.options import ParseOptions
from fpan.serve.pipeline.soft import soft_masks
from fpan.serve.pipeline.targets import Target
from fpan.serve.pipeline.types import CropFrame, ParsedFace, Photo, SoftMask

Assembled = tuple[paste.Labels, paste.Labels, tuple[ParsedFace, ...]]
"""Label map and confidence of all faces together, as :class:`ParseResult` has them, and each face."""


@dataclass
class Assembly:
    """Puts the faces of one picture together. It computes: it belongs in a worker thread."""

    photo: Photo
    taxonomy: Taxonomy
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
        crop, photo = target.crop, self.photo
        crop_labels, crop_sure = (np.asarray(answer[name], np.uint8) for name in ("labels", "confidence"))
        logits = np.asarray(answer["logits"], np.float32) if "logits" in answer else None
        cut = paste.cut_parts(crop, crop_labels, photo.width, photo.height, self.taxonomy)
        source = paste.FaceSource(i, target.box, target.score, target.landmarks, cut)
        if self.options.frame == "crop":
            pasted, _ = paste.paste_labels(crop, target.window, crop_labels, crop_sure)
            own = Crop(crop.pixels, np.eye(2, 3))
            face = self._parsed(source, own, (0, 0, crop.size, crop.size), crop_labels, crop_sure, logits)
            at_border = paste.reaches_border(target.window, (photo.width, photo.height), pasted, self.taxonomy)
            return replace(face, cut_by_image=at_border, crop=CropFrame(crop.pixels, crop.matrix))
        if logits is not None and crop.enlargement > 1:
            labels, sure = paste.paste_probabilities(crop, target.window, logits, self.check)
        else:
            labels, sure = paste.paste_labels(crop, target.window, crop_labels, crop_sure)
        return self._parsed(source, crop, target.window, labels, sure, logits)

    def _parsed(
        self,
        source: paste.FaceSource,
        crop: Crop,
        window: paste.Window,
        labels: paste.Labels,
        sure: paste.Labels,
        logits: NDArray[np.float32] | None,
    ) -> ParsedFace:
        alpha: tuple[SoftMask, ...] = ()
        if self.options.wants_alpha and logits is not None:
            alpha = self._alpha(crop, window, labels, logits)
        if self.options.abstain is not None:
            labels = paste.abstained(labels, sure, self.options.abstain, self.taxonomy.ignore)
        size = (self.photo.width, self.photo.height)
        face = paste.parsed_face(source, window, labels, sure, self.taxonomy, size, self.kept)
        return replace(face, alpha=alpha) if alpha else face

    def _alpha(
        self, crop: Crop, window: paste.Window, labels: paste.Labels, logits: NDArray[np.float32]
    ) -> tuple[SoftMask, ...]:
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
