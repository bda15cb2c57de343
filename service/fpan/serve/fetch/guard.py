"""The guard before every address that somebody else names: which URLs may be asked, and which addresses they may mean.

Two steps, and no gap between them: :meth:`Guard.check` looks at the URL, and :meth:`Guard.addresses` at what its name
stands for, just when the connection is made, which then goes to the very address that was looked at.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx

from fpan.serve.errors import BadRequest, Forbidden, Impossible
from fpan.serve.fetch.addresses import Address, Network, refusal
from fpan.serve.fetch.pattern import DEFAULT_PORTS, Hosts
from fpan.serve.settings import Settings

MAX_URL = 2048
"""Characters of a URL."""
_SHOWN = 80
"""Characters of a host that a message shows."""
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"(0x[0-9a-f]*|\d+)")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name, as text, to be tried in this order."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """What the system says.

    Raises:
        OSError: it knows no such name.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Guard:
    """Refuses URLs that nobody has allowed, and addresses that are nobody's business."""

    def __init__(self, hosts: Sequence[Hosts], private: Sequence[Network] = (), resolve: Resolve = resolve) -> None:
        """Takes the rules.

        Args:
            hosts: what may be asked; none, and nothing may.
            private: networks that are allowed although they are not public.
            resolve: tells the addresses of names.
        """
        self._hosts = tuple(hosts)
        self._private = tuple(private)
        self._resolve = resolve

    @classmethod
    def of(cls, settings: Settings, hosts: Sequence[Hosts] | None = None) -> "Guard":
        """With the networks of ``settings``, and its hosts where no others are given."""
        return cls(settings.url_hosts if hosts is None else hosts, settings.url_private_networks)

    def check(self, text: str | httpx.URL) -> httpx.URL:
        """A URL that may be asked, read by the same rules as those by which it will be asked.

        Raises:
            BadRequest: it is none.
            Forbidden: nobody has allowed it.
        """
        if len(str(text)) > MAX_URL:
            raise BadRequest(f"the URL is longer than {MAX_URL} characters")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, TypeError) as error:
            raise BadRequest(f"this is no URL: {error}") from None
        except ValueError:  # half a surrogate pair, which has no UTF-8: no words of its own for people
            raise BadRequest("this is no URL: it has a character that no text can be written with") from None
        if url.scheme not in DEFAULT_PORTS or not url.raw_host:
            raise BadRequest("a URL begins with https:// and a host")
        if url.userinfo:
            raise BadRequest("a URL may hold no user and no password")
        host, port = url.raw_host.decode("ascii").lower(), url.port or DEFAULT_PORTS[url.scheme]
        if not _is_plain(host):
            raise BadRequest(
                f"the URL's host {host[:_SHOWN]!r} is neither a name nor an address as it is usually written"
            )
        if not any(pattern.cover(url.scheme, host, port) for pattern in self._hosts):
            where = f"{url.scheme}://{host[:_SHOWN]}" + (f":{port}" if port != DEFAULT_PORTS[url.scheme] else "")
            raise Forbidden(
                f"this server asks nothing of {where}: send the bytes themselves, or ask whoever runs it to allow "
                "that host"
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
