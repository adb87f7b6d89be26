"""Believes what a proxy says of a request (its client, scheme and host) if NOVA_TRUSTED_PROXIES names that proxy.

Everything else reads REMOTE_ADDR, `request.is_secure()` and `request.get_host()`, never a forwarded header: where it
isn't believed, it is no longer there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from django.conf import settings
from django.http import HttpRequest, HttpResponse

FOR, PROTO, HOST = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"
REQUEST_ID = "HTTP_X_REQUEST_ID"
UNIX_SOCKET = "unix"
# An address may come with a port, an IPv6 one then in brackets, and with the zone of its network interface.
_HOP = re.compile(r"(?:\[([^\[\]]*)\]|([0-9.]+))(?::[0-9]{1,5})?")
# Each proxy that is not believed is logged once, as a wrong setting shows as a redirect without end.
_MOST_LOGGED = 10
_logged: set[str] = set()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrustedProxies:
    """The proxies that are believed: addresses, networks, and whoever connects by a Unix socket."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix_socket: bool = False

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read a list, separated by commas; raises ValueError for what is no address, or means everybody."""
        names = [name for name in map(str.strip, value.split(",")) if name]
        try:
            networks = tuple(ip_network(name) for name in names if name != UNIX_SOCKET)
        except ValueError:
            raise ValueError(
                "not a list of addresses and networks (10.0.0.5, 10.1.0.0/16, 2001:db8::/32, unix)"
            ) from None
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("a network of all addresses, so everybody would be believed")
        return cls(networks, UNIX_SOCKET in names)

    def trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)


def believe_trusted_proxies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Apply a trusted proxy's forwarded headers, REMOTE_ADDR too, and take everybody else's out."""

    def answer_request(request: HttpRequest) -> HttpResponse:
        apply_forwarded_headers(request.META, settings.NOVA_TRUSTED_PROXIES)
        return get_response(request)

    return answer_request


def apply_forwarded_headers(meta: dict[str, Any], proxies: TrustedProxies) -> None:
    """Take the forwarded headers out of the request's variables, and use them if the peer is trusted."""
    said = {name: meta.pop(name) for name in (FOR, PROTO, HOST) if name in meta}
    peer = meta.get("REMOTE_ADDR", "")
    address = parse_address(peer)
    if not (proxies.trusts(address) if address else proxies.unix_socket and not peer):
        if said:
            _log_unbelieved(peer)
        # The audit's entries bear it: nobody chooses the name of another's request.
        meta.pop(REQUEST_ID, None)
        if PROTO in said:
            meta["wsgi.url_scheme"] = "http"  # gunicorn believes any proxy on its own machine
        return
    meta["REMOTE_ADDR"] = find_client(peer, said.get(FOR, ""), proxies)
    for name in (PROTO, HOST):
        # Of several values the last one: those before it may be the client's own.
        if value := said.get(name, "").rpartition(",")[2].strip():
            meta[name] = value


def find_client(peer: str, forwarded_for: str, proxies: TrustedProxies) -> str:
    """Return the last address in X-Forwarded-For that is no trusted proxy's: what is before it may be invented.

    Where a trusted proxy noted something else than an address, that proxy's own is returned.
    """
    client = str(parse_address(peer) or peer)
    for hop in reversed(forwarded_for.split(",")):
        address = parse_address(hop)
        if address is None:
            break
        client = str(address)
        if not proxies.trusts(address):
            break
    return client


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address, without port and zone, as IPv4 where IPv6 only wraps one; None if it is none."""
    text = text.strip()
    if hop := _HOP.fullmatch(text):
        text = hop[1] or hop[2] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _log_unbelieved(peer: str) -> None:
    if len(_logged) < _MOST_LOGGED and peer not in _logged:
        _logged.add(peer)
        told = "X-Forwarded headers of %s are not believed: NOVA_TRUSTED_PROXIES doesn't name it"
        logger.warning(told, parse_address(peer) or "a Unix socket (unix)")
