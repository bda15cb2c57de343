"""A trained PPM for whoever wants the pose of a face in a picture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.data.augment import warp_pair
from fpan_training.landmarks import SCHEME, face_crop, warp_points
from fpan_training.landmarks.crop import invert
from fpan_training.modules.ppm.model import PoseNetwork, PpmConfig, load
from fpan_training.modules.ppm.step import PoseStep


@dataclass(frozen=True)
class HeadPose:
    """PPM for whole pictures: it crops about the face's landmarks, as in training."""

    network: PoseNetwork
    step: PoseStep = field(default_factory=PoseStep)

    @classmethod
    def load(cls, path: Path) -> "HeadPose":
        """From a checkpoint that ``fpan-train train ppm`` made."""
        return cls(load(path))

    def __call__(self, image: NDArray[np.uint8], points264: NDArray[np.float32]) -> NDArray[np.float32]:
        """Yaw, pitch and roll in degrees, float32 (3,), of the face in a picture, RGB uint8 (H, W, 3), whose 264
        landmarks (264, 2) are known, if only roughly.
        """
        config = self.network.config
        matrix = crop_matrix(SCHEME.to68(points264), config)
        return self.of_crop(crop(image, matrix, config.input_size, mirrored_edges=True))

    def of_crop(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same for a crop of the network's own size."""
        return np.asarray(self.step.predict(self.network, torch.from_numpy(image)[None])[0], np.float32)


def crop_matrix(points68: NDArray[Any], config: PpmConfig) -> NDArray[np.float64]:
    """From a picture's pixels to its crop's, (2, 3).

    By the usual 68 points, not by all 264, so that pictures of public sets, which bring 68, are framed alike.
    """
    return np.asarray(face_crop(points68, config.input_size, config.margin), np.float64)


def crop(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, mirrored_edges: bool = False
) -> NDArray[np.uint8]:
    """The picture moved by ``matrix``, uint8 (size, size, 3).

    Where there is no picture it is black, or with ``mirrored_edges`` the picture's mirror image. The edge of a turned
    picture against black tells how far it was turned, and a network would learn to look at that instead of the face.
    """
    if mirrored_edges:
        corners = np.array([(x, y) for x in (0, size) for y in (0, size)], float)
        reached = warp_points(corners, invert(matrix))
        beyond = max(0.0, -float(reached.min()), *(reached.max(0) - image.shape[1::-1]).tolist())
        pad = min(int(np.ceil(beyond)), min(image.shape[:2]) - 1)
        image = np.asarray(cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101), np.uint8)
        matrix = np.column_stack([matrix[:, :2], matrix[:, 2] - matrix[:, :2] @ np.full(2, pad)])
    return warp_pair(image, np.zeros(image.shape[:2], np.uint8), matrix, size)[0]
