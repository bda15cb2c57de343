"""A segmentation model as the pipeline asks it."""

from dataclasses import dataclass

from fpan.contract import AliasName, AlignmentTemplate, ModelCard, Taxonomy
from fpan.serve.inference.batcher import Batcher
from fpan.serve.pipeline.drift import FaceWindow


@dataclass(frozen=True)
class Segmenter:
    """A segmentation model that can be asked."""

    card: ModelCard
    batcher: Batcher
    alias: AliasName | None = None
    """What it is, as the name says by which it was asked for."""
    window: FaceWindow | None = None
    """Counts the faces that are parsed with this version, by whatever name; None: nobody counts."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Of its label maps."""
        assert self.card.taxonomy is not None
        return self.card.taxonomy

    @property
    def template(self) -> AlignmentTemplate:
        """Where it expects a face."""
        assert self.card.alignment is not None
        return self.card.alignment
