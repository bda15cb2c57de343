"""`POST /v1/parse/batch`: several pictures in, what became of each out, in their order."""

from collections.abc import AsyncGenerator, AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from fpan.serve.api.batch import Upload, entries, read_options
from fpan.serve.api.deadline import Deadline
from fpan.serve.api.parse import JSON
from fpan.serve.app import Gateway
from fpan.serve.service import ServiceParse
from fpan.serve.transports.http.access import charge, context_of, request_id
from fpan.serve.transports.http.body import UploadLimits, read_uploads
from fpan.serve.transports.http.disconnect import each_while_connected, while_connected
from fpan.serve.transports.http.negotiate import negotiate
from fpan.serve.transports.http.openapi.several import BATCH

BATCH_PATH = "/v1/parse/batch"
NDJSON = "application/x-ndjson"


def batch_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter()
    settings = gateway.settings
    most = UploadLimits(settings.max_batch_images, settings.max_batch_bytes, settings.body_timeout_s)

    async def batch(request: Request) -> Response:
        """Parses every face of several pictures. A picture that fails has a problem in its place and stops no other."""
        media = negotiate(", ".join(request.headers.getlist("accept")), (JSON, NDJSON))
        pictures: list[Upload] = []

        async def take(picture: Upload) -> None:
            pictures.append(picture)

        common = await read_uploads(request, most, settings.body_timeout_s, take)
        read_options(common)  # what is wrong for all is told of all, before anything is done
        pictures = [Upload(each.data, {**common, **each.options}) for each in pictures]
        await charge(request, gateway.admission, len(pictures))
        context = context_of(request, Deadline.never(), group=object())  # each picture has a deadline of its own
        parse = ServiceParse(gateway.parse_service, settings.max_body_bytes, context)
        made = entries(parse, pictures, request_id(request), settings.batch_concurrency)
        if media == NDJSON:
            return StreamingResponse(lines(each_while_connected(request, made)), media_type=NDJSON)
        whole = await while_connected(request, _whole(made, request_id(request)))
        return Response(whole, media_type=JSON)

    router.add_api_route(BATCH_PATH, batch, methods=["POST"], tags=["parse"], **BATCH)
    return router


async def lines(made: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Entries as lines of their own."""
    async for each in made:
        yield each + b"\n"


async def _whole(made: AsyncGenerator[bytes, None], identity: str) -> bytes:
    return b"".join([piece async for piece in results(made, identity)])


async def results(made: AsyncGenerator[bytes, None], identity: str) -> AsyncIterator[bytes]:
    """The pieces of the whole answer, ``{request_id, results: [...]}``, from its entries."""
    yield b'{"request_id":"%b","results":[' % identity.encode()  # an id has nothing that JSON would escape
    comma = b""
    async for each in made:
        yield comma + each
        comma = b","
    yield b"]}"
