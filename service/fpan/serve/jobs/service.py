"""Where transports hand in jobs, ask after them and fetch results; and what runs jobs beside them."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from fpan.serve.api.batch import Upload
from fpan.serve.api.errors import BadRequest, Conflict, Forbidden, GatewayError, NotFound, Overloaded
from fpan.serve.fetch.guard import Network, read_url
from fpan.serve.jobs.encrypted_store import Cipher, EncryptedStore, JobStore, Missing, Unreadable
from fpan.serve.jobs.events import JobEvents
from fpan.serve.jobs.queue import JobLimits, JobSpec, RedisJobQueue, new_id
from fpan.serve.jobs.reaper import Reaper
from fpan.serve.jobs.record import JobRecord
from fpan.serve.jobs.redis_errors import FULL_RETRY_S, connect
from fpan.serve.jobs.secrets import read_secret, read_webhook_secret
from fpan.serve.jobs.settings import JobSettings
from fpan.serve.jobs.stores import open_blob_store
from fpan.serve.jobs.tasks import ended
from fpan.serve.jobs.webhook import ClientFactory, Tries, WebhookSender, guarded_clients
from fpan.serve.jobs.worker import JobWorker, ParseFor
from fpan.serve.telemetry.job_metrics import JobCounts

_MS = 1000
_log = logging.getLogger(__name__)


CheckHook = Callable[[object], httpx.URL]
"""An address that may be told; raises BadRequest or Forbidden where it may not."""


class JobService:
    """Takes jobs, tells their state, gives their results. All raise Unavailable while Redis or store is away."""

    def __init__(
        self,
        job_queue: RedisJobQueue,
        store: EncryptedStore,
        cipher: Cipher,
        job_events: JobEvents,
        hooks: CheckHook | None,
    ) -> None:
        self._job_queue = job_queue
        self._store = store
        self._cipher = cipher
        self._hooks = hooks
        self.job_events = job_events
        """Tells who waits for a job."""
        self.draining = False
        self._runners: dict[JobWorker, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def accepting(self, caller: str) -> AsyncIterator["JobSubmission"]:
        """A block in which a job is handed in; what is left of one that was not is taken away.

        Args:
            caller: who has proven to be; empty for nobody.
        """
        draft = JobSubmission(self._job_queue, self._store, self._cipher, self._owner(caller), self._hooks)
        try:
            yield draft
        finally:
            if not draft.kept and draft.count:
                try:
                    await self._store.of(draft.id).forget()
                except GatewayError as error:  # it ends by itself, or is swept as what nobody knows
                    _log.warning("what was left of a job that was not handed in stays for a while: %s", error)

    async def record(self, job: str, caller: str) -> JobRecord:
        """What is known of a job.

        Raises:
            NotFound: there is none, or it is another's.
        """
        record = await self._job_queue.record(job)
        if record is None or record.owner != self._owner(caller):
            raise NotFound("there is no such job, or it ended too long ago")
        return record

    async def result(self, job: str, caller: str) -> AsyncGenerator[bytes, None]:
        """What became of each picture of a job, in their order, read as it is asked for.

        Raises:
            NotFound: there is no such job, or its result is gone.
            Conflict: it has none, or none yet.
        """
        record = await self.record(job, caller)
        if record.state != "succeeded":
            raise Conflict(
                f"the job is {record.state}, with {record.done} of {record.total} pictures done: it has no result"
                + ("" if record.ended else " yet")
            )
        if record.expired:
            raise NotFound(f"the result was kept for {record.result_ttl_ms / _MS:g} s and is gone")
        store = self._store.of(job)
        first = await self._entry(store, 0)  # what is wrong with the store is told before the answer begins
        return self._entries(store, first, record.total)

    async def _entries(self, store: JobStore, first: bytes, total: int) -> AsyncGenerator[bytes, None]:
        yield first
        for index in range(1, total):
            yield await self._entry(store, index)

    async def _entry(self, store: JobStore, index: int) -> bytes:
        try:
            return await store.entry(index)
        except Missing:
            raise NotFound("the result is gone") from None
        except Unreadable as error:
            raise GatewayError("the result cannot be read any more: the server's JOBS_SECRET is another") from error

    async def end(self, job: str, caller: str) -> JobRecord | None:
        """Cancels a job that waits or runs; forgets one that has ended. Its pictures and result are taken away.

        Returns:
            What is known of a job that was cancelled; None for one that is forgotten.

        Raises:
            NotFound: there is no such job.
        """
        await self.record(job, caller)
        cancelled = await self._job_queue.cancel(job)
        await self._store.of(job).forget()
        if not cancelled:
            await self._job_queue.remove(job)
            return None
        return await self.record(job, caller)

    def hire(self, runner: JobWorker) -> None:
        """Lets a runner run jobs until this is drained."""
        self._runners[runner] = asyncio.create_task(runner.run(), name="jobs: runner")

    def drain(self) -> None:
        """Hands back what runs here and lets those go who wait for news."""
        self.draining = True
        for runner in self._runners:
            runner.stop()
        self.job_events.wake()

    async def close(self) -> None:
        """Waits until all that ran here is handed back."""
        self.drain()
        await asyncio.gather(*(runner.stopped(running) for runner, running in self._runners.items()))

    def _owner(self, caller: str) -> str:
        return self._cipher.tag("owner", caller) if caller else ""


class JobSubmission:
    """A job that is being handed in."""

    def __init__(
        self, job_queue: RedisJobQueue, store: EncryptedStore, cipher: Cipher, owner: str, hooks: CheckHook | None
    ) -> None:
        self.id = new_id()
        self.count = 0
        """Pictures so far."""
        self.kept = False
        """Whether there is, or may be, a job of that id now."""
        self._job_queue = job_queue
        self._blobs = store.blobs
        self._store = store.of(self.id)
        self._cipher = cipher
        self._digest = cipher.digest("body")
        self._owner = owner
        self._hooks = hooks

    async def add(self, picture: Upload) -> None:
        """Adds a picture.

        Raises:
            Overloaded: there is no room for it now.
        """
        await self._blobs.room(len(picture.data))
        await asyncio.to_thread(self._note, picture.options, picture.data)
        await self._store.put_picture(self.count, picture)
        self.count += 1

    async def submit(
        self, options: Mapping[str, object], webhook: object = None, key: str = "", namespace: str = ""
    ) -> tuple[JobRecord, bool]:
        """Hands it in, and returns it; or the one before it under the same key, and True.

        Args:
            options: for all pictures.
            webhook: where its end is to be told.
            key: makes a repeated request the same job.
            namespace: whose key it is.

        Raises:
            BadRequest, Forbidden: the webhook.
            Conflict: another job was handed in under that key.
            Overloaded: there are too many jobs.
        """
        url = "" if webhook is None else self._checked(webhook)
        self._note({**options, "webhook": url}, b"")
        await self._store.put_options(options)
        key = self._cipher.tag("key", self._owner, namespace, key) if key else ""
        order = JobSpec(self.id, self._owner, key, self._digest.hexdigest(), self.count, url)
        self.kept = True  # an answer that is lost may have been that it is a job now
        job, how = await self._job_queue.submit(order)
        self.kept = how == "new"
        if how == "full":
            raise Overloaded(f"{self._job_queue.terms.most_waiting} jobs wait already", retry_after_s=FULL_RETRY_S)
        if how == "other":
            raise Conflict("another job was handed in under this Idempotency-Key: use a new one")
        record = await self._job_queue.record(job)
        if record is None:
            raise NotFound("the job was forgotten in the very moment that it was handed in")
        return record, how == "same"

    def _checked(self, webhook: object) -> str:
        if self._hooks is None:
            raise BadRequest(
                "this server tells nobody of the end of jobs: leave webhook out, or have "
                "WEBHOOK_SECRET and WEBHOOK_HOSTS set"
            )
        try:
            return str(self._hooks(webhook))
        except (BadRequest, Forbidden) as error:
            raise type(error)(f"webhook: {error}") from None

    def _note(self, options: Mapping[str, object], data: bytes) -> None:
        told = json.dumps(options, sort_keys=True).encode()
        self._digest.update(b"%d %d\n" % (len(told), len(data)) + told)
        self._digest.update(data)


@asynccontextmanager
async def open_jobs(
    settings: JobSettings,
    private_networks: Sequence[Network],
    at_once: int,
    counts: JobCounts,
    parse: ParseFor,
    workers: int,
    client: ClientFactory | None = None,
) -> AsyncIterator[JobService | None]:
    """The jobs of the Redis that the settings name; None where they name none. Redis may come later.

    Args:
        settings: see there.
        private_networks: in which webhooks may be although they are not public.
        at_once: pictures that are in work at once here.
        counts: are told how jobs go.
        parse: parses pictures.
        workers: jobs that are run here at once.
        client: makes what goes to webhooks; None: it goes where ``webhook_hosts`` allows.

    Raises:
        RepositoryError: the store cannot be opened.
    """
    url = settings.redis_jobs_url.get_secret_value()
    if not url:
        yield None
        return
    async with AsyncExitStack() as stack:
        redis = connect(url)
        stack.push_async_callback(redis.aclose)
        terms = JobLimits(
            settings.job_lease_s,
            settings.job_attempts,
            settings.max_jobs,
            settings.job_input_ttl_s,
            settings.job_result_ttl_s,
            settings.job_record_ttl_s,
        )
        job_queue, job_events = RedisJobQueue(redis, terms, counts), JobEvents(redis)
        cipher = Cipher(read_secret(settings.jobs_secret.get_secret_value()))
        longest_ms = round((settings.job_input_ttl_s + settings.job_result_ttl_s) * _MS)
        blobs = open_blob_store(settings.jobs_store, redis, settings.jobs_redis_bytes, longest_ms)
        store = EncryptedStore(blobs, cipher)
        hook_secret = settings.webhook_secret.get_secret_value()
        check: CheckHook = read_url
        if client is None and (guarded := guarded_clients(settings, private_networks)):
            client, check = guarded
        told = bool(hook_secret) and client is not None
        job_service = JobService(job_queue, store, cipher, job_events, check if told else None)
        counts.begin()
        beside: list[tuple[str, Callable[[], Any]]] = [
            ("bulletin", job_events.run),
            ("housekeeper", Reaper(job_queue, store, settings.job_sweep_s, counts).run),
        ]
        if hook_secret and client is not None:
            key = read_webhook_secret(hook_secret)
            tries = Tries(settings.webhook_attempts, settings.webhook_timeout_s, settings.webhook_concurrency)
            beside.append(("webhooks", WebhookSender(job_queue, job_events, client, key, tries, counts).run))
        for name, run in beside:
            task = asyncio.create_task(run(), name=f"jobs: {name}")
            stack.push_async_callback(ended, task)
        for _ in range(workers):
            runner = JobWorker(job_queue, store, job_events, parse, at_once, settings.job_picture_timeout_s, counts)
            job_service.hire(runner)
        stack.push_async_callback(job_service.close)
        _log.info("jobs: on, %d run here at once, their pictures lie in %s", workers, blobs.address)
        yield job_service
