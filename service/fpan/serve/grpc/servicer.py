"""The calls of ``faceparsing.v1.FaceParsing``."""

import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.caller import CLIENT_ID, caller_of, host_of
from fpan.serve.desk import Asking, Encoding
from fpan.serve.errors import BadRequest, GatewayError, Overloaded, TooLarge, Unavailable
from fpan.serve.grpc.convert import read_options, write_response
from fpan.serve.grpc.status import status_of
from fpan.serve.http.request_id import HEADER, choose
from fpan.serve.inference.turns import Turn
from fpan.serve.pipeline.options import MAX_DEADLINE_MS, ParseOptions
from fpan.serve.priority import PRIORITY, is_background

if TYPE_CHECKING:
    from fpan.serve.gateway import Gateway

PARSE_ROUTE = "/faceparsing.v1.FaceParsing/Parse"
_METHOD = "gRPC"
_ENCODING = Encoding("grpc", lambda answer: bytes(write_response(answer).SerializeToString()))
_log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[pb.ParseRequest, pb.ParseResponse]


class FaceParsingServicer:
    """Answers calls with the gateway's parser."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._running = 0

    async def Parse(self, request: pb.ParseRequest, context: Context) -> pb.ParseResponse:  # noqa: N802 (gRPC's name)
        """Parses one picture. A cancelled call, which is a cancelled task, cancels the work."""
        metadata = context.invocation_metadata() or ()
        identity = choose(_offered(metadata, HEADER))
        caller = caller_of(_offered(metadata, CLIENT_ID), host_of(context.peer()))
        turn = Turn(background=is_background([_offered(metadata, PRIORITY)]))
        with _Measured(self._gateway) as measured:
            try:
                with self._permit():
                    response = await self._parse(request, context.time_remaining(), caller, turn)
            except GatewayError as error:
                refused = error
            except Exception:
                _log.exception("request %s failed", identity)
                refused = GatewayError("something broke here; the log has it under this request's id")
            else:
                measured.code = grpc.StatusCode.OK
                response.request_id = identity
                context.set_trailing_metadata(((HEADER, identity),))
                return response
            status = status_of(refused)
            measured.code = status.code
            trailing = (*(status.trailing_metadata or ()), (HEADER, identity))
            return await context.abort(status.code, status.details, trailing)

    @contextmanager
    def _permit(self) -> Iterator[None]:
        if self._gateway.draining:
            raise Unavailable("this server is shutting down")
        limit = self._gateway.settings.max_concurrency
        if self._running >= limit:
            raise Overloaded(f"{limit} requests are being handled, which is all this server takes at once")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _parse(self, request: pb.ParseRequest, left_s: float | None, caller: str, turn: Turn) -> pb.ParseResponse:
        options = self._checked(request)
        if left_s is not None:
            options = dataclasses.replace(options, deadline_ms=max(1, int(min(left_s * 1000, MAX_DEADLINE_MS))))
        answered = await self._gateway.desk.answer(Asking(request.image, options, _ENCODING, caller, turn))
        response = pb.ParseResponse.FromString(answered.body)
        response.timing_ms.update(answered.timing_ms)
        return response

    def _checked(self, request: pb.ParseRequest) -> ParseOptions:
        most = self._gateway.settings.max_body_bytes
        if not request.image:
            raise BadRequest("the request has no picture: image is empty")
        if len(request.image) > most:
            raise TooLarge(f"the picture has {len(request.image)} bytes; this server takes at most {most}")
        return read_options(request.options)


class _Measured:
    """Counts a call and its time by the code that it ends with; one that never ends is a cancelled one."""

    def __init__(self, gateway: "Gateway") -> None:
        self._metrics = gateway.metrics
        self.code = grpc.StatusCode.CANCELLED

    def __enter__(self) -> "_Measured":
        self._began = time.perf_counter()
        self._metrics.in_flight.inc()
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.in_flight.dec()
        self._metrics.requests.labels(PARSE_ROUTE, _METHOD, self.code.name).inc()
        self._metrics.request_seconds.labels(PARSE_ROUTE).observe(time.perf_counter() - self._began)


def _offered(metadata: Iterable[tuple[str, str | bytes]], header: str) -> str | None:
    for key, value in metadata:
        if key == header and isinstance(value, str):
            return value
    return None
