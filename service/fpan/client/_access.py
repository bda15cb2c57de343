"""What opens a server that does not let everybody in: API keys, and certificates of authorities of one's own."""

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
"""PEM file of those who may vouch for the server."""
CERTIFICATE_VARIABLE, PRIVATE_KEY_VARIABLE = "FPAN_CLIENT_CERTIFICATE", "FPAN_CLIENT_KEY"
"""PEM files of the certificate that a server may ask for (``TLS_CLIENT_CA``), and of its private key."""
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


class Files(NamedTuple):
    """PEM files that the environment names; None where it names none."""

    authority: str | None
    certificate: str | None
    private_key: str | None


def named_files() -> Files:
    """Whose certificates are believed, and which is shown, as the environment says."""
    variables = (AUTHORITY_VARIABLE, CERTIFICATE_VARIABLE, PRIVATE_KEY_VARIABLE)
    return Files(*(os.environ.get(variable) or None for variable in variables))


def named_pem(variable: str, path: str | None) -> bytes | None:
    """What is in a file that a variable names.

    Raises:
        FpanError: it cannot be read.
    """
    with _of_use(variable):
        return Path(path).read_bytes() if path else None


def verifying(verify: Verify = True) -> ssl.SSLContext | bool:
    """What httpx takes. Of what ``verify`` leaves open, the environment decides: see :func:`named_files`.

    Raises:
        OSError: there is no such file, or it holds no certificates.
        FpanError: the same of one that the environment names.
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
    except OSError as error:  # those of ssl are too
        raise FpanError(f"{variable}: {error.strerror or error}") from error
