"""The gateway against LitServe, BentoML, Ray Serve and bare FastAPI: the same work, the same cores."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import generator, pictures
from benchmarks.load.contestants import Contestant, Files, Running, gateway, peers, running
from benchmarks.load.report import Table, spread

CALLERS = 16
"""That ask as soon as they are answered, where throughput is measured."""
SHARE = 0.7
"""Of the best throughput, where latency is measured."""
BURST = 6
_SENDERS = 64


@dataclass
class Figures:
    """By contestant, one value a round."""

    portraits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Pictures a second at saturation."""
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Processor time of the server for a portrait."""
    p50: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    p99: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    mixed: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Faces a second at saturation."""
    mixed_p50: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    mixed_p99: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rate: float = 0.0
    """Portraits a second of the open load."""
    mixed_rate: float = 0.0
    """Pictures a second of the bursts."""


OURS = "this gateway"


def measure(rounds: int, seconds: float) -> Figures:
    """All in turn: once for the rates, then so many rounds."""
    portraits = pictures.portraits()
    groups = pictures.mixed()
    contestants = [gateway(OURS), *peers()]
    figures = Figures()
    for turn in range(rounds + 1):
        for each in contestants if turn % 2 else reversed(contestants):
            with running(each, portraits[:2]) as server:
                _saturate(figures, each, server, portraits, groups, seconds)
                if turn:
                    _open(figures, each, server.port, portraits, groups, seconds, turn)
        if not turn:
            figures.rate = SHARE * max(median(values) for values in figures.portraits.values())
            faces = sum(faces for _, faces in groups) / len(groups)
            figures.mixed_rate = SHARE * max(median(values) for values in figures.mixed.values()) / faces
    return figures


def _saturate(
    figures: Figures, each: Contestant, server: Running, portraits: Files, groups: Files, seconds: float
) -> None:
    before = server.cpu_s()
    load = generator.closed(server.port, each.queries(portraits), CALLERS, seconds)
    spent = server.cpu_s() - before
    figures.portraits[each.name].append(load.per_second)
    figures.cpu_ms[each.name].append(1000 * spent / max(1, len(load.answers)))
    figures.mixed[each.name].append(generator.closed(server.port, each.queries(groups), CALLERS, seconds).per_second)


def _open(
    figures: Figures, each: Contestant, port: int, portraits: Files, groups: Files, seconds: float, turn: int
) -> None:
    times = generator.poisson(figures.rate, 2 * seconds, seed=turn)
    load = generator.opened(port, each.queries(portraits), times, _SENDERS)
    figures.p50[each.name].append(load.latency_ms(50))
    figures.p99[each.name].append(load.latency_ms(99))
    times = generator.poisson(figures.mixed_rate, 2 * seconds, seed=turn, burst=BURST)
    load = generator.opened(port, each.queries(groups), times, _SENDERS)
    figures.mixed_p50[each.name].append(load.latency_ms(50))
    figures.mixed_p99[each.name].append(load.latency_ms(99))


def tell(figures: Figures, network_per_s: float) -> list[str]:
    """As Markdown."""
    table = Table("server", "portraits/s", "of the best peer", "processor ms each", "p50 ms", "p99 ms")
    groups = Table("server", "faces/s", "of the best peer", "bursts: p50 ms", "p99 ms")
    best = max(median(v) for name, v in figures.portraits.items() if name != OURS)
    best_mixed = max(median(v) for name, v in figures.mixed.items() if name != OURS)
    for name in figures.portraits:
        table.row(
            f"**{name}**" if name == OURS else name,
            spread(figures.portraits[name]),
            f"{median(figures.portraits[name]) / best:.2f}",
            spread(figures.cpu_ms[name], 0),
            spread(figures.p50[name], 0),
            spread(figures.p99[name], 0),
        )
        groups.row(
            f"**{name}**" if name == OURS else name,
            spread(figures.mixed[name]),
            f"{median(figures.mixed[name]) / best_mixed:.2f}",
            spread(figures.mixed_p50[name], 0),
            spread(figures.mixed_p99[name], 0),
        )
    return [
        "## Against other servers",
        "",
        "Each decodes with the same code, finds faces with the same detector, computes the same ONNX file with the "
        "same runtime (the first of the bare ones: ONNX Runtime) and answers with the same PNG. They have two "
        "processes of one thread each (`tests/load/peers/`), the gateway its defaults, all of them both cores. Nothing "
        "is cached.",
        "",
        f"Portraits of 512 x 512 pixels with one face, `faces=auto`. Throughput: {CALLERS} callers. Latency: requests "
        f"that come independently of each other, {figures.rate:.1f} a second ({SHARE:.0%} of the best throughput).",
        "",
        *table.lines,
        "",
        f"The network alone, without detector, decoding, pasting and PNG, does {network_per_s:.1f} faces a second.",
        "",
        "Mixed traffic: one to eight faces a picture. Throughput as above; latency with bursts of "
        f"{BURST} pictures at once, {figures.mixed_rate:.1f} pictures a second on average.",
        "",
        *groups.lines,
        "",
    ]
