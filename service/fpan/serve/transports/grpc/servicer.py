"""The calls of ``faceparsing.v1.FaceParsing``, once they have been let in; see :mod:`.middleware`."""

from typing import TYPE_CHECKING

from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.api.context import RequestContext
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.errors import BadRequest, TooLarge
from fpan.serve.api.options import MAX_DEADLINE_MS, ParseOptions
from fpan.serve.api.parse import ParseRequest, ResponseEncoder
from fpan.serve.cache.cache import CACHE_STATUS
from fpan.serve.transports.grpc.convert import read_options, write_response
from fpan.serve.transports.grpc.middleware import Call

if TYPE_CHECKING:
    from fpan.serve.app import Gateway

_ENCODER = ResponseEncoder("grpc", lambda answer: bytes(write_response(answer).SerializeToString()))


class FaceParsingServicer:
    """Answers calls with the gateway's parser."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    async def Parse(self, request: pb.ParseRequest, call: Call) -> pb.ParseResponse:  # noqa: N802 (gRPC's name)
        """Parses one picture. A cancelled call, which is a cancelled task, cancels the work."""
        options, parse_service = self._checked(request), self._gateway.parse_service
        deadline = parse_service.deadline(options)
        if call.left_s is not None:
            deadline = Deadline.after(max(1, int(min(call.left_s * 1000, MAX_DEADLINE_MS))))
        caller = call.caller
        context = RequestContext(
            call.request_id, deadline, caller.identity, caller.account, call.background, trace=call.trace
        )
        answered = await parse_service.answer(ParseRequest(request.image, options, _ENCODER), context)
        if answered.cached:
            call.trailing["cache-status"] = CACHE_STATUS[answered.cached]
        response = pb.ParseResponse.FromString(answered.body)
        response.timing_ms.update(answered.timing_ms)
        response.request_id = call.request_id
        return response

    def _checked(self, request: pb.ParseRequest) -> ParseOptions:
        most = self._gateway.settings.max_body_bytes
        if not request.image:
            raise BadRequest("the request has no picture: image is empty")
        if len(request.image) > most:
            raise TooLarge(f"the picture has {len(request.image)} bytes; this server takes at most {most}")
        return read_options(request.options)
