"""Addresses as people write them in settings."""

import ipaddress
from urllib.parse import urlsplit

ANY_ORIGIN = "*"


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` is reached from its own machine alone; False where that is not sure."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def origin(value: object) -> str:
    """An origin as browsers send it (RFC 6454), or ``*``.

    Raises:
        ValueError: it is none.
    """
    told = str(value).rstrip("/")
    parts = urlsplit(told)
    plain = parts.scheme in ("http", "https") and parts.hostname and told == f"{parts.scheme}://{parts.netloc}"
    if told != ANY_ORIGIN and (not plain or "@" in parts.netloc):
        raise ValueError(f"{told!r} is no origin: write https://HOST or https://HOST:PORT")
    return told.lower()


def http_address(value: object) -> str:
    """The address of a server over HTTP, or empty for none.

    Raises:
        ValueError: it is none.
    """
    told = str(value)
    parts = urlsplit(told)
    if told and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError(f"{told!r} is no address: write http://HOST:PORT or https://HOST")
    return told
