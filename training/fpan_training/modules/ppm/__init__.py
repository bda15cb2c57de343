"""PPM, the head's pose: yaw, pitch and roll of a face crop (Ruiz et al. 2018; as an option Hempel et al. 2022)."""

from fpan_training.modules.ppm.model import PoseNetwork, PoseOutput, PpmConfig, load
from fpan_training.modules.ppm.predict import HeadPose

__all__ = ["HeadPose", "PoseNetwork", "PoseOutput", "PpmConfig", "load"]
