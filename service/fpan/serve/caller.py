"""Who asks: all that tells callers apart. It goes into no log, no metric and no answer."""

import ipaddress
from urllib.parse import unquote

CLIENT_ID = "x-client-id"
"""Header, or gRPC metadata, by which a caller says who it is; it proves nothing."""
_NETWORK_BITS = 64


def caller_of(offered: str | None, host: str) -> str:
    """What a caller is known by from one request to the next.

    Whatever proves who somebody is, such as an API key, belongs here, before what is only said.

    Args:
        offered: value of :data:`CLIENT_ID`; None where it was not sent.
        host: address that the request comes from.
    """
    return offered or host


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
