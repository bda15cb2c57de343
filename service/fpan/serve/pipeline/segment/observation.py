"""How a request's question to a version of a model ended, for whoever watches the versions."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import DeadlineExceeded, Overloaded
from fpan.serve.inference.batcher import Arrays, InferenceResult
from fpan.serve.pipeline.segment.routing import Segmenter

Outcome = Literal["ok", "failed", "late", "refused", "left"]
"""``failed``: the version did not answer. ``late``: not before the deadline. ``refused``: too many wait. ``left``: the
caller waits no longer."""


@dataclass
class Observation:
    """A request's question to a version: all its crops."""

    segmenter: Segmenter
    crops: Sequence[Arrays]
    """For each its inputs, without a batch dimension."""
    answers: Sequence[Arrays] = ()
    """For each its outputs; empty until the version has answered."""
    outcome: Outcome = "ok"
    seconds: float = 0.0
    """From the question to its end."""
    crop_s: float = 0.0
    """Computing time of one crop, in seconds; see :attr:`~fpan.serve.inference.batcher.InferenceResult.cost_s`."""

    def answered(self, items: Sequence[Arrays], answers: Sequence[InferenceResult]) -> None:
        """Takes what the version said."""
        self.answers = items
        self.crop_s = sum(answer.cost_s for answer in answers) / len(items)


Observer = Callable[[Observation], None]
"""Is told of a question. It must not take time: requests wait for it."""


def unobserved(_: Observation) -> None:
    """The observer of requests that nobody watches."""


@contextmanager
def observing(
    segmenter: Segmenter, crops: Sequence[Arrays], deadline: Deadline, ended: Observer
) -> Iterator[Observation]:
    """A block that asks a version, about whose end ``ended`` is told.

    Args:
        segmenter: the version.
        crops: what it is asked.
        deadline: of the request.
        ended: is told, whichever way it ends.
    """
    loop = asyncio.get_running_loop()
    asked = Observation(segmenter, crops)
    began = loop.time()
    try:
        yield asked
    except BaseException as error:
        asked.outcome = _outcome(error, deadline.left_s <= 0)
        raise
    finally:
        asked.seconds = loop.time() - began
        ended(asked)


def _outcome(error: BaseException, too_late: bool) -> Outcome:
    if isinstance(error, Overloaded):
        return "refused"
    if isinstance(error, DeadlineExceeded) or (isinstance(error, asyncio.CancelledError) and too_late):
        return "late"
    return "left" if isinstance(error, asyncio.CancelledError) else "failed"
