"""Sends mail by the mail server of the settings, within so many seconds for everything. Knows no notice.

Django's EMAIL_TIMEOUT is for each read: a server that sends a byte every few seconds would never meet it. The look-up
of the server's name has the time-outs of the system's resolver.
"""

from __future__ import annotations

import logging
import smtplib
import socket
from smtplib import SMTPException

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend

from credentials.localization import localize
from migration.core.outgoing import Deadline, LoginFailedError
from nova_credentials.messages import Message
from nova_credentials.shown_names import escape_name

logger = logging.getLogger(__name__)

MAIL_SECONDS = 15.0
NO_SERVER = "django.core.mail.backends.dummy.EmailBackend"
# Development without a mail server prints mails where the site was started.
PRINTED = "django.core.mail.backends.console.EmailBackend"


def mails_are_sent() -> bool:
    """Say whether a mail reaches somebody: a mail server is set."""
    return settings.EMAIL_BACKEND not in (NO_SERVER, PRINTED)


def send_mail_in_time(mail: EmailMessage, *, seconds: float | None = None) -> None:
    """Send the mail, or raise TimeoutError; other errors are Django's: OSError, SMTPException, ValueError.

    Without `seconds` MAIL_SECONDS. What the server took before the end is sent, even if it is slow to say goodbye.
    """
    mail.connection = get_connection()
    if type(mail.connection) is not EmailBackend:  # development prints mails, and tests keep them
        mail.send()
        return
    with Deadline(MAIL_SECONDS if seconds is None else seconds) as deadline:
        mail.connection = _BoundedBackend(deadline)
        try:
            mail.send()
        except (OSError, LoginFailedError):  # every SMTPException is an OSError
            if deadline.is_over:
                raise TimeoutError from None
            raise


class _BoundedSMTP(smtplib.SMTP):
    """A connection whose socket is shut at the deadline."""

    deadline: Deadline

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to the first address of the host that answers, as `smtplib` does, each within the time left."""
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for others, (family, kind, protocol, _name, place) in zip(
            reversed(range(len(places))), places, strict=True
        ):
            connected = socket.socket(family, kind, protocol)
            try:
                connected.settimeout(min(timeout, self.deadline.require_seconds_left()))
                connected.connect(place)
                self.deadline.watch_socket(connected.fileno())
            except (OSError, LoginFailedError):
                connected.close()
                if not others:
                    raise
            else:
                return connected
        raise ConnectionError


class _BoundedSMTPOverTLS(smtplib.SMTP_SSL, _BoundedSMTP):
    """A connection over TLS whose socket is shut at the deadline; `SMTP_SSL` wraps that socket."""


class _BoundedBackend(EmailBackend):
    """Django's SMTP backend, with connections that are shut at the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        # A connection is made at once with its socket, so its class has the deadline.
        kind = _BoundedSMTPOverTLS if self.use_ssl else _BoundedSMTP
        return type(kind.__name__, (kind,), {"deadline": self._deadline})


def send_mail_to(
    user: User, *, subject: Message, text: Message, address: str | None = None
) -> bool:
    """Send a user a mail about their own login, in the page's language; return whether the mail server took it.

    Where no mail server is set, or there is no address, nobody is told. `address`: the user's earlier one, in place of
    that of now.
    """
    address = address or user.email
    if settings.EMAIL_BACKEND == NO_SERVER or not address:
        return False
    try:
        send_mail_in_time(EmailMessage(localize(subject), localize(text), None, [address]))
    except (OSError, SMTPException, ValueError) as error:
        # Its text may quote addresses and what the server said.
        logger.error("no mail to %s: %s", escape_name(user.username), type(error).__name__)  # noqa: TRY400
        return False
    return True
