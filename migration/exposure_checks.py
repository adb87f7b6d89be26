"""System checks of what a page lets in and what can be read on the way, for `manage.py check --deploy`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TYPE_CHECKING

from csp.constants import NONCE, NONE, SELF
from django.conf import settings
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MIDDLEWARE = "csp.middleware.CSPMiddleware"
# A page that lacks one of these runs scripts of others, sends forms to them or stands in a frame of theirs. Only the
# first falls back to default-src.
DIRECTIVES = ("script-src", "form-action", "base-uri", "frame-ancestors")
OWN_SOURCES = {SELF, NONE, NONCE}
SHORTEST_HSTS_SECONDS = 182 * 24 * 60 * 60
# A network of fewer bits holds more than anybody's own proxies.
FEWEST_BITS_OF_IPV4, FEWEST_BITS_OF_IPV6 = 8, 16
SMTP = "django.core.mail.backends.smtp.EmailBackend"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@register(Tags.security, deploy=True)
def check_exposure(**_: object) -> list[Warning]:
    """Warn of each setting by which others get into a page, are believed, or can read on the way."""
    return [*_check_policy(), *_check_https(), *_check_proxies(), *_check_mail()]


def _check_policy() -> Iterator[Warning]:
    policy = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    open_ones = _list_open_directives(policy.get("DIRECTIVES") or {})
    if MIDDLEWARE not in settings.MIDDLEWARE:
        open_ones = list(DIRECTIVES)
    if open_ones:
        text = f"The Content-Security-Policy lets others in: {', '.join(open_ones)}."
        hint = f"Leave CONTENT_SECURITY_POLICY as it is, and {MIDDLEWARE} in MIDDLEWARE (docs/production.md)."
        yield Warning(text, hint=hint, id="migration.W013")


def _list_open_directives(directives: Mapping[str, object]) -> list[str]:
    given = {"script-src": directives.get("default-src"), **directives}
    return [name for name in DIRECTIVES if not _names_own_sources(given.get(name))]


def _names_own_sources(sources: object) -> bool:
    return isinstance(sources, list | tuple | set) and bool(sources) and {*sources} <= OWN_SOURCES


def _check_https() -> Iterator[Warning]:
    # Django itself names zero.
    if 0 < settings.SECURE_HSTS_SECONDS < SHORTEST_HSTS_SECONDS:
        text = f"SECURE_HSTS_SECONDS is below {SHORTEST_HSTS_SECONDS} (half a year): browsers soon try http again."
        hint = "Set it to 31536000 once https works for the site and all names below it."
        yield Warning(text, hint=hint, id="migration.W014")


def _check_proxies() -> Iterator[Warning]:
    networks = settings.NOVA_TRUSTED_PROXIES.networks
    # Two halves of the world are the world.
    of_ipv4 = collapse_addresses(net for net in networks if isinstance(net, IPv4Network))
    of_ipv6 = collapse_addresses(net for net in networks if isinstance(net, IPv6Network))
    fewest = min((net.prefixlen for net in of_ipv4), default=FEWEST_BITS_OF_IPV4)
    fewest_of_ipv6 = min((net.prefixlen for net in of_ipv6), default=FEWEST_BITS_OF_IPV6)
    if fewest < FEWEST_BITS_OF_IPV4 or fewest_of_ipv6 < FEWEST_BITS_OF_IPV6:
        text = "NOVA_TRUSTED_PROXIES names a network wider than /8, or /16 of IPv6: many could invent addresses."
        hint = "Name the proxies themselves, or the network that holds only them."
        yield Warning(text, hint=hint, id="migration.W015")


def _check_mail() -> Iterator[Warning]:
    if settings.EMAIL_BACKEND != SMTP or settings.EMAIL_HOST in THIS_MACHINE:
        return
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    if settings.EMAIL_HOST_PASSWORD and not encrypted:
        text = "NOVA_MAIL_URL sends its password in clear: it can be read on the way."
        yield Warning(text, hint="Begin it with smtp+tls:// or smtp+ssl://.", id="migration.W016")
