"""Reads the settings of the login: second factor, OpenID Connect, mail, and what allauth is told. Starts nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import Environment, parse_flag, require_strong_key, split_at_commas

APPS = ("allauth.account", "allauth.socialaccount", "allauth.mfa")
MIDDLEWARE = (
    "allauth.account.middleware.AccountMiddleware",
    "nova_admin.login.middleware.RequireSecondFactor",
)
PREFIX = "NOVA_OIDC_"
REQUIRED = ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "GROUPS")
# What a claim `iss` may hold; the table has so much room.
LONGEST_ISSUER = 200
# Guesses are counted by `nova_admin.login` and by the lock-out of the login, not here: allauth's own limits let anybody
# lock out another.
ALLAUTH = {
    "ACCOUNT_ADAPTER": "nova_admin.login.adapter.LoginAdapter",
    "ACCOUNT_EMAIL_VERIFICATION": "none",
    "ACCOUNT_RATE_LIMITS": False,
    "ACCOUNT_LOGIN_TIMEOUT": 600,
    "MFA_ADAPTER": "migration.people.second_factors.FactorAdapter",
    "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
    "MFA_RECOVERY_CODES_SHOW_ONCE": True,
    "SOCIALACCOUNT_EMAIL_VERIFICATION": "none",
    "SOCIALACCOUNT_UID_MAX_LENGTH": 255,  # OpenID Connect's own limit of a subject
}


@dataclass(frozen=True)
class OidcProvider:
    """The provider of OpenID Connect that the site trusts, and the site's group for each of the provider's."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    groups: dict[str, str]
    groups_claim: str = "groups"
    scopes: str = "openid profile email"
    # Answers over http could be forged: in development alone.
    over_http: bool = False


def read_oidc_provider(*, debug: bool) -> OidcProvider | None:
    """Return the provider that NOVA_OIDC_… name, or None; raises ImproperlyConfigured where they are incomplete."""
    names = (*REQUIRED, "GROUPS_CLAIM", "SCOPES")
    env = Environment(**{f"{PREFIX}{name}": (str, "") for name in names})
    given = {name: str(env(f"{PREFIX}{name}")) for name in names}
    if not any(given[name] for name in REQUIRED):
        return None
    for name in REQUIRED:
        if not given[name]:
            raise ImproperlyConfigured(
                f"{PREFIX}{name} is not set, while others of {PREFIX}… are. Set it, or unset them all."
            )
    optional = {"groups_claim": given["GROUPS_CLAIM"], "scopes": given["SCOPES"]}
    provider = OidcProvider(
        issuer=parse_issuer(given["ISSUER"], debug=debug),
        client_id=given["CLIENT_ID"],
        client_secret=given["CLIENT_SECRET"],
        groups=parse_groups(given["GROUPS"]),
        over_http=debug,
        **{name: value for name, value in optional.items() if value},
    )
    if "openid" not in provider.scopes.split():
        raise ImproperlyConfigured(f"{PREFIX}SCOPES lacks openid.")
    return provider


def parse_issuer(value: str, *, debug: bool) -> str:
    """Return the issuer as its tokens name it; raises ImproperlyConfigured where answers could be forged on the way."""
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    schemes = ("https", "http") if debug else ("https",)
    extra = sound and (parts.query or parts.fragment or parts.username is not None)
    if not sound or extra or parts.scheme not in schemes or len(value) > LONGEST_ISSUER:
        raise ImproperlyConfigured(
            f"{PREFIX}ISSUER is not https://… of a provider, without ? and #, in up to {LONGEST_ISSUER} characters."
        )
    return value


def parse_groups(value: str) -> dict[str, str]:
    """Return the site's group for each group of the provider, given `theirs=Operator, others=Viewer`."""
    pairs = [pair.rpartition("=") for pair in split_at_commas(value)]
    groups = {theirs.strip(): ours.strip() for theirs, _equals, ours in pairs}
    if not groups or len(groups) < len(pairs) or not all(map(all, groups.items())):
        raise ImproperlyConfigured(
            f"{PREFIX}GROUPS is not a list of their-group=Role, separated by commas, each of theirs once."
        )
    return groups


def read_mail_and_fallback_keys(*, debug: bool) -> dict[str, object]:
    """Return Django's settings of mail and earlier keys, and the way by which allauth finds its own."""
    return {
        "ALLAUTH_SETTING_GETTER": "nova_admin.login.settings.get_allauth_setting",
        "SECRET_KEY_FALLBACKS": read_earlier_secret_keys(),
        **read_mail_settings(debug=debug),
    }


def read_requirement(*, debug: bool) -> bool:
    """Say whether a second factor is required; in development only where it is set."""
    return bool(
        Environment(NOVA_REQUIRE_SECOND_FACTOR=(parse_flag, not debug))(
            "NOVA_REQUIRE_SECOND_FACTOR"
        )
    )


def read_earlier_secret_keys() -> list[str]:
    """Return the keys that were SECRET_KEY before; raises ImproperlyConfigured where one can be guessed."""
    keys = split_at_commas(os.environ.get("SECRET_KEY_FALLBACKS", ""))
    for key in keys:
        require_strong_key("SECRET_KEY_FALLBACKS", key)
    return keys


def read_mail_settings(*, debug: bool) -> dict[str, object]:
    """Return Django's mail settings from NOVA_MAIL_URL; without it, mails are printed (`debug`) or dropped."""
    env = Environment(NOVA_MAIL_URL=(str, ""), NOVA_MAIL_FROM=(str, ""))
    url, sender = str(env("NOVA_MAIL_URL")), str(env("NOVA_MAIL_FROM"))
    if not url:
        backend = "console" if debug else "dummy"
        given: dict[str, object] = {
            "EMAIL_BACKEND": f"django.core.mail.backends.{backend}.EmailBackend"
        }
    else:
        if not re.match(r"smtp(\+tls|\+ssl|s)?://\S+:\d{1,5}/?$", url) or not sender:
            raise ImproperlyConfigured(
                "NOVA_MAIL_URL is not smtp+tls://user:password@host:587, or NOVA_MAIL_FROM is not set."
            )
        try:
            given = {
                key: value
                for key, value in Environment.email_url_config(url).items()
                if key.startswith("EMAIL_")
            }
        except ValueError:
            raise ImproperlyConfigured(
                "NOVA_MAIL_URL is not smtp+tls://user:password@host:587."
            ) from None
    sender = sender or "nova-admin@localhost"
    return {
        **given,
        "DEFAULT_FROM_EMAIL": sender,
        "SERVER_EMAIL": sender,  # of mails about errors
        "EMAIL_TIMEOUT": 10,
    }


def get_allauth_setting(name: str, default: object) -> object:
    """Return a setting of allauth's: it asks this function, so that all of them are in one place."""
    return ALLAUTH.get(name, default)
