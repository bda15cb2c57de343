"""Inputs and results of jobs by what they are, encrypted before they lie anywhere."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fpan.serve.jobs.blobs import Blobs
from fpan.serve.jobs.cipher import Cipher, JobCipher
from fpan.serve.wire.upload import Upload

_OPTIONS, _IN, _OUT = "options", "in-", "out-"


class Vault:
    """What lies in a store, for whoever has the secret. All of it raises what :class:`Blobs` does."""

    def __init__(self, blobs: Blobs, cipher: Cipher) -> None:
        self.blobs = blobs
        self._cipher = cipher

    def of(self, job: str) -> "JobVault":
        """What belongs to one job."""
        return JobVault(job, self.blobs, self._cipher.of(job))


class JobVault:
    """Input and result of one job."""

    def __init__(self, job: str, blobs: Blobs, cipher: JobCipher) -> None:
        self._job = job
        self._blobs = blobs
        self._cipher = cipher

    async def put_options(self, options: Mapping[str, object]) -> None:
        """Options for all pictures."""
        await self._put(_OPTIONS, json.dumps(options).encode())

    async def options(self) -> dict[str, object]:
        """Options for all pictures.

        Raises:
            Missing: they are gone.
            Unreadable: see :meth:`JobCipher.decrypt`.
        """
        return dict(json.loads(await self._get(_OPTIONS)))

    async def put_picture(self, index: int, picture: Upload) -> None:
        """One picture, and its own options."""
        head = json.dumps(picture.options).encode()  # has no line break of its own
        await self._put(_name(_IN, index), head + b"\n" + picture.data)

    async def picture(self, index: int) -> Upload:
        """One picture; raises as :meth:`options`."""
        whole = await self._get(_name(_IN, index))
        end = whole.index(b"\n")
        options: dict[str, Any] = json.loads(whole[:end])
        return Upload(whole[end + 1 :], options)

    async def put_entry(self, index: int, entry: bytes) -> None:
        """What became of one picture."""
        await self._put(_name(_OUT, index), entry)

    async def entry(self, index: int) -> bytes:
        """What became of one picture; raises as :meth:`options`."""
        return await self._get(_name(_OUT, index))

    async def forget_picture(self, index: int) -> None:
        """Takes a picture away that has been parsed."""
        await self._blobs.delete(self._job, _name(_IN, index))

    async def forget_input(self) -> None:
        """Takes away all that is not result."""
        names = [name for name in await self._blobs.names(self._job) if not name.startswith(_OUT)]
        if names:
            await self._blobs.delete(self._job, *names)

    async def forget(self) -> None:
        """Takes everything away."""
        await self._blobs.delete(self._job)

    async def _put(self, name: str, data: bytes) -> None:
        await self._blobs.put(self._job, name, await asyncio.to_thread(self._cipher.encrypt, name, data))

    async def _get(self, name: str) -> bytes:
        data = await self._blobs.get(self._job, name)
        if data is None:
            raise Missing(f"{name} is not in the store of jobs")
        return await asyncio.to_thread(self._cipher.decrypt, name, data)


class Missing(Exception):
    """It is not there any more."""


def _name(kind: str, index: int) -> str:
    return f"{kind}{index:06}"
