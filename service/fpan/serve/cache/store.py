"""Answers in Redis: compressed, encrypted, for a time."""

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
"""Of every key."""
_NONCE_BYTES = 12
_LEVEL = 1
"""Of deflate: label maps shrink well at any level, and pictures at none."""
_HEAD = struct.Struct(">I16s")
"""Before the body: how many faces, and its digest."""
_HERE_BYTES = 64 * 1024
"""Largest value that is packed or unpacked on the event loop."""


@dataclass(frozen=True)
class Stored:
    """An answer as it is kept."""

    body: bytes
    faces: int
    """How many there are in it."""
    digest: bytes
    """Of the body, 16 bytes."""


class AnswerStore:
    """Keeps answers by name. A name and its value cannot be read, and a value not be made, without the secret."""

    def __init__(self, redis: GuardedRedis, secret: Secret, settings: CacheSettings) -> None:
        self._redis = redis
        self._cipher = AESGCM(secret.derived("answers"))
        self._ttl_s = settings.cache_ttl_s
        self._most = settings.cache_max_value_bytes

    async def get(self, name: bytes) -> Stored | None:
        """The answer of a name; None where there is none, or something that was not put there as this name's.

        Raises:
            RedisAway: that cannot be told.
        """
        value = await self._redis.ask(lambda: self._redis.client.get(PREFIX + name.hex().encode()))
        if not isinstance(value, bytes):
            return None
        if len(value) <= _HERE_BYTES:
            return self._unpacked(name, value)
        return await asyncio.to_thread(self._unpacked, name, value)

    async def put(self, name: bytes, stored: Stored) -> None:
        """Keeps an answer for its time, unless it is too large.

        Raises:
            RedisAway: it is not kept.
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
        except (InvalidTag, ValueError):  # too short to be any
            return None
        faces, digest = _HEAD.unpack_from(plain)
        return Stored(plain[_HEAD.size :], faces, digest)
