"""What the four clients share: a call is a request of some protocol, and how its answer is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from fpan.client._options import Drawing, Options, Output
from fpan.client.types import Result

Q = TypeVar("Q")
"""A protocol's request."""
A = TypeVar("A")
"""A protocol's answer."""
T = TypeVar("T")

CLIENT_ID = "x-client-id"
"""Header, or gRPC metadata, that tells who asks."""


@dataclass(frozen=True)
class Call(Generic[Q, A, T]):
    """One call, whatever sends it."""

    request: Q
    read: Callable[[A], T]
    """From the answer to what the caller gets; raises what :mod:`fpan.client.errors` draws."""
    deadline_ms: int | None = None


class Wire(Protocol[Q, A]):
    """The calls of one protocol. Modules are such: :mod:`fpan.client._calls`, :mod:`fpan.client._grpc_calls`."""

    def parse_call(self, data: bytes, options: Options, outputs: Sequence[Output]) -> Call[Q, A, Result]:
        """A parse that answers with a result, the outputs in it."""
        ...

    def draw_call(self, data: bytes, options: Options, drawing: Drawing | Literal["alpha"]) -> Call[Q, A, bytes]:
        """A parse that answers with a picture."""
        ...

    def arrays_call(self, data: bytes, options: Options, alpha: bool) -> Call[Q, A, dict[str, NDArray[Any]]]:
        """A parse that answers with arrays."""
        ...
