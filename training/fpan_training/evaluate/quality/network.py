"""A segmentation network that is measured, whatever computes it, and what it says of a whole picture."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.evaluate.measure import Prediction

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
"""(2, 3): from the pixels of one picture to those of another; whole numbers are pixel centres."""


class Network(Protocol):
    """An ONNX file of a version, or a PyTorch checkpoint."""

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        ...

    @property
    def taxonomy(self) -> Taxonomy:
        """Of its classes."""
        ...

    def logits(self, crop: Image) -> NDArray[np.float32]:
        """One run: a crop, RGB uint8 (S, S, 3), to float32 (classes, S / stride, S / stride)."""
        ...


class Crop(NamedTuple):
    """A picture as a network takes it, with the way there."""

    pixels: Image
    """RGB, uint8 (S, S, 3)."""
    matrix: Matrix
    """From the picture's pixels to the crop's."""


def whole(image: Image, size: int) -> Crop:
    """The whole picture, uint8 (H, W, 3), as one face, as the service takes it with ``faces=full``: shrunk by area so
    that its longer side fills the crop, black beside it.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.zeros((size, size, 3), np.uint8)
    resized = image if inner == (width, height) else cv2.resize(image, inner, interpolation=how)
    pixels[top : top + inner[1], left : left + inner[0]] = resized
    x, y = inner[0] / width, inner[1] / height
    # A pixel's centre lies half a pixel from its edge in both pictures.
    return Crop(pixels, np.array([[x, 0, left + (x - 1) / 2], [0, y, top + (y - 1) / 2]]))


def paste(logits: NDArray[np.float32], crop_size: int, matrix: Matrix, shape: tuple[int, int]) -> torch.Tensor:
    """Logits of a crop where a picture's pixels lie, interpolated linearly as the service does it.

    Args:
        logits: float32 (classes, h, w).
        crop_size: side of the crop in pixels.
        matrix: from the picture's pixels to the crop's.
        shape: height and width of the picture.

    Returns:
        float32 (classes, H, W); beyond the crop, those of its nearest border.
    """
    ys, xs = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in shape), indexing="ij")
    m = [[float(value) for value in row] for row in matrix]
    # `grid_sample` counts from -1 to 1, from edge to edge of the crop.
    at = [(m[i][0] * xs + m[i][1] * ys + m[i][2] + 0.5) * (2 / crop_size) - 1 for i in range(2)]
    grid = torch.stack(at, -1)[None]
    values = torch.from_numpy(logits)[None]
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]


@dataclass(frozen=True)
class Parsed:
    """What a network said of a whole picture in one run."""

    network: Network
    crop: Crop
    logits: NDArray[np.float32]
    """float32 (classes, S / stride, S / stride)."""
    shape: tuple[int, int]
    """Height and width of the picture."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Label map at the picture's own size, uint8 (H, W)."""
        return self.labels_in(np.eye(2, 3), self.shape)

    @property
    def labels_at_input(self) -> NDArray[np.uint8]:
        """Label map at the network's input size, uint8 (S, S): that which its graph gives."""
        size = self.network.input_size
        return _labels(paste(self.logits, size, np.eye(2, 3), (size, size)))

    def labels_in(self, matrix: Matrix, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Label map in the frame of another picture, uint8 ``shape``, whose pixels ``matrix`` takes to this one's."""
        through = self.crop.matrix @ np.vstack([matrix, [0, 0, 1]])
        return _labels(paste(self.logits, self.network.input_size, through, shape))

    def prediction(self, temperature: float = 1.0) -> Prediction:
        """Label map at the picture's own size and the probability of each label, the logits divided by a temperature
        before the softmax.
        """
        scaled = self.logits / np.float32(temperature)
        pasted = paste(scaled, self.network.input_size, self.crop.matrix, self.shape)
        confidence, labels = pasted.softmax(0).max(0)
        return Prediction(labels.to(torch.uint8).numpy(), confidence.numpy())


def parse(network: Network, image: Image) -> Parsed:
    """Runs a network once on a whole picture of any size, RGB uint8 (H, W, 3), as one face."""
    crop = whole(image, network.input_size)
    return Parsed(network, crop, network.logits(crop.pixels), (image.shape[0], image.shape[1]))


def _labels(logits: torch.Tensor) -> NDArray[np.uint8]:
    return logits.argmax(0).to(torch.uint8).numpy()
