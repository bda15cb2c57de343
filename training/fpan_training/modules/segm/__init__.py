"""SEGM, the segmentation network that is served: architectures behind one interface, loss, training step."""

from fpan_training.modules.segm.model import ARCHITECTURES, SegmConfig, build
from fpan_training.nets.interface import SegmNetwork, SegmOutput

__all__ = ["ARCHITECTURES", "SegmConfig", "SegmNetwork", "SegmOutput", "build"]
