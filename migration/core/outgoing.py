"""Opens connections to addresses that others entered: judged, bounded in time and bytes, failing with a code."""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import certifi
from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:  # not installed with Python 3.13
    from typing_extensions import Buffer


class LoginOutcome(models.TextChoices):
    """The result of a login that was tried; it never holds a server's words."""

    WORKS = "works", _("Works")
    REFUSED = "refused", _("Login refused")
    NO_DATABASE = "no_database", _("No such database")
    # A wrong password, or one that the pooler can't check: it has a code for both.
    POOLER = "pooler", _("Refused by a pooler")
    UNREACHABLE = "unreachable", _("Unreachable")
    NO_SUCH_HOST = "no_such_host", _("No such host")
    TLS_PROBLEM = "tls_problem", _("TLS problem")
    TIMED_OUT = "timed_out", _("Timed out")
    NOT_ALLOWED = "not_allowed", _("Address not allowed")
    UNSAFE = "unsafe", _("Password not asked for safely")
    UNEXPECTED = "unexpected", _("Unexpected answer")
    NOT_TESTABLE = "not_testable", _("Can't be tested")


# The server has looked at these values, and NOVA couldn't use them either.
PROVEN_WRONG = frozenset({LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE})


@dataclass(frozen=True)
class LoginResult:
    """The outcome, and which of a mailbox's services gave it: "imap" or "smtp"; "" where all work, or there is one."""

    outcome: LoginOutcome
    service: str = ""

    @property
    def works(self) -> bool:
        """Say whether the server let the login in, having asked for the secret."""
        return self.outcome == LoginOutcome.WORKS


class LoginFailedError(Exception):
    """A login did not succeed. Its text is the outcome's name: no host, no value, no server's words.

    `code` is the SQLSTATE by which a database's server refused it, "" where it gave none.
    """

    def __init__(self, outcome: LoginOutcome, *, code: str = "") -> None:
        super().__init__(outcome.value)
        self.outcome = outcome
        self.code = code


class Deadline:
    """The time by which a login, or a mail, has to be over, in seconds from now; a context manager.

    Once it has come, `require_seconds_left` raises, and the socket that `watch_socket` was given is shut, nothing else.

    The time-outs of sockets are for one read each: a server that sends a byte a second would never meet one.
    """

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._shut_watched)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._replace_watched(None)

    @property
    def is_over(self) -> bool:
        """Say whether the time is up."""
        return time.monotonic() >= self._ends_at

    def require_seconds_left(self) -> float:
        """Return the seconds that are left, more than none; raises `LoginFailedError` (timed out)."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise LoginFailedError(LoginOutcome.TIMED_OUT)
        return left

    def watch_socket(self, descriptor: int) -> None:
        """Shut this socket at the end, in place of the one before; its owner closes it."""
        # A second descriptor: TLS may wrap the first, and libpq close it, while the timer runs.
        self._replace_watched(socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM))

    def _replace_watched(self, watched: socket.socket | None) -> None:
        with self._lock:
            if self._watched:
                self._watched.close()
            self._watched = watched
        if watched and self.is_over:
            self._shut_watched()

    def _shut_watched(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # not connected any more
            if self._watched:
                self._watched.shutdown(socket.SHUT_RDWR)


# A login takes a few lines. `imaplib` would read an answer of any size, and `smtplib` any number of lines.
MOST_BYTES = 256 * 1024


class _Bounded(socket.socket):
    """Counts the bytes that a file made of this socket reads."""

    received = 0

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes or 0, flags)
        self.received += count
        if self.received > MOST_BYTES:
            raise LoginFailedError(LoginOutcome.UNEXPECTED)
        return count


class ByteLimitedSocket(_Bounded):
    """A plain socket that raises LoginFailedError once it has read more than MOST_BYTES."""


class ByteLimitedTLSSocket(_Bounded, ssl.SSLSocket):
    """A socket with TLS that raises LoginFailedError once it has read more than MOST_BYTES."""


def ca_file() -> str:
    """Return the file of trusted certificates: the machine's, which SSL_CERT_FILE can name, else certifi's."""
    found = ssl.get_default_verify_paths().cafile
    return found if found and Path(found).is_file() else certifi.where()


def verifying_tls_context() -> ssl.SSLContext:
    """Return the TLS context of mailboxes, AWS and webhooks: certificate and name are verified."""
    return _make_context(ca_file())


@lru_cache(maxsize=2)
def _make_context(trusted: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted)
    context.sslsocket_class = ByteLimitedTLSSocket
    return context


def start_tls(plain: socket.socket, host: str) -> ssl.SSLSocket:
    """Wrap the connected socket; raises `LoginFailedError` where the certificate isn't valid for this host."""
    try:
        return verifying_tls_context().wrap_socket(plain, server_hostname=host)
    # ValueError: no certificate can hold the name.
    except (ssl.SSLError, ConnectionError, ValueError):
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None


# Who may edit a login chooses its host. So a name is looked up once and all its addresses are judged: a name that has
# another address a moment later leads nowhere else.

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_TRIED = 4  # of the addresses of one name
HIGHEST_PORT = 65_535

# By NOVA_LOGIN_PRIVATE_ADDRESSES. What is neither here nor global is refused always: link-local, multicast, reserved.
PRIVATE_NETWORKS: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = tuple(
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

    Without `private_allowed` NOVA_LOGIN_PRIVATE_ADDRESSES decides, and what the demo serves itself is reached too.
    Raises `LoginFailedError`.
    """
    if not host or not 0 < port <= HIGHEST_PORT:
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    if private_allowed is None:
        if served_here := settings.NOVA_DEMO_PLACES.get((host, port)):
            return [ResolvedAddress(socket.AF_INET, "127.0.0.1", served_here)]
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
