"""Reads the environment's variables. An empty one counts as unset; the value of a wrong one is never repeated."""

import logging
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import Error as PsycopgError
from psycopg.conninfo import conninfo_to_dict

from nova_credentials.aws.endpoint import GENERIC_VARIABLE, VARIABLE, refuse_configured_endpoint

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL = BASE_DIR / ".local"

# Each store, and the variable by which `start_stores` tells this process and its children that it is the embedded one.
EMBEDDED_VARIABLES = {
    "DATABASE_URL": "NOVA_EMBEDDED_DATABASE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "NOVA_EMBEDDED_AWS",
}
# What a bar on every page still holds beside the rest, on a phone too.
LONGEST_LABEL = 40
# Everybody knows this key, so it is allowed with the embedded stores alone.
DEVELOPMENT_KEY = "development-only-key-" + "0" * 40
MAKE_A_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'
KEY_LENGTH, KEY_CHARACTERS = 50, 8
# Parts of keys that everybody can read: in new Django projects, in instructions, in this repository.
PUBLIC_KEYS = (
    *("django-insecure", "development-only", "example", "changeme", "change-me", "change_me"),
    *("your-secret", "your_secret", "secret-key", "secret_key", "for-the-check-only"),
    *("key-of-the-tests", "key-for-this-test"),
)
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@cache
def load_env_file(path: Path = BASE_DIR / ".env") -> None:
    """Add the variables of `.env` to the environment, where they aren't set already; drop AWS_ ones that are blank.

    `manage.py` and `wsgi.py` call it first, so that boto3 and child processes find them too; importing the settings
    changes nothing. Raises ImproperlyConfigured for a line that is no assignment.
    """
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not re.match(r"#|(export )?\w+=", line):
            # django-environ would log the whole line with its value.
            raise ImproperlyConfigured(f".env, line {number}, is not NAME=value.")
    environ.Env.read_env(path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        if not os.environ[name].strip():
            del os.environ[name]  # to boto3 an empty variable is a value


def is_development() -> bool:
    return bool(Environment(DEBUG=(parse_flag, False))("DEBUG"))


class Environment(environ.Env):  # type: ignore[misc]  # it has no types
    """The variables as they are now, parsed as the scheme says: `NOVA_WORKERS=(whole_number_from(1), 2)`."""

    # A value that begins with a dollar is no reference to another variable.
    DOLLAR, ESCAPED = "$", r"\$"

    def __init__(self, **scheme: tuple[Callable[[str], object], object]) -> None:
        super().__init__(**scheme)
        self.escape_proxy = True
        self.ENVIRON = {
            name: value.strip().replace(self.DOLLAR, self.ESCAPED)
            for name, value in os.environ.items()
            if value.strip()
        }

    def get_value(self, var: str, *args: object, **kwargs: object) -> Any:
        """Return the value or its default; raises ImproperlyConfigured that says what is wrong, without the value."""
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} is {error}.") from None

    def require_value_or_default(self, var: str, default: object = None) -> Any:
        """Return the value, or the default where it is empty; raises ImproperlyConfigured where both are."""
        value = self(var) or default
        if not value:
            raise ImproperlyConfigured(f"{var} is not set. Set it, or set DEBUG=1 for development.")
        return value

    def require_secret_key(self) -> str:
        """Return SECRET_KEY. Where both stores are embedded it may be left out: then it is the development key.

        Raises ImproperlyConfigured where it is missing or can be guessed.
        """
        embedded = self("DEBUG") and not self.list_named_stores()
        key = self("SECRET_KEY") or (DEVELOPMENT_KEY if embedded else "")
        if self("DEBUG") and not key:
            raise ImproperlyConfigured(
                "SECRET_KEY is not set. A store that is named needs a key of its own, in development too."
                f" Make one: {MAKE_A_KEY}"
            )
        if not (embedded and key == DEVELOPMENT_KEY):
            require_strong_key("SECRET_KEY", self.require_value_or_default("SECRET_KEY"))
        return str(key)

    def get_fingerprint_key(self) -> str:
        """Return NOVA_FINGERPRINT_KEY, or nothing; raises ImproperlyConfigured where it can be guessed."""
        key = str(self("NOVA_FINGERPRINT_KEY"))
        if key:
            require_strong_key("NOVA_FINGERPRINT_KEY", key)
        return key

    def get_metrics_token(self) -> str:
        """Return NOVA_METRICS_TOKEN, or nothing; raises ImproperlyConfigured where it can be guessed."""
        token = str(self("NOVA_METRICS_TOKEN"))
        if token:
            require_strong_key("NOVA_METRICS_TOKEN", token)
        return token

    def store_is_embedded(self, store: str) -> bool:
        return bool(self(store)) and self(store) == self(EMBEDDED_VARIABLES[store])

    def list_named_stores(self) -> list[str]:
        """Return the variables of the stores that are set and aren't embedded."""
        return [
            store
            for store in EMBEDDED_VARIABLES
            if self(store) and not self.store_is_embedded(store)
        ]

    def require_store(self, name: str) -> str:
        """Return the store's address; raises ImproperlyConfigured for an embedded one in production, or not started."""
        if self.store_is_embedded(name) and not self("DEBUG"):
            raise ImproperlyConfigured(f"{name} is an embedded store: production needs a real one.")
        if self("DEBUG") and not self(name):
            raise ImproperlyConfigured(
                f"{name} is not set, and no embedded store was started for it: run this through manage.py, or"
                " call nova_admin.embedded.starting.start_stores first."
            )
        return str(self(name))

    def get_aws_endpoint(self) -> str:
        """Return the address of Secrets Manager, or nothing for AWS's own.

        Raises ImproperlyConfigured as `require_store` does, and for an address that is meant for all of AWS's
        services or, in production, one where the way there is open to others.
        """
        endpoint = self.require_store(VARIABLE)
        if self.store_is_embedded(VARIABLE):
            return endpoint
        if self(GENERIC_VARIABLE):
            raise ImproperlyConfigured(
                f"{GENERIC_VARIABLE} is set: boto3 would send secrets to an address for all of AWS's services."
                f" Unset it, and name the one of Secrets Manager in {VARIABLE} if it isn't AWS's own."
            )
        if not self("DEBUG") and urlsplit(endpoint).scheme == "http":
            raise ImproperlyConfigured(
                f"{VARIABLE} is not https://…, so secrets could be read on the way."
            )
        return endpoint


