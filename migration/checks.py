"""The list of `manage.py check --deploy`: what to set so that clients, pages and logins are safe, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from axes.helpers import get_cool_off
from csp.constants import NONCE, NONE, SELF
from django.conf import settings
from django.contrib.auth.password_validation import get_password_validators
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

# Setting: the least that is some evidence, the usual value, and what a lower one lets through.
EVIDENCE = {
    "NOVA_PURGE_AFTER_DAYS": (
        1,
        7,
        "a client is purged before NOVA's daily tasks have read AWS alone",
    ),
    "NOVA_CLEAN_STREAK": (
        2,
        3,
        "one comparison that matches is enough for a cutover and for a purge",
    ),
    "NOVA_DUAL_READ_HOURS": (6, 24, "a client is cut over before NOVA's daily tasks have read it"),
    "NOVA_MIN_READS": (5, 20, "a client is cut over that NOVA has hardly read from both stores"),
}

CODE = "nova_admin/settings.py as it was released"
POLICY_MIDDLEWARE = "csp.middleware.CSPMiddleware"
# A page that lacks one of these runs scripts of others, sends forms to them or stands in a frame of theirs. Only the
# first falls back to default-src.
DIRECTIVES = ("script-src", "form-action", "base-uri", "frame-ancestors")
OWN_SOURCES = {SELF, NONE, NONCE}
SESSION_STORE = "nova_admin.session_store"
VALIDATORS = (
    "MinimumLengthValidator",
    "UserAttributeSimilarityValidator",
    "CommonPasswordValidator",
    "NumericPasswordValidator",
)
SHORTEST_PASSWORD = 12

SHORTEST_HSTS_SECONDS = 182 * 24 * 60 * 60
# A network of fewer bits holds more than anybody's own proxies.
FEWEST_BITS_OF_IPV4, FEWEST_BITS_OF_IPV6 = 8, 16
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

LONGEST_IDLE_SECONDS = 30 * 60
LONGEST_SESSION_SECONDS = 8 * 60 * 60
MOST_WRONG_PASSWORDS = 10
SHORTEST_LOCK_MINUTES = 5


class ToDo(Warning):
    """A line of the list. Django prints lines by their alphabet, so each begins with its number."""

    def __str__(self) -> str:
        return str(self.msg)


@register(Tags.security, deploy=True)
def list_what_to_set(**_: object) -> list[Warning]:
    """Return a line for each weak setting: the variable with a value that is safe, and why, the worst first."""
    return [
        ToDo(f"{number:2}. {what}: {why}.", id=f"migration.{what.partition('=')[0]}")
        for number, (what, why) in enumerate(find_weak_settings(), start=1)
    ]


def find_weak_settings() -> Iterator[tuple[str, str]]:
    """Yield what to set and why, the worst first."""
    if settings.DEBUG:
        yield "DEBUG=", "it is for development, and most of what follows is not looked at with it"
        return
    yield from _find_changed_code()
    if not settings.NOVA_REQUIRE_SECOND_FACTOR:
        yield "NOVA_REQUIRE_SECOND_FACTOR=1", "who knows an Operator's password needs nothing else"
    yield from _find_exposure()
    for name, (least, usual, effect) in EVIDENCE.items():
        if (given := getattr(settings, name)) < least:
            yield f"{name}={usual}", f"it is {given:g}, so {effect}"
    if settings.NOVA_LOGIN_UNVERIFIED_DATABASES:
        yield (
            "NOVA_LOGIN_UNVERIFIED_DATABASES=0",
            "login tests and rotations believe any server that answers in a database's place",
        )
    derived = "make_settings prints one; it is derived from SECRET_KEY, and changes with it"
    if not settings.NOVA_AUDIT.key:
        yield "NOVA_AUDIT_KEY=(a new key)", derived
    if not settings.NOVA_FINGERPRINT_KEY:
        yield "NOVA_FINGERPRINT_KEY=(a new key)", derived
    yield from _find_weak_logins()


def _find_changed_code() -> Iterator[tuple[str, str]]:
    """Yield what no variable changes: somebody changed the settings themselves."""
    policy = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    given = policy.get("DIRECTIVES") or {}
    given = {"script-src": given.get("default-src"), **given}
    open_ones = [name for name in DIRECTIVES if not _names_own_sources(given.get(name))]
    if POLICY_MIDDLEWARE not in settings.MIDDLEWARE:
        open_ones = list(DIRECTIVES)
    if open_ones:
        yield CODE, f"the Content-Security-Policy lets others in: {', '.join(open_ones)}"
    backends = settings.AUTHENTICATION_BACKENDS
    if not (
        settings.AXES_ENABLED
        and backends[:1] == ["axes.backends.AxesStandaloneBackend"]
        and "axes.middleware.AxesMiddleware" in settings.MIDDLEWARE
    ):
        yield CODE, "nobody is locked out of the login, so passwords can be guessed without end"
    if list(map(set, settings.AXES_LOCKOUT_PARAMETERS)) != [{"username", "ip_address"}]:
        yield (
            CODE,
            "the lock-out is not of the pair of user and address: somebody can lock out others",
        )
    if settings.SESSION_ENGINE != SESSION_STORE:
        yield CODE, f"SESSION_ENGINE is not {SESSION_STORE}: sessions that are used never end"
    validators = {
        type(each).__name__: each
        for each in get_password_validators(settings.AUTH_PASSWORD_VALIDATORS)
    }
    if missing := [name for name in VALIDATORS if name not in validators]:
        yield CODE, f"passwords that are easy to guess are taken, without {', '.join(missing)}"
    if getattr(validators.get(VALIDATORS[0]), "min_length", SHORTEST_PASSWORD) < SHORTEST_PASSWORD:
        yield CODE, f"passwords of fewer than {SHORTEST_PASSWORD} characters are taken"


def _names_own_sources(sources: object) -> bool:
    return isinstance(sources, list | tuple | set) and bool(sources) and {*sources} <= OWN_SOURCES


def _find_exposure() -> Iterator[tuple[str, str]]:
    """Yield what lets others be believed, or read on the way."""
    networks = settings.NOVA_TRUSTED_PROXIES.networks
    # Two halves of the world are the world.
    of_ipv4 = collapse_addresses(net for net in networks if isinstance(net, IPv4Network))
    of_ipv6 = collapse_addresses(net for net in networks if isinstance(net, IPv6Network))
    fewest = min((net.prefixlen for net in of_ipv4), default=FEWEST_BITS_OF_IPV4)
    fewest_of_ipv6 = min((net.prefixlen for net in of_ipv6), default=FEWEST_BITS_OF_IPV6)
    if fewest < FEWEST_BITS_OF_IPV4 or fewest_of_ipv6 < FEWEST_BITS_OF_IPV6:
        yield (
            "NOVA_TRUSTED_PROXIES=(the proxies alone)",
            "it names a network wider than /8, or /16 of IPv6: many could invent addresses",
        )
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    if (
        settings.EMAIL_BACKEND == SMTP_BACKEND
        and settings.EMAIL_HOST not in THIS_MACHINE
        and settings.EMAIL_HOST_PASSWORD
        and not encrypted
    ):
        yield "NOVA_MAIL_URL=smtp+tls://…", "the mail server's password can be read on the way"
    if not settings.SECURE_SSL_REDIRECT:
        yield "SECURE_SSL_REDIRECT=1", "unless the proxy redirects, pages are shown over http too"
    if (given := settings.SECURE_HSTS_SECONDS) < SHORTEST_HSTS_SECONDS:
        yield (
            "SECURE_HSTS_SECONDS=31536000",
            f"it is {given}, so browsers soon try http again (leave it low until https works for all names below)",
        )


def _find_weak_logins() -> Iterator[tuple[str, str]]:
    """Yield what makes passwords easier to guess, or an open browser easier to use."""
    if (given := settings.AXES_FAILURE_LIMIT) > MOST_WRONG_PASSWORDS:
        yield "AXES_FAILURE_LIMIT=5", f"it is {given}, so many passwords can be tried in a row"
    cool_off = get_cool_off()
    if cool_off is not None and cool_off.total_seconds() < SHORTEST_LOCK_MINUTES * 60:
        yield (
            "AXES_COOLOFF_TIME=0.25",
            f"who guesses waits less than {SHORTEST_LOCK_MINUTES} minutes",
        )
    if (given := settings.NOVA_SESSION_LIMIT) > LONGEST_SESSION_SECONDS:
        yield (
            f"NOVA_SESSION_LIMIT={LONGEST_SESSION_SECONDS}",
            f"it is {given}: a stolen session is of use for so many seconds",
        )
    if (given := settings.SESSION_COOKIE_AGE) > LONGEST_IDLE_SECONDS:
        yield (
            f"SESSION_COOKIE_AGE={LONGEST_IDLE_SECONDS}",
            f"it is {given}: who finds a browser open can use it for so many seconds",
        )
