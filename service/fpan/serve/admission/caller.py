"""Identity of callers. None of it is written to a log, a metric or an answer."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import unquote

from fpan.serve.admission.keys import KeyEntry

CLIENT_ID = "x-client-id"
"""HTTP header or gRPC metadata with an id that the caller chooses. It is not verified."""
_NETWORK_BITS = 64
AUTHORIZATION, API_KEY = "authorization", "x-api-key"
"""HTTP headers or gRPC metadata that may hold an API key."""
_BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request states about its caller, unverified."""

    authorization: str | None
    """Value of :data:`AUTHORIZATION`."""
    api_key: str | None
    """Value of :data:`API_KEY`."""
    client_id: str | None
    """Value of :data:`CLIENT_ID`."""
    host: str
    """Address that the request comes from."""

    @property
    def key(self) -> str | None:
        """The API key, or None. An ``Authorization`` of another scheme, such as a proxy's Basic, is ignored."""
        scheme, _, told = (self.authorization or "").partition(" ")
        return told.strip() if scheme.lower() == _BEARER else self.api_key


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request."""

    key: KeyEntry | None
    """The verified API key; None if the route or the server needs none."""
    identity: str
    """Identifies the caller over several requests; see :func:`caller_of`."""
    account: str
    """What its quota is counted by: the key, else the address, but never an unverified id."""


def caller_of(key: KeyEntry | None, client_id: str | None, host: str) -> Caller:
    """Returns the caller. A verified key comes before an unverified id; one key may be used by many clients.

    Args:
        key: the verified key; None without one.
        client_id: value of :data:`CLIENT_ID`; None if it was not sent.
        host: address that the request comes from.
    """
    if key is None:
        return Caller(None, client_id or host, quota_of(host))
    account = f"key:{key.id}"
    return Caller(key, f"{account}:{client_id}" if client_id else account, account)


def quota_of(host: str) -> str:
    """Returns the account of a request without a key: its IPv4 address, or its IPv6 network of 64 bits, which is the
    smallest that one caller has. :data:`CLIENT_ID` is not used: a caller could change it to escape the quota.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"address {host}"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return f"network {ipaddress.ip_network((address.packed, _NETWORK_BITS), strict=False)}"
        address = address.ipv4_mapped
    return f"address {address}"


def host_of(peer: str) -> str:
    """Returns the address of a gRPC peer such as ``ipv4:10.0.0.1:50312`` without its port, as HTTP gives it."""
    _, _, address = unquote(peer).partition(":")
    host, _, _ = address.rpartition(":")
    return host.strip("[]") or address
