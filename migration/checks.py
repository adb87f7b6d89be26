"""The system checks of `manage.py check --deploy`: settings that let a client, a page or a login be less safe."""

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
    "NOVA_CLEAN_STREAK": (
        2,
        3,
        "one comparison that matches is enough for a cutover and for a purge",
    ),
    "NOVA_DUAL_READ_HOURS": (6, 24, "a client is cut over before NOVA's daily tasks have read it"),
    "NOVA_PURGE_AFTER_DAYS": (
        1,
        7,
        "a client is purged before NOVA's daily tasks have read AWS alone",
    ),
    "NOVA_MIN_READS": (5, 20, "a client is cut over that NOVA has hardly read from both stores"),
}

# Of what is exposed.
POLICY_MIDDLEWARE = "csp.middleware.CSPMiddleware"
# A page that lacks one of these runs scripts of others, sends forms to them or stands in a frame of theirs. Only the
# first falls back to default-src.
DIRECTIVES = ("script-src", "form-action", "base-uri", "frame-ancestors")
OWN_SOURCES = {SELF, NONE, NONCE}
SHORTEST_HSTS_SECONDS = 182 * 24 * 60 * 60
# A network of fewer bits holds more than anybody's own proxies.
FEWEST_BITS_OF_IPV4, FEWEST_BITS_OF_IPV6 = 8, 16
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

# Of logins.
SHORTEST_PASSWORD = 12
LONGEST_IDLE_SECONDS = 30 * 60
LONGEST_SESSION_SECONDS = 8 * 60 * 60
MOST_WRONG_PASSWORDS = 10
SHORTEST_LOCK_MINUTES = 5
SESSION_STORE = "nova_admin.session_store"
VALIDATORS = (
    "MinimumLengthValidator",
    "UserAttributeSimilarityValidator",
    "CommonPasswordValidator",
    "NumericPasswordValidator",
)


@register(Tags.security, deploy=True)
def check_audit_key(**_: object) -> list[Warning]:
    """Warn if the key that signs the audit is derived from SECRET_KEY: a rotation of that one then needs it listed."""
    if settings.NOVA_AUDIT.key:
        return []
    return [
        Warning(
            "NOVA_AUDIT_KEY is not set: the key that signs the audit is derived from SECRET_KEY.",
            hint="Set it to a key of its own. docs/audit.md says how.",
            id="migration.W011",
        )
    ]


