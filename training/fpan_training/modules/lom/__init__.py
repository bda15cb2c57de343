"""LOM, the landmark and occlusion module: 264 landmarks of a face crop, and which of them something covers."""

from fpan_training.modules.lom.model import INPUT_SIZE, Lom, LomConfig, LomOutput, load

__all__ = ["INPUT_SIZE", "Lom", "LomConfig", "LomOutput", "load"]
