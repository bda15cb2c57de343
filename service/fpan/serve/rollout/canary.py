"""Whether a version does badly: its errors and its time, beside those of the version that it is to replace."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

import numpy as np

from fpan.serve.rollout.settings import RolloutSettings
from fpan.serve.telemetry.metrics import Reason

MAX_REQUESTS = 10_000
"""Requests of a version that are remembered, the newest; it bounds memory and the time of a judgement."""
_PERCENTILE = 95
_CHANCE = 3.0
"""Standard errors within which two error rates differ by chance: an outage hits no two versions quite alike."""


@dataclass(frozen=True)
class CanaryRules:
    """What is asked of a version."""

    window_s: float
    """How far back requests count, in seconds."""
    min_requests: int
    """Fewer tell nothing."""
    error_rate: float
    """Most errors beyond those of the other version, as a share of the requests, 0 to 1."""
    latency_ratio: float
    """Most time of a crop, its 95th percentile, as a multiple of the other version's."""
    latency_floor_s: float
    """More than so many seconds longer it must take to be too slow."""

    @classmethod
    def of(cls, settings: RolloutSettings) -> Self:
        """What the operator set."""
        return cls(
            settings.watch_window_s,
            settings.watch_min_requests,
            settings.watch_error_rate,
            settings.watch_latency_ratio,
            settings.watch_latency_floor_ms / 1000,
        )


@dataclass(frozen=True)
class TrafficRecord:
    """How a version did within a window."""

    requests: int = 0
    errors: int = 0
    crop_p95_s: float = 0.0
    """95th percentile over the answered requests of the time of a crop, in seconds."""

    @property
    def error_rate(self) -> float:
        """Share of the requests, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def answered(self) -> int:
        """Requests that were."""
        return self.requests - self.errors


class TrafficWindow:
    """The latest requests of a version."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, float | None]] = deque(maxlen=MAX_REQUESTS)

    def add(self, now: float, crop_s: float | None) -> None:
        """A request ended at ``now``: its time of a crop in seconds, None for an error."""
        self._ended.append((now, crop_s))

    def record(self, since: float) -> TrafficRecord:
        """Of the requests that ended since then; older ones are forgotten."""
        while self._ended and self._ended[0][0] < since:
            self._ended.popleft()
        times = [crop_s for _, crop_s in self._ended if crop_s is not None]
        p95_s = float(np.percentile(times, _PERCENTILE)) if times else 0.0
        return TrafficRecord(len(self._ended), len(self._ended) - len(times), p95_s)


@dataclass(frozen=True)
class Fault:
    """Why a version may not stay what it is."""

    reason: Reason
    text: str
    """In figures, for people."""


def fault_of(record: TrafficRecord, other: TrafficRecord, watched: CanaryRules) -> Fault | None:
    """What is wrong with a version, if anything is.

    Args:
        record: how it does.
        other: how the version does, or did, that it is to replace. What goes wrong with both is not its own fault.
        watched: what is asked of it.
    """
    if record.requests < watched.min_requests:
        return None
    if record.error_rate - other.error_rate > max(watched.error_rate, _CHANCE * _standard_error(record, other)):
        return Fault(
            "errors",
            f"error rate {record.error_rate:.1%} of {record.requests} requests, beside {other.error_rate:.1%} of "
            f"{other.requests}",
        )
    longer_s = record.crop_p95_s - other.crop_p95_s
    if (
        min(record.answered, other.answered) >= watched.min_requests
        and record.crop_p95_s > watched.latency_ratio * other.crop_p95_s
        and longer_s > watched.latency_floor_s
    ):
        return Fault(
            "latency",
            f"95 % of {record.answered} requests within {record.crop_p95_s * 1000:.0f} ms a crop, beside "
            f"{other.crop_p95_s * 1000:.0f} ms of {other.answered}",
        )
    return None


def _standard_error(one: TrafficRecord, other: TrafficRecord) -> float:
    """Of the difference of two error rates if both had the same, by the pooled estimate; 0 where one is unknown."""
    if not one.requests or not other.requests:
        return 0.0
    pooled = (one.errors + other.errors) / (one.requests + other.requests)
    return math.sqrt(pooled * (1 - pooled) * (1 / one.requests + 1 / other.requests))
