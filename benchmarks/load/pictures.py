"""What is sent: portraits, and pictures of one to eight faces, made of one photo in the public domain."""

import random
from io import BytesIO

import cv2
import numpy as np
from PIL import Image
from skimage import data

from benchmarks.load.generator import Query

JPEG = {"Content-Type": "image/jpeg", "Accept": "image/png"}
_QUALITY = 90
_HEAD = (slice(0, 300), slice(80, 380))
"""Of the astronaut."""
_HEAD_SIDE = 240
_COLUMNS = 4


def jpeg(pixels: np.ndarray) -> bytes:
    """RGB, uint8 (H, W, 3), as a file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def portrait(seed: int = 0) -> np.ndarray:
    """512 x 512 pixels with one face; each seed another brightness, so that no two are the same file."""
    photo = np.asarray(data.astronaut())
    return np.clip(photo.astype(int) + seed % 40 - 20, 0, 255).astype(np.uint8)


def crop() -> np.ndarray:
    """A face as the network takes it, 256 x 256 pixels."""
    return np.asarray(cv2.resize(np.asarray(data.astronaut())[:256, 100:356], (256, 256)), np.uint8)


def group(faces: int, seed: int) -> np.ndarray:
    """So many heads beside and above each other, each a little larger or smaller."""
    chance = random.Random(seed)
    rows = -(-faces // _COLUMNS)
    columns = min(faces, _COLUMNS)
    canvas = np.full((rows * _HEAD_SIDE, columns * _HEAD_SIDE, 3), 120, np.uint8)
    for i in range(faces):
        side = chance.randrange(180, _HEAD_SIDE + 1)
        head = cv2.resize(portrait(chance.randrange(40))[_HEAD], (side, side), interpolation=cv2.INTER_AREA)
        y, x = (i // _COLUMNS) * _HEAD_SIDE, (i % _COLUMNS) * _HEAD_SIDE
        canvas[y : y + side, x : x + side] = head
    return canvas


def portraits(count: int = 40) -> list[tuple[bytes, int]]:
    """Files with one face, and that they have one."""
    return [(jpeg(portrait(i)), 1) for i in range(count)]


def mixed(count: int = 64, seed: int = 5) -> list[tuple[bytes, int]]:
    """Files with one to eight faces, and how many each has."""
    chance = random.Random(seed)
    sizes = [chance.randint(1, 8) for _ in range(count)]
    return [(jpeg(group(faces, seed + i)), faces) for i, faces in enumerate(sizes)]


def raw(path: str, files: list[tuple[bytes, int]]) -> list[Query]:
    """As raw bodies."""
    return [Query(path, body, JPEG, float(faces)) for body, faces in files]


def form(path: str, files: list[tuple[bytes, int]], **fields: str) -> list[Query]:
    """As multipart forms, which LitServe wants."""
    edge = "-----------------------------edge"
    queries = []
    for body, faces in files:
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n'
        whole = b"".join(
            (*parts, head.encode(), b"Content-Type: image/jpeg\r\n\r\n", body, f"\r\n--{edge}--\r\n".encode())
        )
        queries.append(Query(path, whole, {"Content-Type": f"multipart/form-data; boundary={edge}"}, float(faces)))
    return queries
