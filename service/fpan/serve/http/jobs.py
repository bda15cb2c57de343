"""`/v1/jobs`: many pictures handed in at once, their state, their result, their end."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from fpan.serve.errors import BadRequest, GatewayError, NotFound, Unavailable
from fpan.serve.gateway import Gateway
from fpan.serve.http.access import admitted, charge, hold
from fpan.serve.http.batch import NDJSON, lines, results
from fpan.serve.http.body import Most, read_uploads
from fpan.serve.http.body_room import let_go
from fpan.serve.http.connected import each_while_connected
from fpan.serve.http.describe_several import EVENTS, JOB, JOB_END, JOB_RESULT, JOBS
from fpan.serve.http.events import EVENT_STREAM, LAST_EVENT_ID, events, parse_event_id
from fpan.serve.http.negotiate import negotiate
from fpan.serve.http.request_id import request_id
from fpan.serve.jobs.office import Office
from fpan.serve.jobs.record import JOBS_PATH
from fpan.serve.wire.answer import JSON
from fpan.serve.wire.entries import check_size, read_options
from fpan.serve.wire.upload import Upload

IDEMPOTENCY_KEY = "idempotency-key"
_KEY = re.compile(r'"?([\x21-\x7e]{1,255}?)"?')
_OFF = (
    "jobs are switched off on this server: they need a Redis (REDIS_JOBS_URL) and a secret (JOBS_SECRET); "
    "/v1/parse/batch parses several pictures without"
)
_PRIVATE = {"Cache-Control": "no-store"}


def job_routes(gateway: Gateway) -> APIRouter:
    """The routes of ``gateway``."""
    router = APIRouter(tags=["jobs"])
    settings = gateway.settings
    most = Most(settings.max_job_images, settings.max_job_bytes, settings.body_timeout_s)

    async def submit(request: Request) -> Response:
        """Takes pictures to be parsed when nobody else waits."""
        office = _office(gateway)
        if gateway.draining:
            raise Unavailable("this server is shutting down")
        key = _idempotency_key(request)
        async with office.accepting(proven_caller(request)) as draft:
            own: dict[int, dict[str, object]] = {}

            async def take(picture: Upload) -> None:
                with _of_picture(draft.count):
                    check_size(picture, settings.max_body_bytes)
                if picture.options:
                    own[draft.count] = picture.options
                await draft.add(picture)
                let_go(request, len(picture.data))

            options = await read_uploads(request, most, settings.job_body_timeout_s, take)
            webhook = options.pop("webhook", None)
            read_options(options)
            for place, of_one in own.items():
                with _of_picture(place):
                    read_options({**options, **of_one})
            await charge(request, gateway.admission, draft.count)
            record, is_repeated = await draft.submit(options, webhook, key, admitted(request).identity)
        headers = {"Location": record.path, **_PRIVATE}
        if is_repeated:
            headers["Idempotent-Replayed"] = "true"
        return JSONResponse(record.told(), 202, headers)

    async def state(request: Request, job: str) -> Response:
        """How far a job is, and what became of it."""
        record = await _office(gateway).record(job, proven_caller(request))
        return JSONResponse(record.told(), headers=_PRIVATE)

    async def result(request: Request, job: str) -> Response:
        """What became of each picture, as `/v1/parse/batch` tells it."""
        media = negotiate(", ".join(request.headers.getlist("accept")), (JSON, NDJSON))
        made = await _office(gateway).result(job, proven_caller(request))
        connected = each_while_connected(request, made)
        body = lines(connected) if media == NDJSON else results(connected, request_id(request))
        return StreamingResponse(body, media_type=media, headers=_PRIVATE)

    async def news(request: Request, job: str) -> Response:
        """Tells of every change of a job as it happens, until its end: server-sent events."""
        office, seen = _office(gateway), parse_event_id(request.headers.get(LAST_EVENT_ID))
        record = await office.record(job, proven_caller(request))
        if record.ended and record.seq == seen:
            return Response(status_code=204)  # ends the coming again of a browser
        told = events(office, record, proven_caller(request), seen, settings.job_heartbeat_s)
        hold(request, gateway.admission.streaming(admitted(request)))
        # No proxy may wait until it has the whole of it.
        headers = {**_PRIVATE, "X-Accel-Buffering": "no"}
        return StreamingResponse(each_while_connected(request, told), media_type=EVENT_STREAM, headers=headers)

    async def end(request: Request, job: str) -> Response:
        """Cancels a job that has not ended; deletes one that has, and its result."""
        record = await _office(gateway).end(job, proven_caller(request))
        return Response(status_code=204) if record is None else JSONResponse(record.told(), headers=_PRIVATE)

    one = f"{JOBS_PATH}/{{job}}"
    router.add_api_route(JOBS_PATH, submit, methods=["POST"], **JOBS)
    router.add_api_route(one, state, methods=["GET"], **JOB)
    router.add_api_route(one, end, methods=["DELETE"], **JOB_END)
    router.add_api_route(f"{one}/result", result, methods=["GET"], **JOB_RESULT)
    router.add_api_route(f"{one}/events", news, methods=["GET"], **EVENTS)
    return router


def proven_caller(request: Request) -> str:
    """Whose key a request has shown, whose jobs are nobody else's then; empty where nobody needs one."""
    key = admitted(request).key
    return key.id if key else ""


@contextmanager
def _of_picture(place: int) -> Iterator[None]:
    """A block whose refusals say which picture of the job they are about."""
    try:
        yield
    except GatewayError as error:
        raise type(error)(f"images[{place}]: {error}") from None


def _office(gateway: Gateway) -> Office:
    if gateway.jobs is None:
        raise NotFound(_OFF)
    return gateway.jobs


def _idempotency_key(request: Request) -> str:
    offered = request.headers.get(IDEMPOTENCY_KEY)
    if offered is None:
        return ""
    found = _KEY.fullmatch(offered.strip())
    if found is None:
        raise BadRequest("an Idempotency-Key is 1 to 255 printable characters without blanks")
    return found[1]
