"""Callers of a running service, who keep what they were told."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from tests.support.known_face import file_of

_PICTURES = itertools.cycle([file_of(np.full((64, 64, 3), 60 + shade, np.uint8)) for shade in range(64)])
"""One after the other, and more than are asked for at once: the service answers the same one in flight only once."""
SETTLED = 4
"""Answers more, until those to the requests that were under way have come."""
_PATIENCE_S = 30.0
_CALLERS = 4
_MEASURE_S = 2.0
_WAITING = 32


@dataclass
class Traffic:
    """What callers were told."""

    answers: list[tuple[set[int], int]] = field(default_factory=list)
    """The classes of the one face, and the version that the answer names."""
    failures: list[str] = field(default_factory=list)

    def ask(self, client: httpx.Client) -> None:
        """One request."""
        try:
            answer = client.post("/v1/parse", params={"faces": "full"}, content=next(_PICTURES))
            answer.raise_for_status()
            told = answer.json()
            (face,) = told["faces"]
            self.answers.append(({part["id"] for part in face["parts"]}, told["model"]["version"]))
        except Exception as error:  # whatever goes wrong is a failed request
            self.failures.append(repr(error))


@contextmanager
def asking(url: str, per_second: float) -> Iterator[Traffic]:
    """Sends requests at a rate, whether or not earlier ones have been answered, until the block ends."""
    traffic, over = Traffic(), threading.Event()
    with httpx.Client(base_url=url, timeout=_PATIENCE_S) as client, ThreadPoolExecutor(_WAITING) as pool:

        def send() -> None:
            due = time.monotonic()
            while not over.is_set():
                pool.submit(traffic.ask, client)
                due += 1 / per_second
                time.sleep(max(0.0, due - time.monotonic()))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield traffic
        finally:
            over.set()
            sender.join()


def settled(traffic: Traffic) -> None:
    """Waits until some more requests have been answered."""
    enough, until = len(traffic.answers) + SETTLED, time.monotonic() + _PATIENCE_S
    while len(traffic.answers) < enough:
        assert time.monotonic() < until, traffic.failures
        time.sleep(0.01)


def capacity(url: str) -> float:
    """Requests a second that callers get who ask as soon as they are answered."""
    traffic, until = Traffic(), time.monotonic() + _MEASURE_S
    with httpx.Client(base_url=url, timeout=_PATIENCE_S) as client, ThreadPoolExecutor(_CALLERS) as pool:

        def ask() -> None:
            while time.monotonic() < until:
                traffic.ask(client)

        list(pool.map(lambda _: ask(), range(_CALLERS)))
    assert not traffic.failures
    return len(traffic.answers) / _MEASURE_S


def champion(url: str) -> int:
    """The version that answers for `segm`."""
    return int(httpx.get(f"{url}/v1/models/segm").json()["version"])


def wait_for_champion(url: str, version: int) -> None:
    """Until it is that one."""
    until = time.monotonic() + _PATIENCE_S
    while champion(url) != version:
        assert time.monotonic() < until
        time.sleep(0.02)
