"""The keys of now, and who presents one."""

import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from fpan.serve.errors import Unauthenticated
from fpan.serve.keys.file import KeyEntry, KeyFile
from fpan.serve.keys.secret import hash_of, id_of

_NOBODYS = secrets.token_hex(32)
"""Compared with where there is no such id, so that this takes as long as with one."""
HOW = "send it as `Authorization: Bearer KEY` or as `X-API-Key`"


class KeyRing:
    """Knows keys by their hashes; :meth:`replace` exchanges all of them at once."""

    def __init__(self, keys: KeyFile, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.replace(keys)

    def replace(self, keys: KeyFile) -> None:
        """These are the keys from now on."""
        self._by_id = {key.id: key for key in keys.keys}

    @property
    def usable(self) -> int:
        """How many keys there are that are neither revoked nor expired."""
        now = self._clock()
        return sum(not key.revoked and not _over(key, now) for key in self._by_id.values())

    def owner(self, presented: str | None) -> KeyEntry:
        """The entry of a key that somebody presents.

        Raises:
            Unauthenticated: there is none, it is not known, revoked or expired.
        """
        if presented is None:
            raise Unauthenticated(
                f"this server wants an API key: {HOW}; whoever runs it makes one with `fpan keys add`"
            )
        name = id_of(presented)
        entry = self._by_id.get(name or "")
        digest = hash_of(presented) if name else ""
        if not hmac.compare_digest(digest, entry.sha256 if entry else _NOBODYS) or entry is None:
            raise Unauthenticated(f"the API key is none of this server's: {HOW}, whole and unchanged")
        # Only who has the key itself is told what became of it.
        if entry.revoked:
            raise Unauthenticated(
                f"the API key {entry.id} was revoked on {entry.revoked:%Y-%m-%d}: ask for another one"
            )
        if _over(entry, self._clock()):
            raise Unauthenticated(f"the API key {entry.id} expired on {entry.expires:%Y-%m-%d}: ask for another one")
        return entry


def _over(key: KeyEntry, now: datetime) -> bool:
    return key.expires is not None and now >= key.expires
