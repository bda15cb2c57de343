"""Faces covered by what people hold and wear before them, with labels of what is seen and of what lies beneath."""

from fpan_training.data.assets import Assets
from fpan_training.data.cutout import Cutout
from fpan_training.occlusion.generator import Occluded, OcclusionConfig, OcclusionGenerator

__all__ = ["Assets", "Cutout", "Occluded", "OcclusionConfig", "OcclusionGenerator"]
