"""Reads the settings of notices: to whom they go, and in which language. A webhook's address is a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from nova_admin.environment import Environment, one_of, split_at_commas

URLS, EMAILS, LANGUAGE = "NOVA_NOTIFY_URLS", "NOVA_NOTIFY_EMAILS", "NOVA_NOTIFY_LANGUAGE"
SCHEME: dict[str, tuple[Callable[[str], object], object]] = {
    URLS: (split_at_commas, []),
    EMAILS: (split_at_commas, []),
    LANGUAGE: (one_of("en", "es"), "en"),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A test of the notices tries all of them while somebody waits.
MOST_RECIPIENTS = 20


@dataclass(frozen=True)
class NotifySettings:
    """The webhooks and mail addresses that are told, and the language of the sentences."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    emails: tuple[str, ...] = field(default=(), repr=False)
    language: str = "en"
    # In development a webhook may be on this machine, and without TLS.
    loopback_allowed: bool = False


def read_notify_settings(env: Environment, *, debug: bool, mails_are_sent: bool) -> NotifySettings:
    """Read the settings of notices; raises ImproperlyConfigured, without addresses, for wrong ones."""
    urls, emails = tuple(dict.fromkeys(env(URLS))), tuple(dict.fromkeys(env(EMAILS)))
    if not all(is_webhook(url, debug=debug) for url in urls):
        raise ImproperlyConfigured(
            f"{URLS} is not a list of https://… separated by commas, without a user and without #."
            " In a URL, write a comma as %2C."
        )
    if not all(map(is_email, emails)):
        raise ImproperlyConfigured(
            f"{EMAILS} is not a list of mail addresses, separated by commas."
        )
    if max(len(urls), len(emails)) > MOST_RECIPIENTS:
        raise ImproperlyConfigured(f"{URLS} and {EMAILS} hold up to {MOST_RECIPIENTS} each.")
    if emails and not mails_are_sent:
        raise ImproperlyConfigured(
            f"{EMAILS} is set, but no mail server is: set NOVA_MAIL_URL and NOVA_MAIL_FROM."
        )
    return NotifySettings(urls, emails, str(env(LANGUAGE)), loopback_allowed=debug)


def is_webhook(url: str, *, debug: bool) -> bool:
    """Say whether this can be called: https, or in development http on this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not (url.isascii() and url.isprintable() and " " not in url and host) or port == 0:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (debug and parts.scheme == "http" and host in LOOPBACK)


def is_email(address: str) -> bool:
    """Say whether this is a mail address."""
    try:
        validate_email(address)
    except ValidationError:
        return False
    return address.isascii()
