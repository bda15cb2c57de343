"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns; it is cancelled when the caller, whose body has been read, leaves.

    Raises:
        ClientDisconnect: the caller has left.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        leaving.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def each_while_connected(request: Request, pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """What ``pieces`` yields; it is ended when the caller, whose body has been read, leaves.

    Raises:
        ClientDisconnect: the caller has left.
    """
    try:
        while True:
            try:
                piece = await while_connected(request, _next(pieces))
            except StopAsyncIteration:
                return
            yield piece
    finally:
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[T, None]) -> T:
    return await anext(pieces)
