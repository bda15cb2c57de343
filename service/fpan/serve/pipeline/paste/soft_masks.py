"""Soft masks: how much of each pixel a class covers, from the network's logits."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract.face import Window
from fpan.serve.pipeline.align.crop import Crop
from fpan.serve.pipeline.paste.labels import from_window
from fpan.serve.pipeline.types import SoftMask

_FULL = 255
_TILE = 512
"""Side in pixels of the part of the frame whose probabilities are computed at once: bounds the memory."""


def soft_masks(
    crop: Crop,
    window: Window,
    logits: NDArray[np.float32],
    ids: Sequence[int],
    check: Callable[[], None] = lambda: None,
) -> tuple[SoftMask, ...]:
    """The probabilities of classes in the frame of the photo.

    Where the face is larger than the crop, logits are sampled between their grid's points and the probabilities follow
    from them, as labels are made. Where it is smaller, each of the photo's pixels is as wide as several of the crop's,
    and gets the mean of their probabilities.

    Args:
        crop: where the face lies; of a crop in its own frame the matrix is the identity.
        window: the part of the frame to fill.
        logits: float (C, h, w), w and h the crop's size divided by the network's stride.
        ids: the classes that are wanted.
        check: raises where the work should be given up; asked now and then.

    Returns:
        By rising id, without classes that are nowhere as much as half a step of 255.
    """
    ids = sorted(ids)
    if not ids:  # nothing but background was found
        return ()
    x0, y0 = window[:2]
    if crop.enlargement > 1:
        values = _enlarged(crop, window, logits, ids, check)
    else:
        values = _averaged(crop, window, logits, ids)
    masks = []
    for number, of_class in zip(ids, values, strict=True):
        left, top, width, height = cv2.boundingRect(of_class)
        if width:
            part = of_class[top : top + height, left : left + width].copy()
            masks.append(SoftMask(number, (x0 + left, y0 + top, x0 + left + width, y0 + top + height), part))
    return tuple(masks)


def _enlarged(
    crop: Crop, window: Window, logits: NDArray[np.float32], ids: Sequence[int], check: Callable[[], None]
) -> NDArray[np.uint8]:
    """uint8 (ids, y1 - y0, x1 - x0)."""
    x0, y0, x1, y1 = window
    values = np.zeros((len(ids), y1 - y0, x1 - x0), np.uint8)
    to_grid = _to_grid(crop.size, logits.shape[2])
    for top, left in product(range(0, y1 - y0, _TILE), range(0, x1 - x0, _TILE)):
        check()
        tile = slice(top, top + _TILE), slice(left, left + _TILE)
        height, width = values[0][tile].shape
        at = (x0 + left, y0 + top, x0 + left + width, y0 + top + height)
        matrix = to_grid @ np.vstack([from_window(crop.matrix, at), [0, 0, 1]])
        shares = _softmax(_sampled(logits, matrix, width, height))
        outside = ~_inside(logits.shape[1:], matrix, width, height)
        for i, number in enumerate(ids):
            part = cv2.convertScaleAbs(shares[number], alpha=_FULL)
            part[outside] = 0
            values[i][tile] = part
    return values


def _averaged(crop: Crop, window: Window, logits: NDArray[np.float32], ids: Sequence[int]) -> NDArray[np.uint8]:
    """uint8 (ids, y1 - y0, x1 - x0)."""
    x0, y0, x1, y1 = window
    size = crop.size
    shares = _softmax(_sampled(logits, _to_grid(size, logits.shape[2]), size, size))
    # Points closer than the crop's pixels, then the mean of those that lie in one of the photo's.
    fine = math.ceil(1 / crop.enlargement)
    width, height = x1 - x0, y1 - y0
    to_photo = np.array([[1 / fine, 0, (1 / fine - 1) / 2], [0, 1 / fine, (1 / fine - 1) / 2], [0, 0, 1]])
    matrix = from_window(crop.matrix, window) @ to_photo
    outside = ~_inside((size, size), from_window(crop.matrix, window), width, height)
    values = np.zeros((len(ids), height, width), np.uint8)
    for i, number in enumerate(ids):
        sampled = _sampled(shares[number][None], matrix, width * fine, height * fine)[0]
        part = cv2.convertScaleAbs(cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA), alpha=_FULL)
        part[outside] = 0
        values[i] = part
    return values


def _to_grid(size: int, grid: int) -> NDArray[np.float64]:
    """From a crop's pixels to its grid's, whose pixel i has its centre at stride * i + (stride - 1) / 2 of the crop."""
    scale = grid / size
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])


def _sampled(maps: NDArray[np.float32], matrix: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = [cv2.warpAffine(m, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE) for m in maps]
    return np.stack(moved).astype(np.float32, copy=False)


def _inside(shape: tuple[int, ...], matrix: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels lie in a map of that shape, to whose pixels ``matrix`` goes."""
    ones = np.ones(shape, np.uint8)
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(ones, matrix, (width, height), flags=how) > 0)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = logits - logits.max(0)
    cv2.exp(shares.reshape(len(shares), -1), shares.reshape(len(shares), -1))
    shares /= shares.sum(0)
    return shares
