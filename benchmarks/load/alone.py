"""The gateway by itself: cache, overload, memory."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import httpx
import numpy as np
import psutil

from benchmarks.load import generator, pictures
from benchmarks.load.contestants import Running, gateway, running
from benchmarks.load.report import Table, spread
from tests.support.service import free_ports

CALLERS = 16
OVERLOAD = 3.0
"""Times the capacity."""
_SENDERS = 400
_HITS = 200
_REPEATED = 0.1
_SAMPLE_EVERY = 250
_WARM_UP_SHARE = 0.2
MEGABYTE = 2**20


@dataclass
class Cache:
    """With a Redis on this machine."""

    miss_ms: list[float] = field(default_factory=list)
    hit_ms: list[float] = field(default_factory=list)
    off_per_s: list[float] = field(default_factory=list)
    repeats_per_s: list[float] = field(default_factory=list)


def cache(rounds: int, seconds: float) -> Cache:
    """Hits against misses, and mixed traffic of which a tenth repeats."""
    figures = Cache()
    for turn in range(rounds):
        fresh = pictures.mixed(400, seed=1000 * turn)
        repeats = [fresh[0] if i % round(1 / _REPEATED) == 0 else file for i, file in enumerate(fresh)]
        portraits = pictures.portraits()
        with (
            _redis() as address,
            running(gateway(REDIS_CACHE_URL=address, CACHE_KEY="the secret of a benchmark"), fresh[:1]) as server,
        ):
            queries = pictures.raw("/v1/parse", portraits)
            sender = generator.Sender(server.port)
            misses = [sender.ask(query, time.perf_counter()).seconds for query in queries]
            hits = [sender.ask(queries[i % 40], time.perf_counter()).seconds for i in range(_HITS)]
            figures.miss_ms.append(1000 * median(misses))
            figures.hit_ms.append(1000 * median(hits))
            load = generator.closed(server.port, pictures.raw("/v1/parse", repeats[1:]), CALLERS, seconds)
            figures.repeats_per_s.append(load.per_second)
        with running(gateway(), fresh[:1]) as server:
            load = generator.closed(server.port, pictures.raw("/v1/parse", fresh[1:]), CALLERS, seconds)
            figures.off_per_s.append(load.per_second)
    return figures


def tell_cache(figures: Cache) -> list[str]:
    """As Markdown."""
    ratios = [miss / hit for miss, hit in zip(figures.miss_ms, figures.hit_ms, strict=True)]
    return [
        "## Cache",
        "",
        f"A portrait, `faces=auto`, one caller: {spread(figures.miss_ms)} ms computed, {spread(figures.hit_ms)} ms "
        f"from a Redis on the same machine: **{spread(ratios)} times** faster (target 20). Mixed traffic of which a "
        f"tenth repeats: {spread(figures.repeats_per_s)} faces/s; without cache and repeats "
        f"{spread(figures.off_per_s)}.",
        "",
    ]


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is needed (Debian: apt install redis-server)")
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@dataclass
class Overload:
    """One value a round."""

    peak: list[float] = field(default_factory=list)
    goodput: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    """95th percentile of the time to a refusal."""
    refused: list[float] = field(default_factory=list)
    """Share of the requests."""
    accepted_p99_ms: list[float] = field(default_factory=list)
    bound_ms: list[float] = field(default_factory=list)
    """Requests that are let in at once, divided by the peak."""
    failed: int = 0
    """Answers that are neither 200 nor 429."""


def overload(rounds: int, seconds: float) -> Overload:
    """Three times as many requests as are answered at most."""
    figures = Overload()
    files = [(pictures.jpeg(np.roll(pictures.crop(), i, axis=1)), 1) for i in range(256)]
    queries = pictures.raw("/v1/parse?faces=full", files)
    limit = 32
    for turn in range(rounds):
        with running(gateway(MAX_CONCURRENCY=str(limit)), files[:2]) as server:
            peak = generator.closed(server.port, queries, CALLERS, seconds)
            own = peak.sender_cpu_s / max(1, len(peak.answers))
            times = generator.poisson(OVERLOAD * peak.per_second, seconds, seed=turn)
            load = generator.opened(server.port, queries, times, _SENDERS)
        # What the senders of two thirds more requests take of the processors, the server cannot have.
        answered = sum(told.status == 200 for told in load.answers)
        extra = max(0.0, load.sender_cpu_s - own * answered) / (2 * seconds)
        figures.peak.append(peak.per_second)
        figures.goodput.append(load.per_second / (1 - extra))
        figures.refused_ms.append(load.latency_ms(95, 429))
        figures.refused.append(sum(told.status == 429 for told in load.answers) / len(load.answers))
        figures.accepted_p99_ms.append(load.latency_ms(99))
        figures.bound_ms.append(1000 * limit / peak.per_second)
        figures.failed += sum(told.status not in (200, 429) for told in load.answers)
    return figures


def tell_overload(figures: Overload) -> list[str]:
    """As Markdown."""
    ratios = [good / peak for good, peak in zip(figures.goodput, figures.peak, strict=True)]
    return [
        "## Overload",
        "",
        f"{OVERLOAD:g} times the capacity ({spread(figures.peak)} pictures/s, `faces=full`), `MAX_CONCURRENCY=32`, the "
        "senders' own processor time subtracted:",
        "",
        f"- goodput **{spread(ratios, 2)}** of the peak (target 0.9)",
        f"- {spread([100 * share for share in figures.refused], 0)} % are refused, 95 % of these within "
        f"**{spread(figures.refused_ms)} ms** (target 50)",
        f"- accepted ones: 99 % within {spread(figures.accepted_p99_ms, 0)} ms; all that are let in at once take "
        f"{spread(figures.bound_ms, 0)} ms",
        f"- neither 200 nor 429: {figures.failed}",
        "",
    ]


@dataclass
class Memory:
    """Of the gateway's process and of Triton below it."""

    requests: list[int] = field(default_factory=list)
    gateway_mb: list[float] = field(default_factory=list)
    all_mb: list[float] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """MB of the gateway's process per 1,000 requests, after the warm-up."""
        first = round(len(self.requests) * _WARM_UP_SHARE)
        return float(np.polyfit(self.requests[first:], self.gateway_mb[first:], 1)[0] * 1000)


