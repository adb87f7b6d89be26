"""Reads the settings of the audit, and collects what its entries tell of all settings at a process's start."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import Environment, require_strong_key, split_at_commas

# Whatever isn't named here may hold a secret: of it the audit notes only whether it is set, and whether it changed.
SHOWN = frozenset(
    {
        *("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "NOVA_TRUSTED_PROXIES"),
        *("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "NOVA_DATABASE_NAMES", "AWS_REGION"),
        *("AWS_ENDPOINT_URL_SECRETS_MANAGER", "NOVA_SECRET_LAYOUT", "NOVA_SECRET_PREFIX"),
        *("NOVA_CLEAN_STREAK", "NOVA_DUAL_READ_HOURS", "NOVA_PURGE_AFTER_DAYS", "NOVA_MIN_READS"),
        *("NOVA_DEMO", "NOVA_REQUIRE_APPROVAL", "NOVA_REQUIRE_SECOND_FACTOR", "NOVA_SWEEP_MINUTES"),
        *("NOVA_KMS_KEY_ID", "NOVA_REPLICA_REGIONS"),
        "NOVA_ROTATE_AFTER_REVEAL_DAYS",
        *("NOVA_ENVIRONMENT", "NOVA_NOTIFY_LANGUAGE"),
        *("SESSION_COOKIE_AGE", "NOVA_SESSION_LIMIT", "AXES_FAILURE_LIMIT", "AXES_COOLOFF_TIME"),
        *("NOVA_OIDC_ISSUER", "NOVA_OIDC_GROUPS", "NOVA_OIDC_GROUPS_CLAIM", "NOVA_MAIL_FROM"),
        *("NOVA_AWS_WRITES_PER_SECOND", "NOVA_AWS_READS_PER_SECOND", "NOVA_WORKERS", "LOG_LEVEL"),
        *("NOVA_LOG_FORMAT", "NOVA_HOST_NAME"),
    }
)
# Keys and passwords that others than `settings` read; a rotation of each shows.
HIDDEN_ELSEWHERE = (
    "SECRET_KEY_FALLBACKS",
    "NOVA_OIDC_CLIENT_SECRET",
    "NOVA_MAIL_URL",
    "AWS_ACCESS_KEY_ID",
)


def parse_webhook(value: str) -> str:
    """Return the URL, which has to be https; raises ValueError."""
    try:
        parts = urlsplit(value)
        sound = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("not a URL that begins with https://")
    return value


SCHEME: dict[str, tuple[Callable[[str], object], object]] = {
    "NOVA_AUDIT_KEY": (str, ""),
    "NOVA_AUDIT_OLD_KEYS": (split_at_commas, []),
    "NOVA_AUDIT_WEBHOOK": (parse_webhook, ""),
}


@dataclass(frozen=True)
class AuditSettings:
    """The keys that sign the audit, where its head is sent, and the variables that this process was started with."""

    # Empty: derived from SECRET_KEY.
    key: str = field(default="", repr=False)
    old_keys: tuple[str, ...] = field(default=(), repr=False)
    webhook: str = field(default="", repr=False)
    shown: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict, repr=False)


def strip_url_login(value: str) -> str:
    """Return the setting without user, password, query and fragment, where it is an address or a list of some."""
    if "://" not in value:
        return value
    # Up to the last @: a password may hold any other sign.
    return re.sub(r"[?#][^,]*", "", re.sub(r"(?<=://).*@", "", value))


def read_audit_settings(env: Environment) -> AuditSettings:
    """Read the settings of the audit; raises ImproperlyConfigured for a key that can be guessed."""
    key, old_keys = str(env("NOVA_AUDIT_KEY")), tuple(env("NOVA_AUDIT_OLD_KEYS"))
    if key:
        require_strong_key("NOVA_AUDIT_KEY", key)
    if key in old_keys:
        raise ImproperlyConfigured("NOVA_AUDIT_OLD_KEYS lists the key that NOVA_AUDIT_KEY names.")
    names = {*env.scheme, *SHOWN, *HIDDEN_ELSEWHERE}
    given = {name: value for name in sorted(names) if (value := os.environ.get(name, "").strip())}
    return AuditSettings(
        key,
        old_keys,
        str(env("NOVA_AUDIT_WEBHOOK")),
        {name: strip_url_login(value) for name, value in given.items() if name in SHOWN},
        {name: value for name, value in given.items() if name not in SHOWN},
    )
