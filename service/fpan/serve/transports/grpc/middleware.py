"""RequestInterceptor every call: its id, its metrics, admission before its message is read, errors as statuses."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.admission.admission import ANY_KEY, OPEN, Access
from fpan.serve.admission.caller import API_KEY, AUTHORIZATION, CLIENT_ID, Caller, Credentials, host_of
from fpan.serve.api.allowance import limit_fields
from fpan.serve.api.context import PRIORITY, REQUEST_ID, choose_request_id, is_background
from fpan.serve.api.errors import BadRequest, GatewayError, RateLimited, RequestTimeout
from fpan.serve.telemetry.traces import TRACEPARENT, TRACESTATE, Trace, read_trace
from fpan.serve.transports.grpc.open_calls import OpenCalls
from fpan.serve.transports.grpc.status import status_of

if TYPE_CHECKING:
    from fpan.serve.app import Gateway

SERVICE = pb.DESCRIPTOR.services_by_name["FaceParsing"].full_name
PARSE_ROUTE = f"/{SERVICE}/Parse"
ACCESS: Mapping[str, Access] = {
    PARSE_ROUTE: Access("parse", limited=True),
    "/grpc.health.v1.Health": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection": OPEN,  # the contract is no secret: /openapi.json is open too
}
"""By method, or by service, which stands for all of its methods."""
_METHOD = "gRPC"
_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Details = grpc.HandlerCallDetails
if TYPE_CHECKING:  # generic in what is known of its types alone
    Handler = grpc.RpcMethodHandler[Any, Any] | None


@dataclass(frozen=True)
class Call:
    """What is known of a call that has been let in."""

    request_id: str
    caller: Caller
    background: bool
    """Whether it would rather wait, see :mod:`fpan.serve.api.context`."""
    trace: Trace
    left_s: float | None
    """Seconds until the deadline that its caller has set; None without one."""
    trailing: dict[str, str]
    """Metadata that goes with the answer, beside the request's id."""


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls in, by the table above, and answers whatever goes wrong in them."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        settings = gateway.settings
        self._open = OpenCalls(settings.max_grpc_streams, settings.grpc_stream_timeout_s, settings.body_timeout_s)

    async def intercept_service(
        self, continuation: "Callable[[Details], Awaitable[Handler]]", details: Details
    ) -> "Handler":
        """See grpc."""
        handler = await continuation(details)
        method = str(details.method)
        access = ACCESS.get(method) or ACCESS.get(method.rpartition("/")[0], ANY_KEY)
        if handler is None:
            return handler
        if access is OPEN:
            return self._open.bounded(handler)
        if handler.unary_unary is None:
            raise NotImplementedError(f"{method} needs admission, which is there for unary calls only")
        answer = handler.unary_unary

        async def admitted(messages: AsyncIterator[Any], context: Context) -> Any:
            return await self._answer(method, access, answer, messages, context)

        # As a stream of one message, which is the same on the wire, but is read when it is asked for and not before.
        return grpc.stream_unary_rpc_method_handler(admitted, handler.request_deserializer, handler.response_serializer)

    async def _answer(
        self, method: str, access: Access, answer: Callable[..., Any], messages: AsyncIterator[Any], context: Context
    ) -> Any:
        metadata = context.invocation_metadata() or ()
        identity = choose_request_id(_value(metadata, REQUEST_ID))
        offered = Credentials(
            _value(metadata, AUTHORIZATION),
            _value(metadata, API_KEY),
            _value(metadata, CLIENT_ID),
            host_of(context.peer()),
        )
        trailing = {REQUEST_ID: identity}
        with _Measured(self._gateway, method) as measured:
            try:
                background = is_background([_value(metadata, PRIORITY)])
                async with self._gateway.admission.admit(offered, access, background) as (caller, allowance):
                    trailing |= limit_fields(allowance)
                    message = await self._message(messages)
                    trace = read_trace(_values(metadata, TRACEPARENT), _values(metadata, TRACESTATE))
                    call = Call(identity, caller, background, trace, context.time_remaining(), trailing)
                    response = await answer(message, call)
            except GatewayError as error:
                refused = error
                if isinstance(error, RateLimited):
                    trailing |= limit_fields(error.allowance)
            except Exception:
                _log.exception("request %s failed", identity)
                refused = GatewayError("something broke here; the log has it under this request's id")
            else:
                measured.code = grpc.StatusCode.OK
                context.set_trailing_metadata(tuple(trailing.items()))
                return response
            status = status_of(refused)
            measured.code = status.code
            told = (*(status.trailing_metadata or ()), *trailing.items())
            return await context.abort(status.code, status.details, told)

    async def _message(self, messages: AsyncIterator[Any]) -> Any:
        allowed_s = self._gateway.settings.body_timeout_s
        try:
            async with asyncio.timeout(allowed_s):
                return await anext(aiter(messages))
        except TimeoutError:
            raise RequestTimeout(f"the message did not arrive within {allowed_s:g} s") from None
        except StopAsyncIteration:
            raise BadRequest("the call has no message") from None
        except DecodeError as error:  # in its words: what is read here is read when it is asked for
            raise BadRequest(f"the message cannot be read: {error}") from None


class _Measured:
    """Counts a call and its time by the code that it ends with; one that never ends is a cancelled one."""

    def __init__(self, gateway: "Gateway", method: str) -> None:
        self._metrics = gateway.metrics
        self._method = method
        self.code = grpc.StatusCode.CANCELLED

    def __enter__(self) -> "_Measured":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.requests.labels(self._method, _METHOD, self.code.name).inc()
        self._metrics.request_seconds.labels(self._method).observe(time.perf_counter() - self._began)


def _value(metadata: Iterable[tuple[str, str | bytes]], header: str) -> str | None:
    return next(iter(_values(metadata, header)), None)


def _values(metadata: Iterable[tuple[str, str | bytes]], header: str) -> list[str]:
    return [value for key, value in metadata if key == header and isinstance(value, str)]