def memory(requests: int) -> Memory:
    """So many mixed requests: whole crops, portraits, groups; PNG, JSON, polygons, overlays; some that are refused."""
    crops = [(pictures.jpeg(np.roll(pictures.crop(), i, axis=1)), 1) for i in range(200)]
    queries = pictures.raw("/v1/parse?faces=full", crops)
    for i, output in enumerate(("rle", "polygons", "overlay", "alpha,confidence", "redact", "npz")):
        for query in pictures.raw(f"/v1/parse?faces=full&output={output}", crops[i::10]):
            queries.append(generator.Query(query.path, query.body, {"Content-Type": "image/jpeg"}))
    queries += pictures.raw("/v1/parse", pictures.portraits(10))
    queries += pictures.raw("/v1/parse", pictures.mixed(6, seed=3))
    queries += pictures.raw("/v1/parse?faces=nobody", crops[:10]) + pictures.raw("/v1/parse", [(b"no picture", 0)] * 10)
    order = np.random.default_rng(0).permutation(len(queries))
    shuffled = [queries[i] for i in order]
    figures = Memory()
    with running(gateway(), crops[:2]) as server:
        sent = 0
        while sent < requests:
            times = [0.0] * _SAMPLE_EVERY
            generator.opened(server.port, shuffled[sent % len(shuffled) :] + shuffled, times, 8)
            sent += _SAMPLE_EVERY
            figures.requests.append(sent)
            figures.gateway_mb.append(server.process.memory_info().rss / MEGABYTE)
            figures.all_mb.append(_rss(server))
            print(f"{sent} requests: {figures.gateway_mb[-1]:.1f} MB", file=sys.stderr, flush=True)
        httpx.get(f"http://127.0.0.1:{server.port}/v1/health/ready").raise_for_status()
    return figures


def tell_memory(figures: Memory) -> list[str]:
    """As Markdown."""
    table = Table("requests", "gateway, MB", "with Triton and its networks, MB")
    for i in np.linspace(0, len(figures.requests) - 1, 9).round().astype(int):
        table.row(str(figures.requests[i]), f"{figures.gateway_mb[i]:.1f}", f"{figures.all_mb[i]:.1f}")
    return [
        "## Memory",
        "",
        f"{figures.requests[-1]} mixed requests, eight at once: resident memory of the gateway's process grows by "
        f"**{figures.slope:.2f} MB per 1,000** after the first fifth (target: at most 1), and is "
        f"**{figures.gateway_mb[-1]:.0f} MB** at the end (target: at most 300).",
        "",
        *table.lines,
        "",
    ]


def _rss(server: Running) -> float:
    total = 0
    for each in server.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_info().rss
    return total / MEGABYTE
