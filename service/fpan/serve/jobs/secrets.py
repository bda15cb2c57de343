"""Secrets as settings have them."""

import base64

SECRET_BYTES = 32
HOW = "make one with: openssl rand -base64 32"
WEBHOOK_PREFIX = "whsec_"
_LEAST_WEBHOOK_BYTES = 24


def read_secret(text: str) -> bytes:
    """Reads the secret that encrypts jobs.

    Raises:
        ValueError: it is not the base64 of 32 bytes.
    """
    secret = _decoded(text)
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"it is not {SECRET_BYTES} bytes in base64: {HOW}")
    return secret


def read_webhook_secret(text: str) -> bytes:
    """Reads the secret that signs webhooks: base64, with or without ``whsec_`` before it.

    Raises:
        ValueError: it is not base64, or too short to be a secret.
    """
    secret = _decoded(text.removeprefix(WEBHOOK_PREFIX))
    if len(secret) < _LEAST_WEBHOOK_BYTES:
        raise ValueError(f"it is not {_LEAST_WEBHOOK_BYTES} bytes or more in base64: {HOW}")
    return secret


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
