"""`POST /v1/parse`: a picture in, its faces out."""

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from fpan.serve.api.errors import BadRequest
from fpan.serve.api.options import DIRECT_OUTPUTS, ParseOptions
from fpan.serve.api.parse import JSON, NPZ, PNG, EncodedAnswer, ParseRequest, ResponseEncoder
from fpan.serve.app import Gateway
from fpan.serve.cache.cache import CACHE_STATUS
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.pipeline.encode.json_answer import json_answer, with_request
from fpan.serve.transports.http.access import context_of, request_id
from fpan.serve.transports.http.body import read_upload
from fpan.serve.transports.http.disconnect import while_connected
from fpan.serve.transports.http.negotiate import negotiate
from fpan.serve.transports.http.openapi.parse import PARSE

PARSE_PATHS = ("/v1/parse", "/parse")


def parse_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter()
    settings = gateway.settings

    async def parse(request: Request) -> Response:
        """Parses every face of one picture; see the options for which faces, which classes, which answer."""
        media = negotiate(", ".join(request.headers.getlist("accept")), (JSON, PNG, NPZ))
        upload = await read_upload(request, settings.max_body_bytes, settings.body_timeout_s)
        options = _for_media(ParseOptions.read(upload.options), media)
        context = context_of(request, gateway.parse_service.deadline(options))

        async def answer() -> EncodedAnswer:
            data = upload.data
            if upload.url is not None:
                async with context.deadline.limit():
                    data = await gateway.fetcher.fetch(upload.url)
            return await gateway.parse_service.answer(ParseRequest(data, options, _encoder(media, options)), context)

        answered = await while_connected(request, answer())
        body, timing = answered.body, answered.timing_ms
        headers = {
            "Server-Timing": ", ".join(f"{stage};dur={ms:g}" for stage, ms in timing.items()),
            # All that an answer without words tells of whether there was a face.
            "Face-Count": str(answered.faces),
            "ETag": f'"{answered.digest.hex()}"',
        }
        if answered.cached:
            headers["Cache-Status"] = CACHE_STATUS[answered.cached]
        if media == JSON:
            body = with_request(body, request_id(request), timing)
            headers["ETag"] = f"W/{headers['ETag']}"  # the same answer, but for id and time
        return Response(body, headers=headers, media_type=media)

    path, alias = PARSE_PATHS
    router.add_api_route(path, parse, methods=["POST"], tags=["parse"], **PARSE)
    router.add_api_route(alias, parse, methods=["POST"], include_in_schema=False)
    return router


def _encoder(media: str, options: ParseOptions) -> ResponseEncoder:
    """How an answer of one media type is made."""
    makers = {JSON: json_answer, NPZ: AnswerEncoder.npz, PNG: lambda answer: answer.picture(options.output[0])}
    return ResponseEncoder(media, makers[media])


def _for_media(options: ParseOptions, media: str) -> ParseOptions:
    """The options of an answer of one media type, its outputs named.

    Raises:
        BadRequest: the outputs are not what that type holds.
    """
    if media == PNG:
        wanted = options.output or ("png",)
        if len(wanted) != 1 or wanted[0] not in DIRECT_OUTPUTS:
            raise BadRequest(
                f"a picture answer has one output of {', '.join(DIRECT_OUTPUTS)}; more at once come as JSON"
            )
    elif media == NPZ:
        wanted = options.output or ("npz",)
        if not set(wanted) <= {"npz", "alpha"}:
            raise BadRequest("an npz answer has the outputs npz and alpha; others come as JSON")
    else:
        wanted = options.output or ("rle",)
    return replace(options, output=wanted)
