"""Ending tasks that ask Redis."""

import asyncio

_AGAIN_S = 0.1


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancels tasks until they have ended.

    Once does not do: redis-py waits by ``asyncio.wait_for``, which before Python 3.12 may forget its cancellation.
    """
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_AGAIN_S)
        except asyncio.CancelledError as error:  # of whoever waits here: nothing may be left running behind it
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of those that nobody has asked for theirs
    if cancelled is not None:
        raise cancelled
