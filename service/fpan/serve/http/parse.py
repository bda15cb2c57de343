"""`POST /v1/parse`: a picture in, its faces out."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from fpan.serve.errors import BadRequest, Unavailable
from fpan.serve.gateway import Gateway
from fpan.serve.http.answer import JSON, PNG, json_answer, picture
from fpan.serve.http.body import read_upload
from fpan.serve.http.describe import PARSE
from fpan.serve.http.negotiate import negotiate
from fpan.serve.http.request_id import request_id
from fpan.serve.pipeline.options import PICTURE_OUTPUTS, ParseOptions
from fpan.serve.pipeline.stopwatch import Stopwatch

PARSE_PATHS = ("/v1/parse", "/parse")


def parse_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter()

    async def parse(request: Request) -> Response:
        """Parses every face of one picture; see the options for which faces, which classes, which answer."""
        if gateway.draining:
            raise Unavailable("this server is shutting down")
        media = negotiate(request.headers.get("accept"), (JSON, PNG))
        upload = await read_upload(request, gateway.settings.max_body_bytes)
        options = ParseOptions.read(upload.options)
        wanted = _picture_output(options) if media == PNG else ""
        result, photo = await gateway.parser.parse(upload.data, options)
        card = gateway.parser.segmenter(options.model).card
        watch = Stopwatch()
        headers: dict[str, str] = {}
        with watch("encode"):
            if wanted:
                body = await gateway.run(lambda: picture(wanted, result, photo, card))
            else:
                members = await gateway.run(lambda: json_answer(result, photo, card, options))
        timing = {**result.timing_ms, **watch.milliseconds}
        for stage, milliseconds in timing.items():
            gateway.metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)
        gateway.metrics.faces.observe(len(result.faces))
        headers["Server-Timing"] = ", ".join(f"{stage};dur={ms:g}" for stage, ms in timing.items())
        if wanted:
            return Response(body, headers=headers, media_type=PNG)
        members["timing_ms"] = timing
        return JSONResponse({"request_id": request_id(request), **members}, headers=headers)

    path, alias = PARSE_PATHS
    router.add_api_route(path, parse, methods=["POST"], tags=["parse"], **PARSE)
    router.add_api_route(alias, parse, methods=["POST"], include_in_schema=False)
    return router


def _picture_output(options: ParseOptions) -> str:
    """The one picture that an ``image/png`` answer is."""
    wanted = options.output or ("png",)
    if len(wanted) != 1 or wanted[0] not in PICTURE_OUTPUTS:
        raise BadRequest(f"a picture answer has one output of {', '.join(PICTURE_OUTPUTS)}; more at once come as JSON")
    return wanted[0]
