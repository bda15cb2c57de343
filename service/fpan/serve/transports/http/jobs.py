"""A job's changes as server-sent events (WHATWG HTML, 9.2)."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from fpan.serve.api.batch import Upload, check_size, read_options
from fpan.serve.api.errors import BadRequest, GatewayError, NotFound, Unavailable
from fpan.serve.api.parse import JSON
from fpan.serve.app import Gateway
from fpan.serve.jobs.events import look_up
from fpan.serve.jobs.record import JOBS_PATH, JobRecord
from fpan.serve.jobs.service import JobService
from fpan.serve.transports.http.access import admitted, charge, hold, request_id
from fpan.serve.transports.http.batch import NDJSON, lines, results
from fpan.serve.transports.http.body import UploadLimits, read_uploads
from fpan.serve.transports.http.body_room import let_go
from fpan.serve.transports.http.disconnect import each_while_connected
from fpan.serve.transports.http.negotiate import negotiate
from fpan.serve.transports.http.openapi.several import EVENTS, JOB, JOB_END, JOB_RESULT, JOBS

EVENT_STREAM = "text/event-stream"
LAST_EVENT_ID = "last-event-id"
_LOOK_S = 2.0
"""How often the job is looked at, in seconds, also when nothing was told: what tells may have been away."""
_COME_AGAIN_MS = 2000
_NUMBER = re.compile(r"[0-9]{1,19}")
"""What was told is one; a longer one is none of ours, and at some length none that is read."""
_NOTHING = b":\n\n"


def parse_event_id(offered: str | None) -> int | None:
    """The number of the last event that a client has seen; None for none."""
    found = _NUMBER.fullmatch(offered or "")
    return int(found[0]) if found else None


async def events(
    job_service: JobService, record: JobRecord, caller: str, seen: int | None, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """The state of a job, and again whenever it has changed, until it has ended, or this server does.

    Args:
        job_service: knows the job.
        record: what is known of it.
        caller: whose it is.
        seen: number of the last event that need not be told.
        heartbeat_s: how often something is said when there is nothing to say, so that the line is not cut.
    """
    loop = asyncio.get_running_loop()
    yield b"retry: %d\n\n" % _COME_AGAIN_MS
    spoken = loop.time()
    with job_service.job_events.changes(record.id) as changed:
        while True:
            if record.seq != seen:
                seen, spoken = record.seq, loop.time()
                yield b"id: %d\nevent: %b\ndata: %b\n\n" % (
                    record.seq,
                    record.state.encode(),
                    json.dumps(record.told()).encode(),
                )
            if record.ended or job_service.draining:
                return
            await look_up(changed, min(_LOOK_S, heartbeat_s))
            if loop.time() - spoken >= heartbeat_s:
                spoken = loop.time()
                yield _NOTHING
            try:
                record = await job_service.record(record.id, caller)
            except NotFound:
                return  # somebody has deleted it
            except Unavailable:
                continue  # the client would only come again


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
    most = UploadLimits(settings.max_job_images, settings.max_job_bytes, settings.body_timeout_s)

    async def submit(request: Request) -> Response:
        """Takes pictures to be parsed when nobody else waits."""
        job_service = _job_service(gateway)
        key = _idempotency_key(request)
        async with job_service.accepting(proven_caller(request)) as draft:
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
        record = await _job_service(gateway).record(job, proven_caller(request))
        return JSONResponse(record.told(), headers=_PRIVATE)

    async def result(request: Request, job: str) -> Response:
        """What became of each picture, as `/v1/parse/batch` tells it."""
        media = negotiate(", ".join(request.headers.getlist("accept")), (JSON, NDJSON))
        made = await _job_service(gateway).result(job, proven_caller(request))
        connected = each_while_connected(request, made)
        body = lines(connected) if media == NDJSON else results(connected, request_id(request))
        return StreamingResponse(body, media_type=media, headers=_PRIVATE)

    async def news(request: Request, job: str) -> Response:
        """Tells of every change of a job as it happens, until its end: server-sent events."""
        job_service, seen = _job_service(gateway), parse_event_id(request.headers.get(LAST_EVENT_ID))
        record = await job_service.record(job, proven_caller(request))
        if record.ended and record.seq == seen:
            return Response(status_code=204)  # ends the coming again of a browser
        told = events(job_service, record, proven_caller(request), seen, settings.job_heartbeat_s)
        hold(request, gateway.admission.streaming(admitted(request)))
        # No proxy may wait until it has the whole of it.
        headers = {**_PRIVATE, "X-Accel-Buffering": "no"}
        return StreamingResponse(each_while_connected(request, told), media_type=EVENT_STREAM, headers=headers)

    async def end(request: Request, job: str) -> Response:
        """Cancels a job that has not ended; deletes one that has, and its result."""
        record = await _job_service(gateway).end(job, proven_caller(request))
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


def _job_service(gateway: Gateway) -> JobService:
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
