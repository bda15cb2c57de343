"""Access to protected servers: API keys, private certificate authorities and client certificates."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from fpan.client.errors import FpanError

KEY_VARIABLE = "FPAN_API_KEY"
AUTHORITY_VARIABLE = "FPAN_CA"
"""Environment variable with the path of a PEM file: certificates of the trusted authorities."""
CERTIFICATE_VARIABLE, PRIVATE_KEY_VARIABLE = "FPAN_CLIENT_CERTIFICATE", "FPAN_CLIENT_KEY"
"""Environment variables with the paths of PEM files: the client certificate, which a server may require
(``TLS_CLIENT_CA``), and its private key."""
Verify = ssl.SSLContext | str | os.PathLike[str] | bool
"""Which server certificates are trusted: an SSLContext, the PEM file of an authority, True (default) or False (any)."""


def key_headers(api_key: str | None = None) -> dict[str, str]:
    """The authorization header for ``api_key``, or for ``FPAN_API_KEY`` if it is None; empty without a key.

    Raises:
        ValueError: the key has characters that a header cannot carry.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key).strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("the API key has characters that no key has")
    return {"Authorization": f"Bearer {key}"} if key else {}


class Files(NamedTuple):
    """Paths of the PEM files that the environment variables name; None for a variable that is not set."""

    authority: str | None
    certificate: str | None
    private_key: str | None


def named_files() -> Files:
    """Reads the paths of the PEM files from the environment."""
    variables = (AUTHORITY_VARIABLE, CERTIFICATE_VARIABLE, PRIVATE_KEY_VARIABLE)
    return Files(*(os.environ.get(variable) or None for variable in variables))


def named_pem(variable: str, path: str | None) -> bytes | None:
    """Reads the PEM file at ``path``, which the environment variable ``variable`` named; None without a path.

    Raises:
        FpanError: the file cannot be read; the message names the variable.
    """
    with _of_use(variable):
        return Path(path).read_bytes() if path else None


def verifying(verify: Verify = True) -> ssl.SSLContext | bool:
    """The ``verify`` argument for httpx. The environment fills in what ``verify`` does not set; see
    :func:`named_files`.

    Raises:
        OSError: the file of ``verify`` does not exist or holds no certificates.
        FpanError: a file that the environment names does not exist or holds no certificates.
    """
    if isinstance(verify, ssl.SSLContext) or verify is False:
        return verify
    named = named_files()
    if verify is True and not any(named):
        return True
    if verify is not True:
        context = ssl.create_default_context(cafile=verify)
    else:
        with _of_use(AUTHORITY_VARIABLE):
            context = (
                ssl.create_default_context(cafile=named.authority) if named.authority else httpx.create_ssl_context()
            )
    with _of_use(f"{CERTIFICATE_VARIABLE}, {PRIVATE_KEY_VARIABLE}"):
        if named.certificate:
            context.load_cert_chain(named.certificate, named.private_key)
    return context


@contextmanager
def _of_use(variable: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is an OSError
        raise FpanError(f"{variable}: {error.strerror or error}") from error
