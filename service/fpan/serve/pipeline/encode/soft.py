"""Soft masks as grey pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.serve.pipeline.encode.plain import png
from fpan.serve.pipeline.types import ParsedFace, ParseResult, SoftMask


def alpha_png(mask: SoftMask) -> bytes:
    """A grey PNG of a soft mask, as large as its window: 255 = wholly of the class."""
    return png(mask.values)


def matte_png(result: ParseResult) -> bytes:
    """A grey PNG as large as the picture: how much of each pixel any of the soft masks of any face covers."""
    return png(matte(result))


def face_matte_png(face: ParsedFace) -> bytes:
    """The same of one face alone, as large as its window."""
    return png(face_matte(face))


def matte(result: ParseResult) -> NDArray[np.uint8]:
    """The soft mask of all classes together, uint8 (H, W): the sum of a face's, the largest of several faces'."""
    whole = np.zeros((result.height, result.width), np.uint8)
    for face in result.faces:
        x0, y0, x1, y1 = face.window
        part = whole[y0:y1, x0:x1]
        np.maximum(part, face_matte(face), out=part)
    return whole


def face_matte(face: ParsedFace) -> NDArray[np.uint8]:
    """The soft mask of all classes of a face together, uint8 of its window."""
    x0, y0, x1, y1 = face.window
    total = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for mask in face.alpha:
        left, top, right, bottom = mask.window
        part = total[top - y0 : bottom - y0, left - x0 : right - x0]
        part[:] = cv2.add(part, mask.values)  # which ends at 255
    return total


def class_mask(face: ParsedFace, number: int) -> NDArray[np.uint8]:
    """The soft mask of one class of a face, uint8 of its window; zero where it has none."""
    x0, y0, x1, y1 = face.window
    values = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for mask in face.alpha:
        if mask.id == number:
            left, top, right, bottom = mask.window
            values[top - y0 : bottom - y0, left - x0 : right - x0] = mask.values
    return values
