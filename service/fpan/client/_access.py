"""What opens a server that does not let everybody in: API keys, and certificates of authorities of one's own."""

import os
import ssl

KEY_VARIABLE = "FPAN_API_KEY"
Verify = ssl.SSLContext | str | os.PathLike[str] | bool
"""Whose certificates are believed."""


def key_headers(api_key: str | None = None) -> dict[str, str]:
    """The header of the given API key, else of that in ``FPAN_API_KEY``; none without one.

    Raises:
        ValueError: the key cannot be sent as it is.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key).strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("the API key has characters that no key has")
    return {"Authorization": f"Bearer {key}"} if key else {}


def verifying(verify: Verify) -> ssl.SSLContext | bool:
    """What httpx takes.

    Raises:
        OSError: there is no such file, or it holds no certificates.
    """
    if isinstance(verify, str | os.PathLike):
        return ssl.create_default_context(cafile=verify)
    return verify
