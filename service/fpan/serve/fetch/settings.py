"""Settings of fetching pictures by URL."""

from typing import Annotated

from pydantic import IPvAnyNetwork

from fpan.serve.fetch.host_pattern import HostPattern
from fpan.serve.setting_types import ComponentSettings, Count, Seconds, Words


class FetchSettings(ComponentSettings):
    """Which hosts pictures may be fetched from, and how long that may take."""

    url_hosts: Annotated[tuple[HostPattern, ...], *Words] = ()
    """Hosts, with commas, that pictures may be fetched from: images.example.com, *.example.com, HOST:PORT, or
    http://HOST where it has no TLS. Empty: no picture is fetched."""
    url_private_networks: Annotated[tuple[IPvAnyNetwork, ...], *Words] = ()
    """Networks, with commas, that hosts of ``url_hosts`` and ``webhook_hosts`` may be in although they are not public:
    10.20.0.0/16."""
    url_timeout_s: Seconds = 10
    """How long a picture may take to be fetched, in seconds, redirects included."""
    max_url_redirects: Count = 3
    """Redirects that are followed for a picture, each to a host that is allowed too."""
