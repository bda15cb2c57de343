"""What lies in a store is encrypted: AES-256-GCM, a key of its own for each job, made from one secret."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fpan.serve.jobs.secrets import SECRET_BYTES

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
