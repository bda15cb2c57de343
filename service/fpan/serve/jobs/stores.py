"""Where inputs and results lie: in the Redis of the jobs, in a folder, or in an object store. All of it is encrypted.

::

    <store>/<job>/options, in-000000, ...   gone as soon as each has been parsed
                  out-000000, ...           one for each picture
"""

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from redis.asyncio import Redis

from fpan.contract import RepositoryError
from fpan.serve.api.errors import Overloaded, Unavailable
from fpan.serve.jobs.redis_errors import FULL_RETRY_S, translating_errors
from fpan.serve.jobs.scripts import BLOBS
from fpan.storage.files import sync
from fpan.storage.objects import Bucket, is_remote

T = TypeVar("T")
_FOLDER_MODE = 0o700
_REMOVALS = 8
"""Tries to remove a folder in which others still write."""


class BlobStore(Protocol):
    """Named bytes of jobs. Every method raises Unavailable where the store is away or full."""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        ...

    async def put(self, job: str, name: str, data: bytes) -> None:
        """Puts bytes in the place of what was there, whole or not at all."""
        ...

    async def get(self, job: str, name: str) -> bytes | None:
        """What was put there; None for nothing."""
        ...

    async def names(self, job: str) -> list[str]:
        """What there is of a job."""
        ...

    async def delete(self, job: str, *names: str) -> None:
        """Takes these away, or without names all that there is of a job; nothing where they are not there."""
        ...

    async def room(self, size: int) -> None:
        """Whether an input of so many bytes may be added.

        Raises:
            Overloaded: the store has what it may have.
        """
        ...

    async def stale(self, age_s: float) -> list[str]:
        """Jobs of which there is something that is older than so many seconds; none where such things end by
        themselves.
        """
        ...


def open_blob_store(address: Path | str | None, redis: Redis, most_bytes: int, ttl_ms: int) -> BlobStore:
    """The store at an address.

    Args:
        address: a folder, ``s3://BUCKET/PREFIX``, or None for Redis.
        redis: of the jobs.
        most_bytes: memory that this Redis may have in use for an input to be taken.
        ttl_ms: how long something lies in Redis that nobody takes away.

    Raises:
        RepositoryError: there is none, or what it needs is not installed.
    """
    if address is None:
        return RedisBlobStore(redis, most_bytes, ttl_ms)
    return ObjectBlobStore(str(address)) if is_remote(address) else FolderBlobStore(Path(address))


class RedisBlobStore:
    """A hash for each job."""

    address = "Redis"

    def __init__(self, redis: Redis, most_bytes: int, ttl_ms: int) -> None:
        self._redis: Any = redis
        self._most_bytes = most_bytes
        self._ttl_ms = ttl_ms

    async def put(self, job: str, name: str, data: bytes) -> None:
        """See :class:`BlobStore`."""
        with translating_errors():
            async with self._redis.pipeline(transaction=True) as both:
                both.hset(BLOBS + job, name, data)
                both.pexpire(BLOBS + job, self._ttl_ms)
                await both.execute()

    async def get(self, job: str, name: str) -> bytes | None:
        """See :class:`BlobStore`."""
        with translating_errors():
            found: bytes | None = await self._redis.hget(BLOBS + job, name)
        return found

    async def names(self, job: str) -> list[str]:
        """See :class:`BlobStore`."""
        with translating_errors():
            return sorted(name.decode() for name in await self._redis.hkeys(BLOBS + job))

    async def delete(self, job: str, *names: str) -> None:
        """See :class:`BlobStore`."""
        with translating_errors():
            await (self._redis.hdel(BLOBS + job, *names) if names else self._redis.unlink(BLOBS + job))

    async def room(self, size: int) -> None:
        """See :class:`BlobStore`. By what Redis itself has in use, whatever for."""
        with translating_errors():
            used = int((await self._redis.info("memory"))["used_memory"])
        if used + size > self._most_bytes:
            raise Overloaded("there is no room for another job now: others must end first", retry_after_s=FULL_RETRY_S)

    async def stale(self, age_s: float) -> list[str]:
        """See :class:`BlobStore`."""
        return []


