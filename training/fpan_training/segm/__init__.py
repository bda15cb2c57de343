"""SEGM, the segmentation network that is served: architectures behind one interface, loss, training step."""

from fpan_training.segm.interface import SegmNetwork, SegmOutput
from fpan_training.segm.model import ARCHITECTURES, SegmConfig, build

__all__ = ["ARCHITECTURES", "SegmConfig", "SegmNetwork", "SegmOutput", "build"]
