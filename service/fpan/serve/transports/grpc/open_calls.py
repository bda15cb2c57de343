"""Calls that need no key, bounded apart from all others: whoever reaches the port cannot close it with them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from fpan.serve.api.errors import BadRequest, GatewayError, Overloaded, RequestTimeout, Unavailable
from fpan.serve.transports.grpc.status import status_of

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:  # generic in what is known of its types alone
    Handler = grpc.RpcMethodHandler[Any, Any]


class OpenCalls:
    """Health and reflection. Streams, which may last, are few and end in time; a short call needs no place."""

    def __init__(self, most: int, longest_s: float, message_s: float) -> None:
        """Takes the bounds.

        Args:
            most: streams that may be open at once.
            longest_s: how long one may be, in seconds.
            message_s: how long the message of a call may take to arrive, in seconds.
        """
        self._most = most
        self._longest_s = longest_s
        self._message_s = message_s
        self._streams = 0

    def bounded(self, handler: "Handler") -> "Handler":
        """``handler`` within the bounds. On the wire it is the same: its message is only read when it is asked for."""
        coders = handler.request_deserializer, handler.response_serializer
        answer: Callable[..., Any] | None = handler.unary_unary
        if answer is not None:

            async def short(messages: AsyncIterator[Any], context: Context) -> Any:
                return await answer(await self._message(messages, context), context)

            return grpc.stream_unary_rpc_method_handler(short, *coders)
        if watch := handler.unary_stream:

            async def watching(messages: AsyncIterator[Any], context: Context) -> None:
                async def told() -> None:
                    await _written(watch, await self._message(messages, context), context)

                await self._stream(told, context)

            return grpc.stream_stream_rpc_method_handler(watching, *coders)
        talk = handler.stream_stream
        if talk is None:
            raise NotImplementedError("a stream of messages with one answer is not bounded here")

        async def talking(messages: AsyncIterator[Any], context: Context) -> None:
            await self._stream(lambda: _written(talk, messages, context), context)

        return grpc.stream_stream_rpc_method_handler(talking, *coders)

    async def _stream(self, told: Callable[[], Any], context: Context) -> None:
        if self._streams >= self._most:
            await _refused(
                Overloaded(f"{self._most} streams without a key are open, which is all this server has at once"),
                context,
            )
        self._streams += 1
        try:
            async with asyncio.timeout(self._longest_s):
                await told()
        except TimeoutError:
            await _refused(Unavailable(f"a stream ends after {self._longest_s:g} s: begin anew"), context)
        finally:
            self._streams -= 1

    async def _message(self, messages: AsyncIterator[Any], context: Context) -> Any:
        try:
            async with asyncio.timeout(self._message_s):
                return await anext(aiter(messages))
        except TimeoutError:
            await _refused(RequestTimeout(f"the message did not arrive within {self._message_s:g} s"), context)
        except StopAsyncIteration:
            await _refused(BadRequest("the call has no message"), context)


async def _refused(error: GatewayError, context: Context) -> NoReturn:
    status = status_of(error)
    await context.abort(status.code, status.details, status.trailing_metadata or ())
    raise error  # never: abort() raises


async def _written(answer: Callable[..., Any], asked: Any, context: Context) -> None:
    """Sends what a handler answers, be it one that yields or one that writes."""
    answers = answer(asked, context)
    if not hasattr(answers, "__aiter__"):
        await answers
        return
    async for each in answers:
        await context.write(each)
