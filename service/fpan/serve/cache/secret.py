"""The secret that gateways share, and what is derived from it."""

import hmac
import secrets

from fpan.serve.cache.settings import CacheSettings

_BYTES = 32


class Secret:
    """``CACHE_KEY``, or one made up for the life of this process."""

    def __init__(self, settings: CacheSettings) -> None:
        said = settings.cache_key.get_secret_value()
        self.shared = bool(said)
        """Whether another gateway can have the same one."""
        self._secret = said.encode() or secrets.token_bytes(_BYTES)

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose: one of them tells nothing of another."""
        return hmac.digest(self._secret, purpose.encode(), "sha256")
