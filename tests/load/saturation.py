"""Throughput alone, of the gateway and the two best of its peers: minutes instead of a quarter of an hour."""

from dataclasses import dataclass, field

from tests.load import generator, pictures
from tests.load.contestants import Contestant, gateway, peers, running
from tests.load.report import Table, spread

CALLERS = 16
BEST = ("BentoML", "LitServe")
_DISTINCT, _SEED = 64, 5


@dataclass
class Figures:
    """Of one contestant, one value a round."""

    portraits: list[float] = field(default_factory=list)
    """Pictures a second."""
    cores: list[float] = field(default_factory=list)
    """Processors that it kept busy meanwhile."""
    faces: list[float] = field(default_factory=list)
    """Faces a second of mixed traffic."""


def measure(rounds: int, seconds: float) -> dict[str, Figures]:
    """All in turn."""
    portraits = [(pictures.jpeg(pictures.portrait(i)), 1) for i in range(40)]
    groups = pictures.mixed(_DISTINCT, _SEED)
    contestants: list[Contestant] = [gateway(), *(each for each in peers() if each.name in BEST)]
    figures = {each.name: Figures() for each in contestants}
    for turn in range(rounds):
        for each in contestants if turn % 2 else contestants[::-1]:
            with running(each, portraits[:2]) as server:
                before = server.cpu_s()
                mine = figures[each.name]
                load = generator.closed(server.port, each.queries(portraits), CALLERS, seconds)
                mine.portraits.append(load.per_second)
                mine.cores.append((server.cpu_s() - before) / seconds)
                mine.faces.append(generator.closed(server.port, each.queries(groups), CALLERS, seconds).per_second)
    return figures


def tell(figures: dict[str, Figures]) -> list[str]:
    """As Markdown."""
    table = Table("server", "portraits/s", "cores busy", "mixed, faces/s")
    for name, mine in figures.items():
        table.row(name, spread(mine.portraits), spread(mine.cores, 2), spread(mine.faces))
    return [
        "## Against other servers: throughput alone",
        "",
        f"{CALLERS} callers who ask as soon as they are answered. Portraits of 512 x 512 pixels with one face, and "
        "pictures of one to eight faces; `faces=auto`, a PNG, nothing cached. The others have two processes of one "
        "thread each (`tests/load/peers/`), the same decoding, detector, network, runtime and PNG.",
        "",
        *table.lines,
        "",
    ]