class FolderBlobStore:
    """A folder for each job, for gateways and workers that share a file system."""

    def __init__(self, root: Path) -> None:
        """Opens it, made where it is missing.

        Raises:
            RepositoryError: it cannot be made.
        """
        self._root = root
        try:
            root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise RepositoryError(f"JOBS_STORE: {error.filename}: {error.strerror}") from error

    @property
    def address(self) -> str:
        """See :class:`BlobStore`."""
        return str(self._root)

    async def put(self, job: str, name: str, data: bytes) -> None:
        """See :class:`BlobStore`. A worker that was away too long may write the same at the same time."""

        def write() -> None:
            folder = self._root / job
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            beside = folder / f".{name}.{secrets.token_hex(4)}"
            beside.write_bytes(data)
            sync(beside)
            beside.replace(folder / name)
            sync(folder)

        await self._work(write)

    async def get(self, job: str, name: str) -> bytes | None:
        """See :class:`BlobStore`."""

        def read() -> bytes | None:
            try:
                return (self._root / job / name).read_bytes()
            except FileNotFoundError:
                return None

        return await self._work(read)

    async def names(self, job: str) -> list[str]:
        """See :class:`BlobStore`."""

        def look() -> list[str]:
            try:
                return sorted(path.name for path in (self._root / job).iterdir())
            except FileNotFoundError:
                if not self._root.is_dir():
                    raise
                return []

        return await self._work(look)

    async def delete(self, job: str, *names: str) -> None:
        """See :class:`BlobStore`."""

        def remove() -> None:
            for name in names:
                (self._root / job / name).unlink(missing_ok=True)
            if names:
                return
            # Moved away first: a worker that still writes there would keep the folder from being removed.
            gone = self._root / f".{job}.{secrets.token_hex(4)}"
            try:
                (self._root / job).rename(gone)
            except FileNotFoundError:
                return
            for _ in range(_REMOVALS):  # what was being written when it was moved comes a moment later
                shutil.rmtree(gone, ignore_errors=True)
                if not gone.exists():
                    return
            shutil.rmtree(gone)

        await self._work(remove)

    async def room(self, size: int) -> None:
        """See :class:`BlobStore`. A disk tells when it is full."""

    async def stale(self, age_s: float) -> list[str]:
        """See :class:`BlobStore`."""
        before = time.time() - age_s

        def look() -> list[str]:
            return [path.name for path in self._root.iterdir() if path.is_dir() and path.stat().st_mtime < before]

        return await self._work(look)

    async def _work(self, function: Callable[[], T]) -> T:
        """Runs what waits for the disk on another thread."""
        try:
            return await asyncio.to_thread(function)
        except OSError as error:
            raise Unavailable("the store of jobs takes nothing now", retry_after_s=FULL_RETRY_S) from error


class ObjectBlobStore:
    """A prefix for each job in an object store that speaks S3."""

    def __init__(self, address: str) -> None:
        """Opens it; connects when first used.

        Raises:
            RepositoryError: the address names no bucket, or the extra ``[s3]`` is not installed.
        """
        self._store = Bucket(address)

    @property
    def address(self) -> str:
        """See :class:`BlobStore`."""
        return self._store.address

    async def put(self, job: str, name: str, data: bytes) -> None:
        """See :class:`BlobStore`."""
        with _reaching_objects():
            await asyncio.to_thread(self._store.put, job, name, data)

    async def get(self, job: str, name: str) -> bytes | None:
        """See :class:`BlobStore`."""
        with _reaching_objects():
            return (await asyncio.to_thread(self._store.get, job, name))[0]

    async def names(self, job: str) -> list[str]:
        """See :class:`BlobStore`."""
        with _reaching_objects():
            return sorted(each.path for each in await asyncio.to_thread(self._store.below, job))

    async def delete(self, job: str, *names: str) -> None:
        """See :class:`BlobStore`."""
        with _reaching_objects():
            for name in names or await self.names(job):
                await asyncio.to_thread(self._store.delete, job, name)

    async def room(self, size: int) -> None:
        """See :class:`BlobStore`. An object store has no end."""

    async def stale(self, age_s: float) -> list[str]:
        """See :class:`BlobStore`."""
        before = time.time() - age_s

        def look() -> list[str]:
            folders = self._store.folders()
            return [job for job in folders if all(o.written.timestamp() < before for o in self._store.below(job))]

        with _reaching_objects():
            return await asyncio.to_thread(look)


@contextmanager
def _reaching_objects() -> Iterator[None]:
    try:
        yield
    except RepositoryError as error:
        raise Unavailable("the store of jobs does not answer", retry_after_s=FULL_RETRY_S) from error
