"""Owns sockets that stop reading after so many bytes, with TLS and without. Knows no protocol above."""

from __future__ import annotations

import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from migration.operations.login_tests.outcomes import LoginFailedError, LoginOutcome

if TYPE_CHECKING:
    from typing_extensions import Buffer

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
    except (
        ssl.SSLError,
        ConnectionError,
        ValueError,
    ):  # ValueError: no certificate can hold the name
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None
