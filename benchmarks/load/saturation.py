"""Throughput alone, of the gateway and the two best of its peers: minutes instead of a quarter of an hour."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import Self

from benchmarks.load import generator, pictures
from benchmarks.load.contestants import PARTS, ROOT, Contestant, gateway, peers, running
from benchmarks.load.report import Table, spread

CALLERS = 16
OURS, ALONE = "this gateway", "this gateway, `BACKEND=in-process`"
BOUND = "the same work, no server"
BEST = ("BentoML", "LitServe")
PORTRAITS, MIXED = "portraits", "mixed"
_PROCESSES = 2


@dataclass
class Figures:
    """Of one contestant, one value a round."""

    portraits: list[float] = field(default_factory=list)
    """Pictures a second."""
    cores: list[float] = field(default_factory=list)
    """Processors that it kept busy meanwhile."""
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    """Processor time of a portrait, by part."""
    faces: list[float] = field(default_factory=list)
    """Faces a second of mixed traffic."""

    def add(self, kind: str, per_second: float, taken_s: float, faces: float, cpu_s: Mapping[str, float]) -> None:
        """One load of one kind.

        Args:
            kind: of pictures.
            per_second: faces a second.
            taken_s: how long it took until the last was answered, in seconds.
            faces: how many were answered until then.
            cpu_s: processor time that it took, in seconds, by part.
        """
        if kind == MIXED:
            self.faces.append(per_second)
            return
        self.portraits.append(per_second)
        self.cores.append(sum(cpu_s.values()) / taken_s)
        for part in PARTS:
            self.cpu_ms[part].append(1000 * cpu_s[part] / faces)

    @property
    def all_cpu_ms(self) -> list[float]:
        """Processor time of a portrait."""
        return [sum(parts) for parts in zip(*self.cpu_ms.values(), strict=True)]


class _Loops:
    """The same work in two processes of one thread that nobody asks."""

    def __enter__(self) -> Self:
        command, environment = (sys.executable, "-m", "benchmarks.load.loop"), {**os.environ, "PYTHONPATH": str(ROOT)}
        self._processes = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            for _ in range(_PROCESSES)
        ]
        for process in self._processes:
            _line(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait()
            process.stdout.close()

    def work(self, kind: str, seconds: float, mine: Figures) -> None:
        """All of them for so long."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds} {kind}\n")
        told = [json.loads(_line(process)) for process in self._processes]
        faces, taken = sum(each["faces"] for each in told), max(each["seconds"] for each in told)
        cpu_s = {part: sum(each["cpu_s"].get(part, 0.0) for each in told) for part in PARTS}
        mine.add(kind, faces / taken, taken, faces, cpu_s)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def measure(rounds: int, seconds: float) -> dict[str, Figures]:
    """All of them run, and are asked in turn, so many times: an hour ago another was as fast as this one is now."""
    files = {PORTRAITS: pictures.portraits(), MIXED: pictures.mixed()}
    contestants: list[Contestant] = [
        gateway(OURS),
        gateway(ALONE, BACKEND="in-process"),
        *(each for each in peers() if each.name in BEST),
    ]
    figures = {name: Figures() for name in (*(each.name for each in contestants), BOUND)}
    with ExitStack() as stack:
        loops = stack.enter_context(_Loops())
        servers = [(each, stack.enter_context(running(each, files[PORTRAITS][:2]))) for each in contestants]
        for kind, turn in product(files, range(rounds)):
            for each, server in servers if turn % 2 else servers[::-1]:
                before, began = server.cpu_s_by_part(), time.perf_counter()
                load = generator.closed(server.port, each.queries(files[kind]), CALLERS, seconds)
                taken, after = time.perf_counter() - began, server.cpu_s_by_part()
                faces = sum(told.weight for told in load.answers)
                cpu_s = {part: after[part] - before[part] for part in PARTS}
                figures[each.name].add(kind, load.per_second, taken, faces, cpu_s)
            loops.work(kind, seconds, figures[BOUND])
    return figures


def tell(figures: dict[str, Figures]) -> list[str]:
    """As Markdown."""
    table = Table("server", "portraits/s", "cores busy", "processor ms each", "mixed, faces/s")
    for name, mine in figures.items():
        table.row(name, spread(mine.portraits), spread(mine.cores, 2), spread(mine.all_cpu_ms, 0), spread(mine.faces))
    parts = Table("processor ms a portrait", OURS, BOUND)
    for part in PARTS:
        parts.row(part, *(spread(figures[name].cpu_ms[part]) for name in (OURS, BOUND)))
    return [
        "## Against other servers: throughput alone",
        "",
        f"{CALLERS} callers who ask as soon as they are answered. Portraits of 512 x 512 pixels with one face, and "
        "pictures of one to eight faces; `faces=auto`, a PNG, nothing cached. The others have two processes of one "
        "thread each (`tests/load/peers/`), the same decoding, detector, network, runtime and PNG. The last row is "
        "that work in two processes of one thread that nobody has to ask. All of them are started at once and take "
        "turns.",
        "",
        *table.lines,
        "",
        "Where the time of a portrait goes: the network and the detector's five looks have a process each within "
        "Triton; the gateway's own decodes, cuts looks and crops, pastes, encodes and speaks with everybody.",
        "",
        *parts.lines,
        "",
        "What was tried to win, and why it does not: [peers](peers.md).",
        "",
    ]
