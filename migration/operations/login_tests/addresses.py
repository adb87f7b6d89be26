"""Decides to which addresses a login may be sent, and connects to none other. Knows no protocol above TCP.

Who may edit a login chooses its host. So a name is looked up once and all its addresses are judged: a name that has
another address a moment later leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from migration.operations.login_tests.bounded_sockets import ByteLimitedSocket
from migration.operations.login_tests.outcomes import LoginFailedError, LoginOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.login_tests.deadlines import Deadline

    IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
    IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_TRIED = 4  # of the addresses of one name
HIGHEST_PORT = 65_535

# By NOVA_LOGIN_PRIVATE_ADDRESSES. What is neither here nor global is refused always: link-local, multicast, reserved.
PRIVATE_NETWORKS: tuple[IPNetwork, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
            *("::1/128", "fc00::/7"),
        ),
    )
)
# Where clouds tell a machine its own credentials. The usual 169.254.169.254 is link-local anyway.
METADATA_ADDRESSES: frozenset[IPAddress] = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("100.100.100.200", "168.63.129.16", "192.0.0.192"),  # Alibaba, Azure, Oracle
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),  # AWS, its containers, Google
        ),
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that was ever given out
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOOPBACK = ipaddress.IPv6Address("::1")
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NO_NAME = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}


@dataclass(frozen=True)
class ResolvedAddress:
    """One judged address and port of a host."""

    family: int
    text: str  # the numeric address, without a scope
    port: int


def resolve_host(
    host: str, port: int, *, deadline: Deadline, private_allowed: bool | None = None
) -> list[ResolvedAddress]:
    """Look the name up once and return its addresses, if a login may be sent to every one of them.

    Without `private_allowed` NOVA_LOGIN_PRIVATE_ADDRESSES decides. Raises `LoginFailedError`.
    """
    if not host or not 0 < port <= HIGHEST_PORT:
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    if private_allowed is None:
        private_allowed = settings.NOVA_LOGIN_PRIVATE_ADDRESSES
    addresses = dict.fromkeys(_look_up(host, port, deadline))
    if not all(is_allowed(address.text, private_allowed=private_allowed) for address in addresses):
        raise LoginFailedError(LoginOutcome.NOT_ALLOWED)
    return list(addresses)[:MOST_TRIED]


def is_allowed(text: str, *, private_allowed: bool) -> bool:
    """Say whether a login may be sent to this address, whichever way it writes an IPv4 address."""
    return all(
        _is_allowed(address, private_allowed=private_allowed)
        for address in _unwrap(ipaddress.ip_address(text))
    )


def _is_allowed(address: IPAddress, *, private_allowed: bool) -> bool:
    if address in METADATA_ADDRESSES or address.is_multicast:
        return False
    if any(address in network for network in PRIVATE_NETWORKS):
        return private_allowed
    return address.is_global and (address.version == 4 or address in _UNICAST)


def is_loopback(text: str) -> bool:
    """Say whether packets for this address stay on this machine, whichever way it writes an IPv4 address."""
    return any(address.is_loopback for address in _unwrap(ipaddress.ip_address(text)))


def _unwrap(address: IPAddress) -> Iterator[IPAddress]:
    """Yield the IPv4 addresses to which packets for this one may go, or the address itself where it names none."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _V4_COMPATIBLE and address != _LOOPBACK):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    yield from [found for found in inner if found is not None] or [address]


def _look_up(host: str, port: int, deadline: Deadline) -> list[ResolvedAddress]:
    """Return the addresses of a name; a resolver that hangs is left behind in its own thread."""
    answers: queue.SimpleQueue[list[ResolvedAddress] | LoginOutcome] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: answers.put(_ask_resolver(host, port)), name="look-up", daemon=True
    )
    thread.start()
    try:
        answer = answers.get(timeout=deadline.require_seconds_left())
    except queue.Empty:
        answer = LoginOutcome.TIMED_OUT
    if isinstance(answer, LoginOutcome):
        raise LoginFailedError(answer)
    return answer


def _ask_resolver(host: str, port: int) -> list[ResolvedAddress] | LoginOutcome:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return LoginOutcome.NO_SUCH_HOST if error.errno in _NO_NAME else LoginOutcome.UNREACHABLE
    except ValueError:  # UnicodeError too, of `a..b` and of labels that are too long
        return LoginOutcome.NO_SUCH_HOST
    except OSError:
        return LoginOutcome.UNREACHABLE
    return [
        ResolvedAddress(family, str(place[0]).partition("%")[0], port)
        for family, _type, _protocol, _name, place in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


def connect_to_first(addresses: list[ResolvedAddress], *, deadline: Deadline) -> ByteLimitedSocket:
    """Connect to the first of these judged addresses that answers; each gets an equal share of the time left.

    The socket is shut at the deadline. Raises `LoginFailedError`.
    """
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            return connect(address, deadline=deadline, share=1 / left)
        except LoginFailedError:
            deadline.require_seconds_left()
            if left == 1:
                raise
    raise LoginFailedError(LoginOutcome.UNREACHABLE)


def connect(address: ResolvedAddress, *, deadline: Deadline, share: float = 1) -> ByteLimitedSocket:
    """Connect to this judged address within its share of the time left; raises `LoginFailedError`.

    The socket is shut at the deadline.
    """
    seconds = deadline.require_seconds_left()
    connected = ByteLimitedSocket(address.family, socket.SOCK_STREAM)
    try:
        connected.settimeout(seconds * share)
        connected.connect((address.text, address.port))
    except OSError:
        connected.close()
        raise LoginFailedError(LoginOutcome.UNREACHABLE) from None
    connected.settimeout(seconds)
    deadline.watch_socket(connected.fileno())
    return connected
