"""Encrypts what is in a store: AES-256-GCM with one key per job, derived from one secret."""

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
    """The data was written with another secret or for another job or name, or it was changed."""


class Cipher:
    """Derives keys from a secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, job: str) -> "JobCipher":
        """Returns the cipher of one job."""
        return JobCipher(job, AESGCM(self._derived(f"job {job}")))

    def tag(self, purpose: str, *words: str) -> str:
        """Returns a keyed hash of strings. Without the secret it shows only whether two values are equal."""
        return self.digest(purpose, "\0".join(words).encode()).hexdigest()

    def digest(self, purpose: str, data: bytes = b"") -> "hmac.HMAC":
        """Returns the same kind of keyed hash, which can be updated piece by piece."""
        return hmac.new(self._derived(purpose), data, hashlib.sha256)

    def _derived(self, purpose: str) -> bytes:
        return HKDF(SHA256(), SECRET_BYTES, None, b"mask-fpan jobs: " + purpose.encode()).derive(self._secret)


class JobCipher:
    """Encrypts what belongs to one job."""

    def __init__(self, job: str, key: AESGCM) -> None:
        self._job = job
        self._key = key

    def encrypt(self, name: str, data: bytes) -> bytes:
        """Encrypts ``data``; it can be decrypted only under the same ``name`` of this job."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, data, self._bound_to(name))

    def decrypt(self, name: str, data: bytes) -> bytes:
        """Returns the data that :meth:`encrypt` was given.

        Raises:
            Unreadable: see there.
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
    """Encrypts and decrypts the contents of a store. Its methods raise the errors of :class:`BlobStore`."""

    def __init__(self, blobs: BlobStore, cipher: Cipher) -> None:
        self.blobs = blobs
        self._cipher = cipher

    def of(self, job: str) -> "JobStore":
        """Returns the part of the store that belongs to one job."""
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
        """Stores one picture with its own options."""
        head = json.dumps(picture.options).encode()  # has no line break of its own
        await self._put(_name(_IN, index), head + b"\n" + picture.data)

    async def picture(self, index: int) -> Upload:
        """Returns one picture; raises the errors of :meth:`options`."""
        whole = await self._get(_name(_IN, index))
        end = whole.index(b"\n")
        options: dict[str, Any] = json.loads(whole[:end])
        return Upload(whole[end + 1 :], options)

    async def put_entry(self, index: int, entry: bytes) -> None:
        """Stores the result entry of one picture."""
        await self._put(_name(_OUT, index), entry)

    async def entry(self, index: int) -> bytes:
        """Returns the result entry of one picture; raises the errors of :meth:`options`."""
        return await self._get(_name(_OUT, index))

    async def forget_picture(self, index: int) -> None:
        """Deletes a picture that has been parsed."""
        await self._blobs.delete(self._job, _name(_IN, index))

    async def forget_input(self) -> None:
        """Deletes everything except the results."""
        names = [name for name in await self._blobs.names(self._job) if not name.startswith(_OUT)]
        if names:
            await self._blobs.delete(self._job, *names)

    async def forget(self) -> None:
        """Deletes everything that belongs to the job."""
        await self._blobs.delete(self._job)

    async def _put(self, name: str, data: bytes) -> None:
        await self._blobs.put(self._job, name, await asyncio.to_thread(self._cipher.encrypt, name, data))

    async def _get(self, name: str) -> bytes:
        data = await self._blobs.get(self._job, name)
        if data is None:
            raise Missing(f"{name} is not in the store of jobs")
        return await asyncio.to_thread(self._cipher.decrypt, name, data)


class Missing(Exception):
    """The data is no longer in the store."""


def _name(kind: str, index: int) -> str:
    return f"{kind}{index:06}"
