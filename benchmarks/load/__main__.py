"""`make bench`: measures the gateway against Triton and against other servers, and writes docs/results/serving.md.

    python -m benchmarks.load                         # everything, about an hour
    python -m benchmarks.load --only triton overload  # some of it; the rest of the page stays as it is

Contestants take turns within a round, and rounds are repeated: figures are medians, with the least and the most of the
rounds. Nothing else may run meanwhile.
"""

import argparse
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from fpan.serve.inference.backends.runtime import Network

from benchmarks.load import against_peers, against_triton, alone, background, saturation
from benchmarks.load.contestants import ROOT

RESULT = ROOT / "docs" / "results" / "serving.md"
_HEAD = "<!-- {name} -->"


def network_per_s(seconds: float) -> float:
    """Faces a second of the network alone, on all cores."""
    import time

    network = Network(ROOT / "model_repository" / "segm" / "2" / "model.onnx", "openvino", 2)
    crops, outputs = {"images": np.zeros((8, 256, 256, 3), np.uint8)}, ("labels", "confidence")
    network.run(crops, outputs)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        network.run(crops, outputs)
        done += 8
    return done / (time.perf_counter() - began)


def main() -> None:
    """Measures what is asked for and writes it."""
    parts: dict[str, Callable[[argparse.Namespace], list[str]]] = {
        "triton": lambda a: against_triton.tell(against_triton.measure(a.rounds, a.seconds)),
        "saturation": lambda a: saturation.tell(saturation.measure(a.rounds, a.seconds)),
        "peers": lambda a: against_peers.tell(against_peers.measure(a.rounds, a.seconds), network_per_s(a.seconds)),
        "cache": lambda a: alone.tell_cache(alone.cache(a.rounds, a.seconds)),
        "background": lambda a: background.tell(background.measure(a.rounds, a.seconds)),
        "overload": lambda a: alone.tell_overload(alone.overload(a.rounds, a.seconds)),
        "memory": lambda a: alone.tell_memory(alone.memory(a.requests)),
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="parts; else all")
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody has a turn")
    parser.add_argument("--seconds", type=float, default=15, help="of each load; its first third is not counted")
    parser.add_argument("--requests", type=int, default=10_000, help="of the measurement of memory")
    asked = parser.parse_args()
    kept = _kept()
    for name in asked.only:
        print(f"measuring: {name}", flush=True)
        words = f"--rounds {asked.rounds} --seconds {asked.seconds:g}"
        if name == "memory":
            words = f"--requests {asked.requests}"
        made = f"`python -m benchmarks.load --only {name} {words}`, {datetime.now(UTC).date()}, {_machine()}"
        title, *rest = parts[name](asked)
        kept[name] = "\n".join([title, "", f"*{made}*", *rest]).strip()
        _write(kept, list(parts))
    print(RESULT.read_text())


def _kept() -> dict[str, str]:
    """What the page has of each part."""
    text = RESULT.read_text() if RESULT.exists() else ""
    pieces = re.split(r"<!-- (\w+) -->\n", text)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def _write(kept: dict[str, str], order: list[str]) -> None:
    names = "litserve", "bentoml", "ray", "fastapi", "onnxruntime", "openvino"
    lines = [
        "# What serving costs, and how it compares",
        "",
        "`make bench` makes this page. Versions: " + ", ".join(f"{name} {version(name)}" for name in names) + ".",
        "Medians of the rounds; in brackets the least and the most.",
        "",
    ]
    for name in order:
        if name in kept:
            lines += [_HEAD.format(name=name), kept[name], ""]
    RESULT.write_text("\n".join(lines))


def _machine() -> str:
    import os
    from pathlib import Path

    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
