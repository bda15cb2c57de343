"""Checks which URLs and network addresses may be connected to."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from fpan.serve.api.errors import BadRequest, Forbidden, Impossible
from fpan.serve.fetch.host_pattern import DEFAULT_PORTS, Hosts
from fpan.serve.fetch.settings import FetchSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: tuple[Address, ...] = tuple(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, GCP, OpenStack, DigitalOcean
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # GCP
        "169.254.170.2",  # AWS ECS: credentials of a task
        "169.254.170.23",  # AWS EKS: credentials of a pod
        "fd00:ec2::23",
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's wire server, at a public address
        "192.0.0.192",  # Oracle
    )
)
"""Metadata services of clouds, which return credentials. They are refused whatever networks are allowed."""
_UNICAST = IPv6Network("2000::/3")
"""The global unicast addresses of IPv6 (RFC 4291, 2.4)."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses in networks with IPv6 only (RFC 6052); the last four bytes are the IPv4 address."""
_TUNNELS: tuple[IPv6Network, ...] = tuple(
    IPv6Network(text)
    for text in (
        "2001::/32",  # Teredo (RFC 4380)
        "2002::/16",  # 6to4 (RFC 3056)
    )
)
"""IPv6 addresses that contain an IPv4 address; hosts no longer use them."""


def refusal(address: Address, private: Sequence[Network] = ()) -> str | None:
    """Returns why an address may not be connected to, or None if it may.

    Args:
        address: address of a resolved name.
        private: networks that are allowed although they are not public.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "is one of this machine's own links"
        if address in _NAT64:
            address = IPv4Address(address.packed[-4:])
        elif address.ipv4_mapped is not None:
            return "is IPv4 in the clothes of IPv6"
    if address in _METADATA or address.is_link_local:
        return "is where machines are told their secrets"
    if any(address in network for network in private):
        return None
    public = address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if isinstance(address, IPv6Address):
        public = public and address in _UNICAST and not any(address in tunnel for tunnel in _TUNNELS)
    return None if public else "is not a public one"


MAX_URL = 2048
"""Largest length of a URL, in characters."""
_SHOWN = 80
"""Largest length of a host in a message, in characters."""
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"(0x[0-9a-f]*|\d+)")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host and port to addresses as text, to be tried in this order."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Resolves a name by the system's resolver.

    Raises:
        OSError: the name is not known.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def read_url(text: object) -> httpx.URL:
    """Reads a URL by the rules of the client that will request it; ``str`` of the result is plain ASCII.

    Raises:
        BadRequest: the text is not a valid URL.
    """
    if not isinstance(text, str | httpx.URL):
        raise BadRequest("a URL is a text")
    if len(str(text)) > MAX_URL:
        raise BadRequest(f"the URL is longer than {MAX_URL} characters")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        why = "it is no text of Unicode" if isinstance(error, UnicodeError) else error
        raise BadRequest(f"this is no URL: {why}") from None
    if url.scheme not in DEFAULT_PORTS or not url.raw_host:
        raise BadRequest("a URL begins with https:// and a host")
    if url.userinfo:
        raise BadRequest("a URL may hold no user and no password")
    return url


class Guard:
    """Refuses URLs that the configuration does not allow, and internal addresses."""

    def __init__(
        self, hosts: Sequence[Hosts], private: Sequence[Network] = (), resolve: Resolve = resolve, instead: str = ""
    ) -> None:
        """Makes a guard.

        Args:
            hosts: allowed hosts; empty refuses every URL.
            private: networks that are allowed although they are not public.
            resolve: resolves names.
            instead: what the caller can do instead, as the beginning of a sentence in the error message.
        """
        self._hosts = tuple(hosts)
        self._private = tuple(private)
        self._resolve = resolve
        self._instead = instead

    @classmethod
    def of_pictures(cls, settings: FetchSettings) -> "Guard":
        """Makes the guard of URLs of pictures."""
        return cls(settings.url_hosts, settings.url_private_networks, instead="send the bytes themselves, or ")

    def check(self, text: object) -> httpx.URL:
        """Returns the URL if it is allowed; see :func:`read_url`.

        Raises:
            BadRequest: the text is not a valid URL.
            Forbidden: the configuration does not allow the URL.
        """
        url = read_url(text)
        host, port = url.raw_host.decode("ascii").lower(), url.port or DEFAULT_PORTS[url.scheme]
        if not _is_plain(host):
            raise BadRequest(
                f"the URL's host {host[:_SHOWN]!r} is neither a name nor an address as it is usually written"
            )
        if not any(pattern.cover(url.scheme, host, port) for pattern in self._hosts):
            where = f"{url.scheme}://{host[:_SHOWN]}" + (f":{port}" if port != DEFAULT_PORTS[url.scheme] else "")
            raise Forbidden(
                f"this server does not connect to {where}: {self._instead}whoever runs it may allow that host"
            )
        return url

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, each of which may be connected to.

        Raises:
            Forbidden: one of them may not.
            Impossible: it has none.
        """
        try:
            found = [ip_address(host)] if _is_address(host) else [_read(a) for a in await self._resolve(host, port)]
        except OSError:
            raise Impossible(f"the host {host[:_SHOWN]!r} is not known") from None
        if not found:
            raise Impossible(f"the host {host[:_SHOWN]!r} has no address")
        for address in found:
            if why := refusal(address, self._private):
                # Not which address it is: that would tell how a network looks inside.
                raise Forbidden(f"the address of {host[:_SHOWN]!r} {why}: this server does not connect to it")
        return [str(address) for address in found]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _read(text: str) -> Address:
    """An address as the system tells it; those of links with their scope."""
    address: IPv4Address | IPv6Address = ip_address(text)
    return address


def _is_plain(host: str) -> bool:
    """Whether a host is a name, or an address in its usual form: 2130706433, 0x7f.1 and 127.1 are neither."""
    if _is_address(host):
        return "%" not in host  # one of this machine's own links
    return bool(_NAME.fullmatch(host)) and not _NUMBER.fullmatch(host.rpartition(".")[2])
