"""Which URLs and addresses webhooks may be sent to: only public ones, except what the operator allows. No I/O."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import httpx

from limner_shared.domain.webhooks import MAX_URL_CHARS
from limner_shared.errors import ConfigurationError, InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MAX_PORT: Final = 65_535
HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")

NAT64: Final = IPv6Network("64:ff9b::/96")
"""Translated addresses (RFC 6052): the IPv4 address in the last 32 bits decides."""
MAPPED: Final = IPv6Network("::ffff:0:0/96")
REFUSED: Final[tuple[Network, ...]] = (
    # What `ipaddress` of every supported Python calls global, or may: addresses that lead to others, and newer blocks.
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (SIIT)
    IPv6Network("64:ff9b:1::/48"),  # local NAT64
    IPv6Network("100::/32"),  # discard, and its neighbours
    IPv6Network("2001::/23"),  # Teredo, ORCHID and other protocol assignments
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # site-local
)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet: global and unicast, also after every translation."""
    if isinstance(address, IPv6Address):
        if address in MAPPED or address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.scope_id is not None:
            return False
    if any(address.version == network.version and address in network for network in REFUSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


@dataclass(frozen=True, slots=True)
class Targets:
    """The operator's list of internal targets: host names, addresses and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Targets:
        """Read the setting `webhook_internal_targets`. Raises ConfigurationError for an entry that is neither."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip().strip("[]"), strict=False))
            except ValueError:
                name = entry.strip().lower().rstrip(".")
                if not name or any(char in name for char in "/:@?# "):
                    raise ConfigurationError(
                        f"LIMNER_WEBHOOK_INTERNAL_TARGETS: {entry!r} is neither a host name nor an address or network,"
                        " such as hooks.internal or 10.1.0.0/16."
                    ) from None
                hosts.add(name)
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str) -> bool:
        """Whether the list has this host, by its name or its literal address."""
        literal = _literal(host)
        return host.lower().rstrip(".") in self.hosts or (literal is not None and self._has(literal))

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection to this address of this host is allowed."""
        return is_public(address) or host.lower().rstrip(".") in self.hosts or self._has(address)

    def check_url(self, text: str, field: str = "webhook") -> str:
        """Return the normalized URL. Raises InvalidRequest for one that can never be delivered to.

        Host names are resolved when a delivery is sent; here only a literal address is checked.
        """
        try:
            url = httpx.URL(text)
            port, host, name = url.port, url.raw_host.decode("ascii"), url.host
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise InvalidRequest(f"{field}: this is not a URL.", field=field) from error
        is_host = HOST.fullmatch(host) is not None or _literal(host) is not None
        if url.scheme not in ("https", "http") or not is_host or (port is not None and not 0 < port <= MAX_PORT):
            raise InvalidRequest(f"{field}: use a URL such as https://shop.example/limner.", field=field)
        if url.userinfo or url.fragment:
            raise InvalidRequest(f"{field}: remove the user name, password and fragment from the URL.", field=field)
        if url.scheme == "http" and not self.names(name):
            raise InvalidRequest(f"{field}: use https; http is allowed only for the operator's targets.", field=field)
        literal = _literal(name)
        if literal is not None and not self.allows(name, literal):
            raise InvalidRequest(f"{field}: {name} is not an address of the public internet.", field=field)
        normal = str(url)
        if len(normal) > MAX_URL_CHARS:
            raise InvalidRequest(f"{field}: a URL may have at most {MAX_URL_CHARS} characters.", field=field)
        return normal

    def _has(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)


def receiver_of(tenant_id: str, url: str) -> str:
    """The receiver of a tenant's URL that is no endpoint: one for each origin, whatever the path."""
    parts = httpx.URL(url)
    origin = f"{parts.scheme}://{parts.host}:{parts.port or ''}"
    return f"{tenant_id}:{hashlib.sha256(origin.encode()).hexdigest()[:32]}"


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
