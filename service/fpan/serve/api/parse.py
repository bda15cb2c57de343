"""A request to parse one picture, and its answer; the same for every transport."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fpan.serve.api.context import RequestContext
from fpan.serve.api.options import ParseOptions

JSON, PNG, NPZ = "application/json", "image/png", "application/x-npz"
"""Media types of answers."""
CacheOutcome = Literal["hit", "miss", "shared", "skipped", "failed"]
"""``hit``: found in the cache. ``miss``: not found. ``shared``: computed once for identical requests at the same time.
``skipped``: never cached, because the answer shows the picture. ``failed``: Redis did not answer."""


@dataclass(frozen=True)
class ResponseEncoder:
    """Encodes answers in one format."""

    kind: str
    """Name of the format. The same request in the same format gives the same bytes."""
    encode: Callable[[Any], bytes]
    """Takes an :class:`~fpan.serve.pipeline.encode.answer.AnswerEncoder`; runs in a worker thread. The bytes hold
    nothing that differs between identical requests (id, time)."""


@dataclass(frozen=True)
class ParseRequest:
    """One picture, the options and the format of the answer."""

    data: bytes
    """The picture's file."""
    options: ParseOptions
    encoder: ResponseEncoder


@dataclass(frozen=True)
class EncodedAnswer:
    """An encoded answer."""

    body: bytes
    faces: int
    """Number of faces in the answer."""
    timing_ms: dict[str, float]
    """Duration of each stage in milliseconds."""
    digest: bytes
    """Hash of the body, 16 bytes; the value of ``ETag``."""
    cached: CacheOutcome | None = None
    """What the cache did; None if no cache is configured."""


Make = Callable[[RequestContext, Callable[[], None]], Awaitable[EncodedAnswer]]
"""Computes the answer to a request. It calls its second argument as soon as the versions that answer are chosen, and
lets errors of that call through."""
