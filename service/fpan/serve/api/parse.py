"""A picture to be parsed and the answer to it, whatever transport carries them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fpan.serve.api.context import RequestContext
from fpan.serve.api.options import ParseOptions

JSON, PNG, NPZ = "application/json", "image/png", "application/x-npz"
"""Media types of answers."""
CacheOutcome = Literal["hit", "miss", "shared", "skipped", "failed"]
"""Found; not there; shared with a request that asked the same at the same time; never kept, because it shows the
picture; or Redis could not be asked."""


@dataclass(frozen=True)
class ResponseEncoder:
    """How an answer becomes bytes."""

    kind: str
    """Names it; answers to the same question in the same kind are the same bytes."""
    encode: Callable[[Any], bytes]
    """Takes an :class:`~fpan.serve.pipeline.encode.answer.AnswerEncoder`. It computes: it runs in a worker thread. What
    differs from one request to the next (id, time) is not in its bytes."""


@dataclass(frozen=True)
class ParseRequest:
    """One picture and what is asked of it."""

    data: bytes
    """The picture's file."""
    options: ParseOptions
    encoder: ResponseEncoder


@dataclass(frozen=True)
class EncodedAnswer:
    """An encoded answer."""

    body: bytes
    faces: int
    """How many there are in it."""
    timing_ms: dict[str, float]
    """Milliseconds by stage."""
    digest: bytes
    """Hash of the body, 16 bytes: what ``ETag`` tells."""
    cached: CacheOutcome | None = None
    """What the cache did; None where there is none."""


Make = Callable[[RequestContext, Callable[[], None]], Awaitable[EncodedAnswer]]
"""Makes an answer in the name of a request. It calls its second argument at the moment when it is settled which
versions answer, and raises what that raises."""