def require_strong_key(name: str, key: str) -> None:
    """Raise ImproperlyConfigured where the key can be guessed."""
    public = any(part in key.lower() for part in PUBLIC_KEYS)
    if public or len(key) < KEY_LENGTH or len(set(key)) < KEY_CHARACTERS:
        raise ImproperlyConfigured(
            f"{name} is publicly known, shorter than {KEY_LENGTH} characters or made of fewer than {KEY_CHARACTERS}"
            f" different ones, so it can be guessed. Make one: {MAKE_A_KEY}"
        )


def parse_flag(value: str) -> bool:
    if value.lower() not in TRUE + FALSE:
        raise ValueError("neither 1 nor 0")
    return value.lower() in TRUE


def whole_number_from(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` on."""

    def parse_number(value: str) -> int:
        if not (value.isascii() and value.isdecimal()) or int(value) < least:
            raise ValueError(f"not a whole number from {least} on")
        return int(value)

    return parse_number


def decimal_up_to(most: int) -> Callable[[str], float]:
    """Return a parser of numbers from 0 to `most`, with a decimal point or without."""

    def parse_decimal(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", value) or float(value) > most:
            raise ValueError(f"not a number from 0 to {most}, such as 24 or 0.5")
        return float(value)

    return parse_decimal


def split_at_commas(value: str) -> list[str]:
    """Split the value at its commas."""
    return list(filter(None, map(str.strip, value.split(","))))


def parse_database_places(value: str) -> list[str]:
    """Split the value at its commas into places of a database, each host:port/name."""
    places = split_at_commas(value)
    if not all(re.fullmatch(r"[^,]+:[0-9]+/[^/]+", place) for place in places):
        raise ValueError("not a list of host:port/name, separated by commas")
    parts = [place.rpartition(":") for place in places]
    return [f"{host.lower()}:{rest}" for host, _colon, rest in parts]


def one_of(*choices: str) -> Callable[[str], str]:
    def parse_choice(value: str) -> str:
        if value not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return value

    return parse_choice


def parse_log_level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError("not a log level (DEBUG, INFO, WARNING, ERROR)")
    return value.upper()


def parse_label(value: str) -> str:
    """Return a short name for people; raises ValueError for one that no bar holds."""
    if len(value) > LONGEST_LABEL or not value.isprintable():
        raise ValueError(f"not a name of up to {LONGEST_LABEL} characters")
    return value.strip()


def parse_region(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,63}", value):
        raise ValueError("not the name of a region, such as us-east-1")
    return value


def parse_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("not a URL (https://…)")
    return value


def make_database_settings(uri: str) -> dict[str, object]:
    """Return Django's settings of a database, given any libpq URI (`postgresql://…`, also `?host=/socket/folder`)."""
    if os.environ.get("PGSERVICE"):
        raise ImproperlyConfigured(
            "PGSERVICE is set: libpq would use that service for the databases of clients too. Unset it, and name the"
            " service in DATABASE_URL (postgresql:///?service=NAME)."
        )
    try:
        parts: dict[str, object] = dict(conninfo_to_dict(uri))
    except PsycopgError:
        # libpq's own text quotes the URI with its password.
        raise ImproperlyConfigured(
            "DATABASE_URL is not a PostgreSQL URI (postgresql://…)."
        ) from None
    if not {"dbname", "service"} & parts.keys():
        raise ImproperlyConfigured(
            "DATABASE_URL does not name a database (postgresql://host/database)."
        )
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


def require_aws_configuration(*, credentials: bool) -> None:
    """Raise ImproperlyConfigured where boto3 would fail later: a missing profile and, if asked, no credentials.

    Its configuration file may not say where Secrets Manager is, unless the variable does.
    """
    from botocore.exceptions import BotoCoreError, ProfileNotFound  # noqa: PLC0415  # slow to import
    from botocore.session import get_session  # noqa: PLC0415

    try:
        session = get_session()
        session.get_scoped_config()
        if not os.environ.get(VARIABLE, "").strip():
            refuse_configured_endpoint(session)
        found = not credentials or session.get_credentials() is not None
    except RuntimeError as error:
        raise ImproperlyConfigured(str(error)) from None
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
