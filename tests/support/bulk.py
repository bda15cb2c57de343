"""What tests of bulk labelling share: an album, the command, and what it has written."""

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

SIDE = 96


def portraits(face: np.ndarray, count: int) -> list[bytes]:
    """JPEG files of one face, all unlike: RGB uint8 (H, W, 3) in."""
    found = []
    for number in range(count):
        picture = Image.fromarray(np.roll(face, number, axis=1)).resize((SIDE, SIDE + number % 5))
        file = BytesIO()
        picture.save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def album(folder: Path, pictures: list[bytes]) -> Path:
    """Writes pictures to a folder and two below it."""
    for number, data in enumerate(pictures):
        path = folder / ("", "deep.er", "deep.er/still")[number % 3] / f"p.{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def begin(*words: object) -> "subprocess.Popen[str]":
    """`fpan batch` as a process of its own."""
    command = [sys.executable, "-m", "fpan.cli", "batch", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_PROXY": "127.0.0.1"})


def rows(folder: Path | str) -> list[dict]:
    """Of all shards of Parquet, as a reader of the whole folder sees them."""
    return pq.read_table(folder).to_pylist()


def failed(folder: Path) -> dict[str, str]:
    """Path to problem of the pictures that are listed as failed."""
    lines = map(json.loads, (folder / "_failed.jsonl").read_text().splitlines())
    return {line["path"]: line["problem"] for line in lines}


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of a folder's shards."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("shard-*")}
