"""What lies in a store is encrypted: AES-256-GCM, a key of its own for each job, made from one secret."""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fpan.serve.api.batch import Upload
from fpan.serve.jobs.secrets import SECRET_BYTES
from fpan.serve.jobs.stores import BlobStore

_NONCE_BYTES = 12


class Unreadable(Exception):
    """It was not written with this secret, for this job and this place, or it was changed."""


class Cipher:
    """Keys that are made from a secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, job: str) -> "JobCipher":
        """For what belongs to one job."""
        return JobCipher(job, AESGCM(self._derived(f"job {job}")))

    def tag(self, purpose: str, *words: str) -> str:
        """A keyed hash: tells whether two things are the same and nothing else to whoever lacks the secret."""
        return self.digest(purpose, "\0".join(words).encode()).hexdigest()

    def digest(self, purpose: str, data: bytes = b"") -> "hmac.HMAC":
        """The same, piece by piece."""
        return hmac.new(self._derived(purpose), data, hashlib.sha256)

    def _derived(self, purpose: str) -> bytes:
        return HKDF(SHA256(), SECRET_BYTES, None, b"mask-fpan jobs: " + purpose.encode()).derive(self._secret)


class JobCipher:
    """Encrypts what belongs to one job."""

    def __init__(self, job: str, key: AESGCM) -> None:
        self._job = job
        self._key = key

    def encrypt(self, name: str, data: bytes) -> bytes:
        """``data`` for the place ``name`` of this job; it can be read nowhere else."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, data, self._bound_to(name))

    def decrypt(self, name: str, data: bytes) -> bytes:
        """What :meth:`encrypt` was given.

        Raises:
            Unreadable: it is something else.
        """
        view = memoryview(data)
        try:
            return self._key.decrypt(bytes(view[:_NONCE_BYTES]), view[_NONCE_BYTES:], self._bound_to(name))
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"{name} cannot be decrypted: another JOBS_SECRET, or it was changed") from error

    def _bound_to(self, name: str) -> bytes:
        return f"{self._job}/{name}".encode()


_OPTIONS, _IN, _OUT = "options", "in-", "out-"


class EncryptedStore:
    """What lies in a store, for whoever has the secret. All of it raises what :class:`BlobStore` does."""

    def __init__(self, blobs: BlobStore, cipher: Cipher) -> None:
        self.blobs = blobs
        self._cipher = cipher

    def of(self, job: str) -> "JobStore":
        """What belongs to one job."""
        return JobStore(job, self.blobs, self._cipher.of(job))


class JobStore:
    """Input and result of one job."""

    def __init__(self, job: str, blobs: BlobStore, cipher: JobCipher) -> None:
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
