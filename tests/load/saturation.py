"""Throughput alone, of the gateway and the two best of its peers: minutes instead of a quarter of an hour."""

import time
from dataclasses import dataclass, field

from tests.load import generator, pictures
from tests.load.contestants import PARTS, Contestant, gateway, peers, running
from tests.load.report import Table, spread

CALLERS = 16
OURS, ALONE = "this gateway", "this gateway, `BACKEND=in-process`"
BEST = ("BentoML", "LitServe")
_DISTINCT, _SEED = 64, 5


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

    @property
    def all_cpu_ms(self) -> list[float]:
        """Processor time of a portrait."""
        return [sum(parts) for parts in zip(*self.cpu_ms.values(), strict=True)]


def measure(rounds: int, seconds: float) -> dict[str, Figures]:
    """All in turn."""
    portraits = [(pictures.jpeg(pictures.portrait(i)), 1) for i in range(40)]
    groups = pictures.mixed(_DISTINCT, _SEED)
    contestants: list[Contestant] = [
        gateway(OURS),
        gateway(ALONE, BACKEND="in-process"),
        *(each for each in peers() if each.name in BEST),
    ]
    figures = {each.name: Figures() for each in contestants}
    for turn in range(rounds):
        for each in contestants if turn % 2 else contestants[::-1]:
            with running(each, portraits[:2]) as server:
                mine, before, began = figures[each.name], server.cpu_s_by_part(), time.perf_counter()
                load = generator.closed(server.port, each.queries(portraits), CALLERS, seconds)
                taken, after = time.perf_counter() - began, server.cpu_s_by_part()
                mine.portraits.append(load.per_second)
                mine.cores.append((sum(after.values()) - sum(before.values())) / taken)
                for part in PARTS:
                    mine.cpu_ms[part].append(1000 * (after[part] - before[part]) / len(load.answers))
                mine.faces.append(generator.closed(server.port, each.queries(groups), CALLERS, seconds).per_second)
    return figures


def tell(figures: dict[str, Figures]) -> list[str]:
    """As Markdown."""
    table = Table("server", "portraits/s", "cores busy", "processor ms each", "mixed, faces/s")
    for name, mine in figures.items():
        table.row(name, spread(mine.portraits), spread(mine.cores, 2), spread(mine.all_cpu_ms, 0), spread(mine.faces))
    parts = Table("of the gateway's", "processor ms a portrait")
    for part in PARTS:
        parts.row(part, spread(figures[OURS].cpu_ms[part]))
    return [
        "## Against other servers: throughput alone",
        "",
        f"{CALLERS} callers who ask as soon as they are answered. Portraits of 512 x 512 pixels with one face, and "
        "pictures of one to eight faces; `faces=auto`, a PNG, nothing cached. The others have two processes of one "
        "thread each (`tests/load/peers/`), the same decoding, detector, network, runtime and PNG.",
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