@register(Tags.security, deploy=True)
def check_fingerprint_key(**_: object) -> list[Warning]:
    """Warn if the key of the short codes is derived from SECRET_KEY, as the two then can't be rotated separately."""
    if settings.NOVA_FINGERPRINT_KEY:
        return []
    return [
        Warning(
            "NOVA_FINGERPRINT_KEY is not set: the key of the short codes in comparisons is derived from SECRET_KEY.",
            hint="Set it to a key of its own. docs/secrets.md says how, and what it costs.",
            id="migration.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_second_factor(**_: object) -> list[Warning]:
    """Warn if whoever may do more than view logs in with a password alone."""
    if settings.NOVA_REQUIRE_SECOND_FACTOR:
        return []
    return [
        Warning(
            "NOVA_REQUIRE_SECOND_FACTOR is off: who knows an Operator's password needs nothing else.",
            hint="Unset it, or set it to 1. docs/people.md says how people set up their second factor.",
            id="migration.W012",
        )
    ]


@register(Tags.security, deploy=True)
def check_evidence(**_: object) -> list[Warning]:
    """Warn of each setting by which a gate wants hardly any evidence, or none."""
    return [
        Warning(
            f"{name} is {getattr(settings, name):g}: {effect}.",
            hint=f"Unset it, or set it to {usual}; the least is {least}. docs/migrate.md says what it counts.",
            id="migration.W017",
        )
        for name, (least, usual, effect) in EVIDENCE.items()
        if getattr(settings, name) < least
    ]


@register(Tags.security, deploy=True)
def check_unverified_databases(**_: object) -> list[Warning]:
    """Warn if login tests and rotations believe any server that answers in a database's place."""
    if not settings.NOVA_LOGIN_UNVERIFIED_DATABASES:
        return []
    return [
        Warning(
            "NOVA_LOGIN_UNVERIFIED_DATABASES is on: login tests and rotations believe a database without TLS or a"
            " valid certificate.",
            hint="Unset it once your clients' databases have certificates. docs/secrets.md says what it protects.",
            id="migration.W018",
        )
    ]


@register(Tags.security, deploy=True)
def check_exposure(**_: object) -> list[Warning]:
    """Warn of each setting by which others get into a page, are believed, or can read on the way."""
    return [*_check_policy(), *_check_https(), *_check_proxies(), *_check_mail()]


def _check_policy() -> Iterator[Warning]:
    policy = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    given = policy.get("DIRECTIVES") or {}
    given = {"script-src": given.get("default-src"), **given}
    open_ones = [name for name in DIRECTIVES if not _names_own_sources(given.get(name))]
    if POLICY_MIDDLEWARE not in settings.MIDDLEWARE:
        open_ones = list(DIRECTIVES)
    if open_ones:
        text = f"The Content-Security-Policy lets others in: {', '.join(open_ones)}."
        hint = f"Leave CONTENT_SECURITY_POLICY as it is, and {POLICY_MIDDLEWARE} in MIDDLEWARE."
        yield Warning(text, hint=hint, id="migration.W013")


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
    if settings.EMAIL_BACKEND != SMTP_BACKEND or settings.EMAIL_HOST in THIS_MACHINE:
        return
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    if settings.EMAIL_HOST_PASSWORD and not encrypted:
        text = "NOVA_MAIL_URL sends its password in clear: it can be read on the way."
        yield Warning(text, hint="Begin it with smtp+tls:// or smtp+ssl://.", id="migration.W016")


@register(Tags.security, deploy=True)
def check_site_logins(**_: object) -> list[Warning]:
    """Warn of each setting by which passwords can be guessed, or an open browser be used by somebody else."""
    return [*_check_sessions(), *_check_lockout(), *_check_passwords()]


def _check_sessions() -> Iterator[Warning]:
    if settings.SESSION_ENGINE != SESSION_STORE:
        text = f"SESSION_ENGINE is not {SESSION_STORE}: sessions that are used never end."
        yield Warning(text, hint="Leave it unset.", id="migration.W002")
    if settings.SESSION_COOKIE_AGE > LONGEST_IDLE_SECONDS:
        text = f"SESSION_COOKIE_AGE is above {LONGEST_IDLE_SECONDS}: who finds a browser open can use it for that long."
        yield Warning(
            text, hint="Set it to 1800 seconds (30 minutes) or less.", id="migration.W003"
        )
    if settings.NOVA_SESSION_LIMIT > LONGEST_SESSION_SECONDS:
        text = f"NOVA_SESSION_LIMIT is above {LONGEST_SESSION_SECONDS}: a stolen session is of use for that long."
        yield Warning(text, hint="Set it to 28800 seconds (8 hours) or less.", id="migration.W004")


def _check_lockout() -> Iterator[Warning]:
    backends, middleware = settings.AUTHENTICATION_BACKENDS, settings.MIDDLEWARE
    first = backends[0] if backends else ""
    if not (
        settings.AXES_ENABLED
        and first == "axes.backends.AxesStandaloneBackend"
        and "axes.middleware.AxesMiddleware" in middleware
    ):
        text = "Nobody is locked out of the login: passwords can be guessed without end."
        hint = "Leave AXES_ENABLED unset, and django-axes first in AUTHENTICATION_BACKENDS and in MIDDLEWARE."
        yield Warning(text, hint=hint, id="migration.W005")
    if settings.AXES_FAILURE_LIMIT > MOST_WRONG_PASSWORDS:
        text = f"AXES_FAILURE_LIMIT is above {MOST_WRONG_PASSWORDS}: so many passwords can be tried in a row."
        yield Warning(text, hint="Set it to 5.", id="migration.W006")
    cool_off = get_cool_off()
    if cool_off is not None and cool_off.total_seconds() < SHORTEST_LOCK_MINUTES * 60:
        text = f"AXES_COOLOFF_TIME is below {SHORTEST_LOCK_MINUTES} minutes: whoever guesses hardly has to wait."
        yield Warning(text, hint="Set it to 0.25 hours.", id="migration.W007")
    if list(map(set, settings.AXES_LOCKOUT_PARAMETERS)) != [{"username", "ip_address"}]:
        text = "AXES_LOCKOUT_PARAMETERS is not the pair of user and address: somebody can lock out others."
        hint = 'Leave it at [["username", "ip_address"]].'
        yield Warning(text, hint=hint, id="migration.W008")


def _check_passwords() -> Iterator[Warning]:
    validators = get_password_validators(settings.AUTH_PASSWORD_VALIDATORS)
    given = {type(validator).__name__: validator for validator in validators}
    if missing := [name for name in VALIDATORS if name not in given]:
        text = f"AUTH_PASSWORD_VALIDATORS lacks {', '.join(missing)}: passwords that are easy to guess are taken."
        yield Warning(text, hint="Add what is missing.", id="migration.W009")
    if getattr(given.get(VALIDATORS[0]), "min_length", SHORTEST_PASSWORD) < SHORTEST_PASSWORD:
        text = f"AUTH_PASSWORD_VALIDATORS takes passwords of fewer than {SHORTEST_PASSWORD} characters."
        hint = f"Set min_length of {VALIDATORS[0]} to {SHORTEST_PASSWORD}."
        yield Warning(text, hint=hint, id="migration.W010")
