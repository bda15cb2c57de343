"""The 264 landmarks: the scheme, the teacher that finds them, the stores that keep them, and crops about them."""

from fpan_training.landmarks.crop import face_crop, warp_points
from fpan_training.landmarks.scheme import POINTS, SCHEME, Scheme
from fpan_training.landmarks.store import FaceRecord, FaceStore

__all__ = ["POINTS", "SCHEME", "FaceRecord", "FaceStore", "Scheme", "face_crop", "warp_points"]
