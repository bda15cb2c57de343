"""Tells of the end of jobs at an address of the caller's, signed, until somebody has listened.

The scheme is that of Standard Webhooks (www.standardwebhooks.com): ``webhook-id``, the same for every try,
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
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from fpan.serve.errors import BadRequest, GatewayError, Unavailable
from fpan.serve.fetch.client import guarded_client
from fpan.serve.fetch.guard import Guard
from fpan.serve.jobs.bulletin import Bulletin, look_up
from fpan.serve.jobs.counts import JobCounts
from fpan.serve.jobs.ledger import Ledger
from fpan.serve.jobs.record import Record
from fpan.serve.settings import Settings

ClientFactory = Callable[[], httpx.AsyncClient]
"""Makes a client that goes only where callers may send this server."""
_MAX_URL = 2048
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3600.0
_LOOK_S = 1.0
_log = logging.getLogger(__name__)


def signature(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def guarded_clients(settings: Settings) -> tuple[ClientFactory, Callable[[str], object]] | None:
    """What goes only where callers may send this server, and what refuses other addresses beforehand; None: nowhere."""
    if not settings.webhook_hosts:
        return None
    guard = Guard.of(settings, settings.webhook_hosts)
    return lambda: guarded_client(guard, timeout_s=settings.webhook_timeout_s), guard.check


def check_url(url: object) -> str:
    """An address that may be told; where it leads is looked at when it is.

    Raises:
        BadRequest: it is none.
    """
    if isinstance(url, str) and len(url) <= _MAX_URL:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme in ("http", "https") and parsed.host and not parsed.userinfo:
            return url
    raise BadRequest(f"webhook is an address of at most {_MAX_URL} characters, such as https://example.org/parsed")


class Webhooks:
    """Tells of every end at least once."""

    def __init__(
        self,
        ledger: Ledger,
        bulletin: Bulletin,
        client: ClientFactory,
        key: bytes,
        attempts: int,
        timeout_s: float,
        counts: JobCounts,
    ) -> None:
        """Takes what it needs.

        Args:
            ledger: knows whose end is to be told.
            bulletin: tells when a job has changed.
            client: goes to the address.
            key: signs.
            attempts: tries until a message is given up.
            timeout_s: how long one try may take, in seconds.
            counts: are told of each try.
        """
        self._ledger = ledger
        self._bulletin = bulletin
        self._client = client
        self._key = key
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._counts = counts

    async def run(self) -> None:
        """Tells until it is cancelled."""
        with self._bulletin.changes() as changed:
            async with self._client() as client:
                while True:
                    try:
                        if not await self._tell_next(client):
                            await look_up(changed, _LOOK_S)
                    except Unavailable:
                        await asyncio.sleep(_LOOK_S)
                    except Exception:  # a fault of ours must not keep all others from being told
                        _log.exception("the end of a job cannot be told")
                        await asyncio.sleep(_LOOK_S)

    async def _tell_next(self, client: httpx.AsyncClient) -> bool:
        """Tries one; whether there was one."""
        due = await self._ledger.next_hook(2 * self._timeout_s)
        if due is None:
            return False
        job, attempt = due
        record = await self._ledger.record(job)
        if record is None or not record.webhook:
            await self._ledger.hook_done(job)
        elif await self._told(client, record):
            self._counts.hook("delivered")
            await self._ledger.hook_done(job)
        elif attempt >= self._attempts:
            self._counts.hook("given up")
            _log.warning("nobody has heard of the end of job %s in %d tries: given up", job, attempt)
            await self._ledger.hook_done(job)
        else:
            self._counts.hook("failed")
            pause_s = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
            await self._ledger.later_hook(job, pause_s * random.uniform(0.75, 1.25))
        return True

    async def _told(self, client: httpx.AsyncClient, record: Record) -> bool:
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
            async with asyncio.timeout(self._timeout_s):
                # The body of the answer is of no use, and may have no end.
                async with client.stream("POST", record.webhook, content=body, headers=headers) as answer:
                    return answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL, GatewayError, OSError, TimeoutError):
            return False
