"""Sends a signed webhook call when a job ends, and retries until it is accepted or given up.

The scheme is that of Standard WebhookSender (www.standardwebhooks.com): ``webhook-id``, the same for every try,
``webhook-timestamp`` and ``webhook-signature``, an HMAC-SHA-256 over the two and the body.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from fpan.serve.api.errors import GatewayError, Unavailable
from fpan.serve.fetch.fetcher import guarded_client
from fpan.serve.fetch.guard import Guard, Network
from fpan.serve.jobs.events import JobEvents, look_up
from fpan.serve.jobs.queue import RedisJobQueue, WebhookTask
from fpan.serve.jobs.record import JobRecord
from fpan.serve.jobs.settings import JobSettings
from fpan.serve.jobs.tasks import ended
from fpan.serve.telemetry.job_metrics import JobCounts

ClientFactory = Callable[[], httpx.AsyncClient]
"""Makes a client that goes only where callers may send this server."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3600.0
_LOOK_S = 1.0
_log = logging.getLogger(__name__)


def signature(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def guarded_clients(
    settings: JobSettings, private_networks: Sequence[Network]
) -> tuple[ClientFactory, Callable[[object], httpx.URL]] | None:
    """What goes only where callers may send this server, and what refuses other addresses beforehand; None: nowhere."""
    if not settings.webhook_hosts:
        return None
    guard = Guard(settings.webhook_hosts, private_networks)
    return lambda: guarded_client(guard, timeout_s=settings.webhook_timeout_s), guard.check


@dataclass(frozen=True)
class Tries:
    """Limits of webhook calls."""

    attempts: int
    """Until a message is given up."""
    timeout_s: float
    """How long one may take, in seconds."""
    at_once: int
    """How many may be under way, each to another host."""


class WebhookSender:
    """Sends each webhook call at least once."""

    def __init__(
        self,
        job_queue: RedisJobQueue,
        job_events: JobEvents,
        client: ClientFactory,
        key: bytes,
        tries: Tries,
        counts: JobCounts,
    ) -> None:
        """Makes one of its parts.

        Args:
            job_queue: knows whose end is to be told.
            job_events: tells when a job has changed.
            client: goes to the address.
            key: signs.
            tries: how often, how long and how many at once.
            counts: are told of each try.
        """
        self._job_queue = job_queue
        self._job_events = job_events
        self._client = client
        self._key = key
        self._tries = tries
        self._counts = counts
        self._telling: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Tells until it is cancelled."""
        with self._job_events.changes() as changed:
            async with self._client() as client:
                try:
                    while True:
                        if not await self._begin_next(client, changed):
                            await look_up(changed, _LOOK_S)
                finally:
                    await ended(*self._telling)

    async def _begin_next(self, client: httpx.AsyncClient, changed: asyncio.Event) -> bool:
        """Starts the oldest due call whose host has no call under way. Returns whether there was one.

        So a host that hangs delays only its own calls.
        """
        if len(self._telling) >= self._tries.at_once:
            return False
        with self._unbroken():
            due = await self._job_queue.next_hook(2 * self._tries.timeout_s, self._telling.values())
            if due is None:
                return False
            task = asyncio.create_task(self._tell(client, due), name=f"webhook of job {due.job}")
            self._telling[task] = due.host

            def done(task: asyncio.Task[None]) -> None:
                del self._telling[task]
                changed.set()

            task.add_done_callback(done)
            return True
        return False

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """A block whose errors are caught: a call that failed is due again later."""
        try:
            yield
        except Unavailable:
            pass
        except Exception:
            _log.exception("the end of a job cannot be told")

    async def _tell(self, client: httpx.AsyncClient, due: WebhookTask) -> None:
        with self._unbroken():
            await self._try(client, due.job, due.attempt)

    async def _try(self, client: httpx.AsyncClient, job: str, attempt: int) -> None:
        record = await self._job_queue.record(job)
        if record is None or not record.webhook:
            await self._job_queue.hook_done(job)
        elif await self._told(client, record):
            self._counts.hook("delivered")
            await self._job_queue.hook_done(job)
        elif attempt >= self._tries.attempts:
            self._counts.hook("given up")
            _log.warning("nobody has heard of the end of job %s in %d tries: given up", job, attempt)
            await self._job_queue.hook_done(job)
        else:
            self._counts.hook("failed")
            pause_s = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
            await self._job_queue.later_hook(job, pause_s * random.uniform(0.75, 1.25))

    async def _told(self, client: httpx.AsyncClient, record: JobRecord) -> bool:
        now = int(time.time())
        message = {
            "type": f"job.{record.state}",
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
            "data": record.told(),
        }
        body = json.dumps(message).encode()
        identity = f"msg_{record.id}"
        headers = {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, identity, now, body),
        }
        try:
            async with asyncio.timeout(self._tries.timeout_s):
                # The body of the answer is of no use, and may have no end.
                async with client.stream("POST", record.webhook, content=body, headers=headers) as answer:
                    return answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL, GatewayError, OSError, TimeoutError):
            return False
