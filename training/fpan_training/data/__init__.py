"""Labelled pictures and what is done to them on their way to a network."""

from fpan_training.data.augment import Augment, AugmentConfig
from fpan_training.data.folder import FaceFolder, Sample
from fpan_training.data.loader import EpochSampler, SegmentationData, collate

__all__ = ["Augment", "AugmentConfig", "EpochSampler", "FaceFolder", "Sample", "SegmentationData", "collate"]
