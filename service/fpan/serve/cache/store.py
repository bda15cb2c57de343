"""Stores answers in Redis, compressed and encrypted, with an expiry time."""

import asyncio
import secrets
import struct
import zlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fpan.serve.cache.circuit_breaker import GuardedRedis
from fpan.serve.cache.secret import Secret
from fpan.serve.cache.settings import CacheSettings

PREFIX = b"fpan:answer:"
"""Prefix of every key in Redis."""
_NONCE_BYTES = 12
_LEVEL = 1
"""Level of deflate: label maps compress well at any level, and pictures at none."""
_HEAD = struct.Struct(">I16s")
"""Header before the body: number of faces (uint32, big-endian) and digest (16 bytes)."""
_HERE_BYTES = 64 * 1024
"""Largest value in bytes that is packed or unpacked on the event loop; larger ones go to a thread."""


@dataclass(frozen=True)
class Stored:
    """An answer as it is stored."""

    body: bytes
    faces: int
    """Number of faces in the answer."""
    digest: bytes
    """Hash of the body, 16 bytes."""


class AnswerStore:
    """Stores answers by cache key. Without the secret nobody can read a key or a value, or forge a value."""

    def __init__(self, redis: GuardedRedis, secret: Secret, settings: CacheSettings) -> None:
        self._redis = redis
        self._cipher = AESGCM(secret.derived("answers"))
        self._ttl_s = settings.cache_ttl_s
        self._most = settings.cache_max_value_bytes

    async def get(self, name: bytes) -> Stored | None:
        """Returns the answer stored under a cache key; None if there is none, or if the value was not written for it.

        Raises:
            RedisAway: Redis did not answer.
        """
        value = await self._redis.ask(lambda: self._redis.client.get(PREFIX + name.hex().encode()))
        if not isinstance(value, bytes):
            return None
        if len(value) <= _HERE_BYTES:
            return self._unpacked(name, value)
        return await asyncio.to_thread(self._unpacked, name, value)

    async def put(self, name: bytes, stored: Stored) -> None:
        """Stores an answer until it expires, unless it is too large.

        Raises:
            RedisAway: the answer was not stored.
        """
        if len(stored.body) <= _HERE_BYTES:
            value = self._packed(name, stored)
        else:
            value = await asyncio.to_thread(self._packed, name, stored)
        if len(value) <= self._most:
            key = PREFIX + name.hex().encode()
            await self._redis.ask(lambda: self._redis.client.set(key, value, ex=self._ttl_s), writes=True)

    def _packed(self, name: bytes, stored: Stored) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = zlib.compress(_HEAD.pack(stored.faces, stored.digest) + stored.body, _LEVEL)
        return nonce + self._cipher.encrypt(nonce, plain, name)

    def _unpacked(self, name: bytes, value: bytes) -> Stored | None:
        try:
            plain = zlib.decompress(self._cipher.decrypt(value[:_NONCE_BYTES], value[_NONCE_BYTES:], name))
        except (InvalidTag, ValueError):  # forged, written for another key, or too short
            return None
        faces, digest = _HEAD.unpack_from(plain)
        return Stored(plain[_HEAD.size :], faces, digest)
