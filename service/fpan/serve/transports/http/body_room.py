"""Room in memory for the bodies of all requests together: each byte is counted as it comes."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope

from fpan.serve.api.errors import Overloaded

_KEPT = "fpan.body"


class BodyRoom:
    """So many bytes. What comes beyond them is refused: a request that waited for room would keep its own meanwhile."""

    def __init__(self, most: int) -> None:
        """Takes how many there are."""
        self._free = most

    @contextmanager
    def counted(self, scope: Scope, receive: Receive) -> Iterator[Receive]:
        """What one request receives by; what it has taken is given back when the block ends."""
        scope[_KEPT] = kept = _Kept(self)

        async def counting() -> Message:
            message = await receive()
            kept.take(len(message.get("body", b"")))
            return message

        try:
            yield counting
        finally:
            kept.give_back(kept.size)

    def take(self, size: int) -> None:
        """Takes so many bytes of it; a negative size gives them back.

        Raises:
            Overloaded: there are not so many.
        """
        if size > self._free:
            raise Overloaded("the bodies of other requests fill the memory that there is for them; try again")
        self._free -= size


class _Kept:
    """What one request has of it."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.size = 0

    def take(self, size: int) -> None:
        self._room.take(size)
        self.size += size

    def give_back(self, size: int) -> None:
        self.take(-min(size, self.size))


def let_go(request: HTTPConnection, size: int) -> None:
    """Tells that so many bytes of a request's body are in memory no more, though it goes on."""
    kept: _Kept = request.scope[_KEPT]
    kept.give_back(size)
