"""Types that the four clients share. A call is a request of a protocol and a function that reads its response."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from fpan.client._options import Drawing, Options, Output
from fpan.client.types import Result

Q = TypeVar("Q")
"""Request type of a protocol."""
A = TypeVar("A")
"""Response type of a protocol."""
T = TypeVar("T")

CLIENT_ID = "x-client-id"
"""HTTP header, or gRPC metadata key, that identifies the client."""


@dataclass(frozen=True)
class Call(Generic[Q, A, T]):
    """One call, for the blocking and the asynchronous client."""

    request: Q
    read: Callable[[A], T]
    """Converts the response to what the caller gets; raises the errors of :mod:`fpan.client.errors`."""
    deadline_ms: int | None = None


class Wire(Protocol[Q, A]):
    """The calls of one protocol. :mod:`fpan.client._calls` and :mod:`fpan.client._grpc_calls` implement it."""

    def parse_call(self, data: bytes, options: Options, outputs: Sequence[Output]) -> Call[Q, A, Result]:
        """A parse call that returns a result with the outputs."""
        ...

    def draw_call(self, data: bytes, options: Options, drawing: Drawing | Literal["alpha"]) -> Call[Q, A, bytes]:
        """A parse call that returns a PNG."""
        ...

    def arrays_call(self, data: bytes, options: Options, alpha: bool) -> Call[Q, A, dict[str, NDArray[Any]]]:
        """A parse call that returns arrays."""
        ...
