"""The calls of ``faceparsing.v1.FaceParsing``, once they have been let in; see :mod:`.middleware`."""

import dataclasses
from typing import TYPE_CHECKING

import grpc.aio

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.api.errors import BadRequest, TooLarge
from fpan.serve.api.options import MAX_DEADLINE_MS, ParseOptions
from fpan.serve.cache import CACHE_STATUS
from fpan.serve.inference.scheduling import Turn
from fpan.serve.service import ParseRequest, ResponseEncoder
from fpan.serve.transports.grpc.convert import read_options, write_response
from fpan.serve.transports.grpc.middleware import Call, this_call

if TYPE_CHECKING:
    from fpan.serve.app import Gateway

_ENCODING = ResponseEncoder("grpc", lambda answer: bytes(write_response(answer).SerializeToString()))

Context = grpc.aio.ServicerContext[pb.ParseRequest, pb.ParseResponse]


class FaceParsingServicer:
    """Answers calls with the gateway's parser."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    async def Parse(self, request: pb.ParseRequest, context: Context) -> pb.ParseResponse:  # noqa: N802 (gRPC's name)
        """Parses one picture. A cancelled call, which is a cancelled task, cancels the work."""
        call = this_call()
        response = await self._parse(request, context.time_remaining(), call)
        response.request_id = call.request_id
        return response

    async def _parse(self, request: pb.ParseRequest, left_s: float | None, call: Call) -> pb.ParseResponse:
        options = self._checked(request)
        if left_s is not None:
            options = dataclasses.replace(options, deadline_ms=max(1, int(min(left_s * 1000, MAX_DEADLINE_MS))))
        caller, turn = call.caller, Turn(background=call.background)
        asking = ParseRequest(request.image, options, _ENCODING, caller.identity, turn, caller.account)
        answered = await self._gateway.parse_service.answer(asking)
        if answered.cached:
            call.trailing["cache-status"] = CACHE_STATUS[answered.cached]
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
