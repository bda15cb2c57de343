"""Which hosts may be asked: what people write in ``URL_HOSTS``."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

DEFAULT_PORTS = {"https": 443, "http": 80}
_PATTERN = re.compile(r"(?:(https?)://)?(\[[0-9a-fA-F:.]+\]|\*|(?:\*\.)?[A-Za-z0-9._-]+)(?::(\d{1,5}))?/?")


@dataclass(frozen=True)
class Hosts:
    """One pattern: a scheme, a host or all below a domain, and a port."""

    scheme: str
    host: str
    """In small letters; ``*`` for all, ``*.example.com`` for all below it and not itself."""
    port: int

    @classmethod
    def parse(cls, value: object) -> "Hosts":
        """Reads ``[SCHEME://]HOST[:PORT]``.

        Raises:
            ValueError: it is none.
        """
        if isinstance(value, cls):
            return value
        match = _PATTERN.fullmatch(str(value))
        if match is None:
            raise ValueError(f"{value!r} is no host: write images.example.com, *.example.com or http://HOST:PORT")
        scheme = match[1] or "https"
        return cls(scheme, match[2].strip("[]").lower(), int(match[3] or DEFAULT_PORTS[scheme]))

    def cover(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL of these parts may be asked."""
        if (scheme, port) != (self.scheme, self.port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) >= len(self.host)
        return self.host in ("*", host)


HostPattern = Annotated[Hosts, BeforeValidator(Hosts.parse)]
