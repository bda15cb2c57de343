"""The secret that gateways share, and the keys derived from it."""

import hmac
import secrets

from fpan.serve.cache.settings import CacheSettings

_BYTES = 32


class Secret:
    """``CACHE_KEY``, or a random secret that lasts as long as this process."""

    def __init__(self, settings: CacheSettings) -> None:
        said = settings.cache_key.get_secret_value()
        self.shared = bool(said)
        """Whether other gateways can use the same secret."""
        self._secret = said.encode() or secrets.token_bytes(_BYTES)

    def derived(self, purpose: str) -> bytes:
        """Derives a key of 32 bytes for one purpose; it reveals nothing about keys for other purposes."""
        return hmac.digest(self._secret, purpose.encode(), "sha256")
