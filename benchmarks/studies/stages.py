"""Where the time of a request goes: decode, detect, queue, infer, paste, encode.

    python -m benchmarks.studies.stages

starts the service on this machine, sends each picture `RUNS` times after a warm-up, one request at a time and the
pictures in turn, and writes ``docs/results/stages.md``.
"""

import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO

import httpx
import numpy as np
from fpan_training.engine.machine import machine
from PIL import Image
from skimage import data

from tests.conftest import read_group_photo
from tests.support import service as services

RUNS = 9
WARM_UP = 2
STAGES = ("decode", "detect", "queue", "infer", "paste", "encode")
RESULT = services.ROOT / "docs" / "results" / "stages.md"


def jpeg(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


def pictures() -> dict[str, tuple[bytes, dict[str, str]]]:
    """By name: file and options."""
    astronaut = np.asarray(data.astronaut())
    canvas = np.full((3000, 4000, 3), 120, np.uint8)
    canvas[800:1312, 1500:2012] = astronaut
    portrait = np.asarray(Image.fromarray(astronaut[:300, 80:380]).resize((3000, 3000), Image.Resampling.LANCZOS))
    return {
        "portrait 512 x 512, `faces=full`": (jpeg(astronaut), {"faces": "full"}),
        "portrait 512 x 512": (jpeg(astronaut), {}),
        "six faces, 1280 x 886": (read_group_photo(), {}),
        "one small face in 4000 x 3000": (jpeg(canvas), {}),
        "one face filling 3000 x 3000": (jpeg(portrait), {}),
    }


def spread(values: list[float]) -> str:
    """Median, and the middle half."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """Measures and writes."""
    rows: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    faces: dict[str, int] = {}
    sent = pictures()
    answers: dict[str, Callable[[httpx.Client, bytes, dict[str, str]], httpx.Response]] = {
        "PNG": lambda client, body, options: client.post(
            "/v1/parse", content=body, params=options, headers={"Accept": "image/png", "Content-Type": "image/jpeg"}
        ),
        "JSON": lambda client, body, options: client.post(
            "/v1/parse", content=body, params=options, headers={"Content-Type": "image/jpeg"}
        ),
    }
    with services.running() as service, httpx.Client(base_url=service.url, timeout=60) as client:
        networks = service.announced[-1].split(maxsplit=1)[1]
        for turn in range(WARM_UP + RUNS):
            for name, (body, options) in sent.items():
                for kind, ask in answers.items():
                    began = time.perf_counter()
                    answer = ask(client, body, options)
                    total = (time.perf_counter() - began) * 1000
                    answer.raise_for_status()
                    if kind == "JSON":
                        faces[name] = len(answer.json()["faces"])
                    if turn < WARM_UP:
                        continue
                    told = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
                    for stage in STAGES:
                        rows[name, kind][stage].append(float(told.get(stage, 0)))
                    rows[name, kind]["total"].append(total)
    head = "| picture | faces | answer | " + " | ".join(STAGES) + " | whole request |"
    lines = [
        "# Where the time of a request goes",
        "",
        f"`python -m benchmarks.studies.stages` on {machine()}, Python {platform.python_version()}, "
        f"{datetime.now(UTC).date()}, nothing else running. Networks: {networks}.",
        "",
        f"Milliseconds: median of {RUNS} requests and, in brackets, the middle half. One request at a time, over HTTP "
        "on the same machine; the pictures take turns. `queue` is time spent waiting for a batch, `infer` includes the "
        "way to Triton and back.",
        "",
        head,
        "|" + "---|" * (len(STAGES) + 4),
    ]
    for (name, kind), values in rows.items():
        cells = [spread(values[stage]) for stage in (*STAGES, "total")]
        lines.append(f"| {name} | {faces[name]} | {kind} | " + " | ".join(cells) + " |")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
