"""Who asks: all that tells callers apart. It goes into no log, no metric and no answer."""

from urllib.parse import unquote

CLIENT_ID = "x-client-id"
"""Header, or gRPC metadata, by which a caller says who it is; it proves nothing."""


def caller_of(offered: str | None, host: str) -> str:
    """What a caller is known by from one request to the next.

    Whatever proves who somebody is, such as an API key, belongs here, before what is only said.

    Args:
        offered: value of :data:`CLIENT_ID`; None where it was not sent.
        host: address that the request comes from.
    """
    return offered or host


def host_of(peer: str) -> str:
    """The address of a gRPC peer such as ``ipv4:10.0.0.1:50312``, without its port, which changes; as HTTP tells it."""
    _, _, address = unquote(peer).partition(":")
    host, _, _ = address.rpartition(":")
    return host.strip("[]") or address
