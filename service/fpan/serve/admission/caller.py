"""Who asks: all that tells callers apart. It goes into no log, no metric and no answer."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import unquote

from fpan.serve.admission.keys import KeyEntry

CLIENT_ID = "x-client-id"
"""Header, or gRPC metadata, by which a caller says who it is; it proves nothing."""
_NETWORK_BITS = 64
AUTHORIZATION, API_KEY = "authorization", "x-api-key"
"""Headers, or gRPC metadata, that an API key comes in."""
_BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says of its caller."""

    authorization: str | None
    """Value of :data:`AUTHORIZATION`."""
    api_key: str | None
    """Value of :data:`API_KEY`."""
    client_id: str | None
    """Value of :data:`CLIENT_ID`."""
    host: str
    """Address that it comes from."""

    @property
    def key(self) -> str | None:
        """The API key; None where there is none. A proxy's own ``Authorization``, such as Basic, is none."""
        scheme, _, told = (self.authorization or "").partition(" ")
        return told.strip() if scheme.lower() == _BEARER else self.api_key


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks."""

    key: KeyEntry | None
    """What proves who it is; None where nobody needs to."""
    identity: str
    """What it is known by from one request to the next: see :func:`caller_of`."""
    account: str
    """What its quota is counted by: the key, else the address, and nothing that it only says."""


def caller_of(key: KeyEntry | None, client_id: str | None, host: str) -> Caller:
    """Who asks. What is proved comes before what is only said; one key may speak for many clients.

    Args:
        key: that it has presented.
        client_id: value of :data:`CLIENT_ID`; None where it was not sent.
        host: address that the request comes from.
    """
    if key is None:
        return Caller(None, client_id or host, quota_of(host))
    account = f"key:{key.id}"
    return Caller(key, f"{account}:{client_id}" if client_id else account, account)


def quota_of(host: str) -> str:
    """Whose quota a request uses that proves nothing: its address's, or with IPv6 that of the network of 64 bits, the
    least that one caller has. Not :data:`CLIENT_ID`: whoever says another one each time would have no limit.
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
    """The address of a gRPC peer such as ``ipv4:10.0.0.1:50312``, without its port, which changes; as HTTP tells it."""
    _, _, address = unquote(peer).partition(":")
    host, _, _ = address.rpartition(":")
    return host.strip("[]") or address
