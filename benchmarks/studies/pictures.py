"""How long it takes to read and to write pictures of 12 megapixels: ``python -m benchmarks.studies.pictures``."""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from fpan.contract import FaceClass, Taxonomy
from fpan.rle import decode_classes, encode_classes
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.encode import confidence_png, cutout_png, indexed_png, overlay_png
from numpy.typing import NDArray

from benchmarks.studies.runtime import machine
from tests.support.helpers_images import DISPLAY_P3, exif, file_of, rgb_profile

WIDTH, HEIGHT = 4000, 3000
CLASSES = 20
RESULT = Path("docs/results/pictures.md")


def photo() -> NDArray[np.uint8]:
    """A face, enlarged, with the noise of a sensor; uint8 (3000, 4000, 3)."""
    large = cv2.resize(skimage.data.astronaut(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).integers(-6, 7, large.shape)
    return np.clip(large.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def label_map() -> NDArray[np.uint8]:
    """Overlapping discs of 19 classes on a third of the picture, uint8 (3000, 4000)."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(1, CLASSES):
        cv2.circle(labels, (1000 + i * 90, 1500 + i % 5 * 60), 900 - i * 40, i, -1)
    return labels


def cases() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    pixels, labels = photo(), label_map()
    colours = np.random.default_rng(1).integers(0, 256, (CLASSES, 3)).tolist()
    classes = tuple(FaceClass(id=i, name=f"c{i}", title="", colour=colours[i], partner=i) for i in range(CLASSES))
    taxonomy = Taxonomy(name="study", classes=classes)
    names = {c.id: c.name for c in classes[1:]}
    files = {
        "JPEG": file_of("jpeg", pixels, quality=90, subsampling=2),
        "JPEG, to be turned": file_of("jpeg", pixels, quality=90, subsampling=2, exif=exif(6)),
        "JPEG, Display P3": file_of(
            "jpeg", pixels, quality=90, subsampling=2, icc_profile=rgb_profile(DISPLAY_P3, 2.2, "P3")
        ),
        "HEIC": file_of("heic", pixels, quality=50, chroma=420, enc_params={"preset": "ultrafast"}),
        "WebP": file_of("webp", pixels, lossless=False, quality=85, method=0),
        "AVIF": file_of("avif", pixels, quality=70, subsampling="4:2:0"),
        "PNG": file_of("png", pixels, compress_level=1),
    }
    encoded = encode_classes(labels, names)
    return {
        **{
            f"read {kind}": lambda d=data: decode(d, max_pixels=2**26, orientation="exif")
            for kind, data in files.items()
        },
        "write indexed PNG": lambda: indexed_png(labels, taxonomy),
        "write overlay PNG": lambda: overlay_png(pixels, labels, taxonomy),
        "write cut-out PNG": lambda: cutout_png(pixels, labels, taxonomy),
        "write confidence PNG": lambda: confidence_png(labels),
        "write run lengths": lambda: encode_classes(labels, names),
        "read run lengths": lambda: decode_classes(encoded),
    }


def milliseconds(work: Callable[[], object], times: int) -> list[float]:
    """Of each of several calls, after one that is not counted."""
    work()
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9, help="calls of each")
    times = parser.parse_args().times
    load = os.getloadavg()[0]
    lines = [
        "# Reading and writing pictures",
        "",
        f"`python -m benchmarks.studies.pictures --times {times}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}, "
        f"load average {load:.1f} at the start.",
        f"{WIDTH} x {HEIGHT} pixels; one thread, save what libraries start. Milliseconds of {times} calls.",
        "",
        "| step | median | least | most |",
        "|---|---:|---:|---:|",
    ]
    for name, work in cases().items():
        taken = milliseconds(work, times)
        lines.append(f"| {name} | {statistics.median(taken):.0f} | {min(taken):.0f} | {max(taken):.0f} |")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
