"""Which addresses of the network may be connected to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

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
"""Where clouds tell a machine its secrets: nobody may be sent there, whatever networks are allowed."""
_UNICAST = IPv6Network("2000::/3")
"""All that is given out of IPv6 for the public (RFC 4291, 2.4)."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 as networks with IPv6 alone see it (RFC 6052); which address it means is in its last four bytes."""
_TUNNELS: tuple[IPv6Network, ...] = tuple(
    IPv6Network(text)
    for text in (
        "2001::/32",  # Teredo (RFC 4380)
        "2002::/16",  # 6to4 (RFC 3056)
    )
)
"""IPv6 that hides an address of IPv4, and that no host of today has."""


def refusal(address: Address, private: Sequence[Network] = ()) -> str | None:
    """Why an address may not be connected to; None where it may.

    Args:
        address: where a name led to.
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
