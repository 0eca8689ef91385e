"""This module is where it is found out from which address a request came, past trusted proxies."""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

_FORWARDED_FOR: Final = b"x-forwarded-for"
# A chain of proxies is short; of what a stranger made up no more than this is read.
_HOPS_MAX: Final = 32
# A customer of the newer protocol has a whole network of addresses.
_V6_PREFIX: Final = 64

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(
    peer: str | None, headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[Network]
) -> str | None:
    """
    Return the address of the client: the peer's, unless that is a proxy of ours.

    Then it is the right-most address of X-Forwarded-For that is none: each proxy adds, on the
    right, who came to it, and what stands further left anybody may have written.
    """
    if not trusted:
        return peer
    at = _read(peer or "")
    if at is None or not _is_one_of(at, trusted):
        return peer
    told = b",".join(value for name, value in headers if name == _FORWARDED_FOR)
    for hop in reversed(told.decode("latin-1").rsplit(",", _HOPS_MAX)[-_HOPS_MAX:]):
        further = _read(hop.strip())
        if further is None:
            break
        at = further
        if not _is_one_of(at, trusted):
            break
    return str(at)


def counted_as(address: str | None) -> str:
    """Return whom a limit counts an address as: itself, or its network."""
    at = _read(address or "")
    if isinstance(at, IPv6Address):
        return str(ip_network((at, _V6_PREFIX), strict=False))
    return "" if at is None else str(at)


def networks(text: str) -> tuple[Network, ...]:
    """Read a list of networks, separated by commas; raises ValueError."""
    return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())


def _read(text: str) -> Address | None:
    try:
        at = ip_address(text)
    except ValueError:
        return None
    mapped = at.ipv4_mapped if isinstance(at, IPv6Address) else None
    return mapped or at


def _is_one_of(at: Address, trusted: Sequence[Network]) -> bool:
    return any(at in network for network in trusted)
