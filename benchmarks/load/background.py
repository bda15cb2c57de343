"""What background work, that of jobs among it, takes from somebody who waits for an answer."""

import statistics
import threading
from dataclasses import dataclass, field, replace

from fpan.serve.api.context import BACKGROUND, PRIORITY

from benchmarks.load import generator, pictures
from benchmarks.load.contestants import gateway, running
from benchmarks.load.report import spread

CALLERS = 2
_LATER = {PRIORITY: BACKGROUND}


@dataclass
class Figures:
    """One value a round."""

    alone_ms: list[float] = field(default_factory=list)
    """Median latency of one who waits."""
    beside_ms: list[float] = field(default_factory=list)
    """The same, while background work goes on."""
    background_alone: list[float] = field(default_factory=list)
    """Pictures a second of background work."""
    background_beside: list[float] = field(default_factory=list)
    """The same, while somebody asks without a pause."""

    @property
    def slower(self) -> float:
        """How many times as long an answer takes."""
        return statistics.median(self.beside_ms) / statistics.median(self.alone_ms)


def measure(rounds: int, seconds: float) -> Figures:
    """Somebody who waits, background work, and both, in turn."""
    files = pictures.portraits()
    queries = pictures.raw("/v1/parse", files)
    later = [replace(query, headers={**query.headers, **_LATER}) for query in queries]
    figures = Figures()
    with running(gateway(), files[:2]) as server:
        for _ in range(rounds):
            figures.alone_ms.append(generator.closed(server.port, queries, 1, seconds).latency_ms(50))
            figures.background_alone.append(generator.closed(server.port, later, CALLERS, seconds).per_second)
            loads: list[generator.Load] = []

            def work(loads: list[generator.Load] = loads) -> None:
                loads.append(generator.closed(server.port, later, CALLERS, seconds))

            working = threading.Thread(target=work)
            working.start()
            figures.beside_ms.append(generator.closed(server.port, queries, 1, seconds).latency_ms(50))
            working.join()
            figures.background_beside.append(loads[0].per_second)
    return figures


def tell(figures: Figures) -> list[str]:
    """As Markdown."""
    return [
        "## Background work beside somebody who waits",
        "",
        f"Portraits, `faces=auto`: one caller without a pause, and {CALLERS} with `Priority: u=7`, as jobs ask.",
        "",
        f"- an answer takes {spread(figures.alone_ms)} ms, and **{spread(figures.beside_ms)} ms** beside background "
        f"work: {figures.slower:.2f} times as long",
        f"- background work does {spread(figures.background_alone)} pictures/s alone, and "
        f"{spread(figures.background_beside)} beside somebody who never pauses",
        "",
    ]
