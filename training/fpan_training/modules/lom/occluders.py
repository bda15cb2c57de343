"""The occlusion generator as LOM uses it."""

from pathlib import Path

from fpan_training.data.assets import Assets, Split
from fpan_training.modules.lom.data import Occluder
from fpan_training.occlusion import OcclusionConfig, OcclusionGenerator
from fpan_training.taxonomy import TAXONOMY


def open_occluder(backgrounds: Path | None, occluders: Path | None, split: Split) -> Occluder:
    """The generator with a split's occluders; without folders it draws its own."""
    return OcclusionGenerator(OcclusionConfig(), Assets.open(backgrounds, occluders, split), TAXONOMY)
