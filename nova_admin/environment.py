"""Reads the environment's variables. An empty one counts as unset; one that is wrong is named, never repeated."""

import logging
import os
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg import Error as PsycopgError
from psycopg.conninfo import conninfo_to_dict

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def required(name: str, value: Any) -> Any:
    """The value; where it is empty, nothing starts."""
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. Set it, or set DEBUG=1 for development.")
    return value


def flag(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if value and value not in TRUE + FALSE:
        raise ImproperlyConfigured(f"{name} is neither 1 nor 0.")
    return value in TRUE if value else default


def number(name: str, default: int, *, least: int = 1) -> int:
    value = text(name, str(default))
    if not value.isdecimal() or int(value) < least:
        raise ImproperlyConfigured(f"{name} is not a whole number from {least} on.")
    return int(value)


def names(name: str, default: list[str]) -> list[str]:
    """What is separated by commas."""
    return list(filter(None, map(str.strip, text(name).split(",")))) or default


def choice(name: str, *choices: str) -> str:
    """One of them; the first where none is named."""
    value = text(name, choices[0])
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is none of {', '.join(choices)}.")
    return value


def log_level(name: str, default: str) -> str:
    level = text(name, default).upper()
    if level not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(f"{name} is no level of logging: DEBUG, INFO, WARNING, ERROR.")
    return level


def url(name: str) -> str:
    value = text(name)
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if value and not sound:
        raise ImproperlyConfigured(f"{name} is not a URL (https://…).")
    return value


def database(name: str, uri: str) -> dict[str, Any]:
    """Django's description of any libpq URI (`postgresql://…`, `?host=/socket/folder` included)."""
    try:
        parts: dict[str, Any] = dict(conninfo_to_dict(uri))
    except PsycopgError:
        # libpq's own text quotes the URI, password and all.
        raise ImproperlyConfigured(f"{name} is not a PostgreSQL URI (postgresql://…).") from None
    if not {"dbname", "service"} & parts.keys():
        raise ImproperlyConfigured(f"{name} names no database (postgresql://host/database).")
    return {
        "ENGINE": "nova_admin.database",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
        "CONN_HEALTH_CHECKS": True,
    }


def check_aws(*, credentials: bool) -> None:
    """Refuses what boto3 would fail on later: a profile that is not there and, if asked, no credentials."""
    from botocore.exceptions import BotoCoreError, ProfileNotFound  # noqa: PLC0415  # where needed
    from botocore.session import get_session  # noqa: PLC0415

    try:
        session = get_session()
        session.get_scoped_config()
        found = not credentials or session.get_credentials() is not None
    except ProfileNotFound:
        raise ImproperlyConfigured(
            "AWS_PROFILE names a profile that boto3 does not find."
        ) from None
    except BotoCoreError as error:
        raise ImproperlyConfigured(
            f"AWS credentials are not complete ({type(error).__name__}): see AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or boto3's files."
        ) from None
    if not found:
        raise ImproperlyConfigured(
            "AWS credentials are not set. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a role boto3"
            " finds), or set DEBUG=1 for development."
        )
