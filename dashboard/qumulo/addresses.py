"""Where a cluster may be: the form of its URL, and the network addresses that are called at all.

Clusters live on private addresses, so "no private addresses" would refuse all of them. What is refused always
are addresses behind which no storage cluster can stand but something of value to an attacker can: the
instance metadata of clouds, this machine itself, groups of machines, and IPv6 forms that carry another
address inside. `AddressRule` judges the address that a connection is really made to (`wire` asks it after the
name was resolved), so a name that changes its address between the check and the call gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORT = 8000  # DOCUMENTED: the REST API's port

_LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
_NEVER = [
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "names no machine"),
        ("::/128", "names no machine"),
        ("169.254.0.0/16", "is link-local; cloud metadata lives there"),
        ("fe80::/10", "is link-local"),
        ("fd00:ec2::254/128", "is a cloud's metadata address"),
        ("fd20:ce::254/128", "is a cloud's metadata address"),
        ("100.100.100.200/32", "is a cloud's metadata address"),
        ("224.0.0.0/4", "is a multicast address"),
        ("ff00::/8", "is a multicast address"),
        ("255.255.255.255/32", "is the broadcast address"),
        ("64:ff9b::/96", "carries another address inside (NAT64)"),
        ("64:ff9b:1::/48", "carries another address inside (NAT64)"),
        ("2002::/16", "carries another address inside (6to4)"),
        ("2001::/32", "carries another address inside (Teredo)"),
        ("::/96", "carries another address inside"),
    )
]
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class AddressRule:
    """Which addresses clusters may have. `allowed`: CIDRs; none means any, except what is refused always.

    Loopback is refused unless a CIDR inside the loopback range itself is listed: `0.0.0.0/0` does not mean
    this machine. Raises ValueError with a sentence when a CIDR cannot be read.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [_network(text) for text in allowed]
        self._loopback = [network for network in self._allowed if _within_loopback(network)]

    def refusal(self, address: str) -> str | None:
        """Why this numeric address is not called, as a sentence; None when it may be."""
        try:
            ip: Address = ipaddress.ip_address(address)
        except ValueError:
            return f"{address!r} is not an IP address."
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if any(ip in network for network in _LOOPBACK):
            listed = any(ip in network for network in self._loopback)
            return (
                None if listed else f"{address} is this machine itself, which is not in the list of allowed networks."
            )
        for network, why in _NEVER:
            if ip in network:
                return f"{address} {why}; no cluster is called there."
        if self._allowed and not any(ip in network for network in self._allowed):
            return f"{address} is not in the list of allowed networks."
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write for example 10.20.0.0/16.") from None


def _within_loopback(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return network.subnet_of(_LOOPBACK[0])
    return network.subnet_of(_LOOPBACK[1])


def parse_url(text: str) -> str:
    """`https://host[:port]` → the same in lower case, with the port (8000 when none is given) and nothing
    else.

    Raises ValueError with one sentence for whatever else it holds: another scheme, a user, a path, a query.
    """
    text = text.strip()
    if not re.fullmatch(r"[\x21-\x7e]{1,300}", text) or "\\" in text:
        raise ValueError("Write the address in plain characters, as https://host:port.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an address; write https://host:port.") from None
    if parts.scheme != "https":
        raise ValueError("The address must begin with https://, because the token is sent there.")
    if "@" in parts.netloc:
        raise ValueError("The address must not hold a user or password.")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError("The address must end after the host and port, without a path or query.")
    if port == 0 or not _is_host(host):
        raise ValueError(f"{text!r} does not name a host; write https://host:port.")
    bracketed = f"[{host}]" if ":" in host else host
    return f"https://{bracketed}:{DEFAULT_PORT if port is None else port}"


def _is_host(host: str) -> bool:
    """A name or a numeric address in its usual form. `127.1` and `0x7f000001` are neither, though resolvers
    take them."""
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        labels = host.split(".") if len(host) <= 253 else [""]
        return all(_LABEL.fullmatch(label) for label in labels) and re.match("[a-z_]", labels[-1]) is not None
