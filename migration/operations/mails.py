"""Sends a user a mail about their own login. Where no mail server is set, or there is no address, nobody is told."""

from __future__ import annotations

import logging
from smtplib import SMTPException
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.mail import EmailMessage

from credentials.localization import localize
from credentials.shown_names import escape_name
from migration.operations.bounded_mail import send_mail_in_time

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from nova_credentials.messages import Message

logger = logging.getLogger(__name__)
NO_SERVER = "django.core.mail.backends.dummy.EmailBackend"


def send_mail_to(
    user: User, *, subject: Message, text: Message, address: str | None = None
) -> bool:
    """Send the mail in the language of the page, and return whether the mail server took it.

    `address`: the user's earlier one, in place of that of now.
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
