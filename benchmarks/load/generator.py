"""Sends pictures over HTTP and keeps when each was due, sent and answered.

Plain sockets of the standard library in threads: a request costs the sender a third of a millisecond, which is
measured and can be told from what the server takes of the same processor.
"""

import http.client
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

TIMEOUT_S = 120.0
_RAMP = 1 / 3
"""Share of a load before answers count."""


@dataclass(frozen=True)
class Query:
    """One request."""

    path: str
    body: bytes
    headers: dict[str, str]
    weight: float = 1.0
    """What it counts for where throughput is told, e.g. its faces."""


@dataclass(frozen=True)
class Told:
    """One answer."""

    due: float
    """When it should have been sent, ``time.perf_counter()``: waiting for a free sender counts as latency."""
    done: float
    status: int
    weight: float

    @property
    def seconds(self) -> float:
        """Latency."""
        return self.done - self.due


@dataclass
class Load:
    """What came of a load."""

    began: float
    ended: float = 0.0
    answers: list[Told] = field(default_factory=list)
    sender_cpu_s: float = 0.0
    """Processor time of the senders."""

    @property
    def steady(self) -> float:
        """From when on answers count: whoever shares its time fairly has none at first, and then all at once."""
        return self.began + _RAMP * (self.ended - self.began)

    @property
    def good(self) -> list[Told]:
        """Those that were answered with 200 within the steady time of the load."""
        return [told for told in self.answers if told.status == 200 and self.steady < told.done <= self.ended]

    @property
    def per_second(self) -> float:
        """Good answers a second, by weight."""
        return sum(told.weight for told in self.good) / (self.ended - self.steady)

    def latency_ms(self, percentile: float, status: int = 200) -> float:
        """Percentile of the latency of answers with that status; NaN where there is none."""
        values = [told.seconds * 1000 for told in self.answers if told.status == status]
        return float(np.percentile(values, percentile)) if values else float("nan")


class Sender:
    """Sends over one connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, query: Query, due: float) -> Told:
        """One request; an answer that never came has the status 0."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            self._connection.request("POST", query.path, query.body, query.headers)
            answer = self._connection.getresponse()
            answer.read()
            status = answer.status
            if answer.will_close:
                self._drop()
        except (OSError, http.client.HTTPException):
            self._drop()
            status = 0
        return Told(due, time.perf_counter(), status, query.weight)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def closed(port: int, queries: Sequence[Query], callers: int, seconds: float) -> Load:
    """Callers that ask again as soon as they are answered, for so many seconds; they go over the queries in turn."""
    turn = count()
    load = Load(time.perf_counter())
    load.ended = load.began + seconds

    def call() -> None:
        sender = Sender(port)
        while (now := time.perf_counter()) < load.ended:
            load.answers.append(sender.ask(queries[next(turn) % len(queries)], now))

    return _run(load, [call] * callers)


def opened(port: int, queries: Sequence[Query], times: Sequence[float], senders: int) -> Load:
    """Sends the queries in turn at these times, in seconds from now, whether or not earlier ones are answered."""
    load = Load(time.perf_counter())
    load.ended = load.began + (times[-1] if times else 0.0)
    turn, lock = iter(range(len(times))), threading.Lock()

    def call() -> None:
        sender = Sender(port)
        while True:
            with lock:
                i = next(turn, None)
            if i is None:
                return
            due = load.began + times[i]
            time.sleep(max(0.0, due - time.perf_counter()))
            load.answers.append(sender.ask(queries[i % len(queries)], due))

    return _run(load, [call] * senders)


def poisson(rate: float, seconds: float, seed: int, burst: int = 1) -> list[float]:
    """Times of requests that come independently of each other, ``burst`` at once, ``rate`` a second on average."""
    chance, times, now = random.Random(seed), [], 0.0
    while (now := now + chance.expovariate(rate / burst)) < seconds:
        times += [now] * burst
    return times


def _run(load: Load, calls: Sequence[Callable[[], None]]) -> Load:
    before = time.process_time()
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.sender_cpu_s = time.process_time() - before
    return load
