"""Reads the environment for the settings: each variable's kind, its default, and what can't be right.

An empty variable counts as unset; the value of a wrong one is never repeated. Starts nothing.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _
from psycopg import Error as PsycopgError
from psycopg.conninfo import conninfo_to_dict

from nova_admin.env_file import EnvFileError, read_env_file
from nova_admin.logs import FORMATS
from nova_credentials.aws.endpoint import GENERIC_VARIABLE, VARIABLE, refuse_configured_endpoint
from nova_credentials.aws.kms_keys import KeyName

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL = BASE_DIR / ".local"
# Each store, and the variable by which `start_stores` tells this process and its children that it is the embedded one.
EMBEDDED_VARIABLES = {
    "DATABASE_URL": "NOVA_EMBEDDED_DATABASE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "NOVA_EMBEDDED_AWS",
}
# Everybody knows this key, so it is allowed with the embedded stores alone.
DEVELOPMENT_KEY = "development-only-key-" + "0" * 40
MAKE_A_KEY = "python manage.py make_settings"
KEY_LENGTH, KEY_CHARACTERS = 50, 8
# Parts of keys that everybody can read: in new Django projects, in instructions, in this repository.
PUBLIC_KEYS = (
    *("django-insecure", "development-only", "example", "changeme", "change-me", "change_me"),
    *("your-secret", "your_secret", "secret-key", "secret_key", "for-the-check-only"),
    *("key-of-the-tests", "key-for-this-test"),
)
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# What a bar on every page still holds beside the rest, on a phone too.
LONGEST_LABEL = 40
# By name, how a variable is read, and its default.
Variables = dict[str, tuple[Callable[[str], object], object]]


# Names the file of settings, if it isn't `.env` beside manage.py.
ENV_FILE = "NOVA_ENV_FILE"


@cache
def load_env_file(path: Path | None = None) -> None:
    """Add the variables of the file of settings to the environment, where they aren't set; drop blank ones of AWS.

    `manage.py`, `wsgi.py` and the web server call it first, so that boto3 and child processes find them too; importing
    the settings changes nothing. Raises ImproperlyConfigured for a line that can't be read, and if a named file can't.
    """
    named = os.environ.get(ENV_FILE, "")
    path = path or Path(named or BASE_DIR / ".env")
    try:
        found = read_env_file(path) if named or path.exists() else {}
    except EnvFileError as error:
        raise ImproperlyConfigured(str(error)) from None
    except OSError as error:
        raise ImproperlyConfigured(
            f"{path} can't be read ({error.strerror}). {ENV_FILE} names the file of settings."
        ) from None
    for name, value in found.items():
        os.environ.setdefault(name, value)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        if not os.environ[name].strip():
            del os.environ[name]  # to boto3 an empty variable is a value


# Commands that can't need settings: they make some, or have nothing to do with any.
WITHOUT_SETTINGS = ("make_settings", "collectstatic", "adopt")
# What the environment was before it got settings that nobody keeps.
_given: dict[str, str] = {}


def use_stand_in_settings() -> None:
    """Set what a start in production needs to values that nobody keeps; nothing is asked with them."""
    _given.update(os.environ)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", VARIABLE, "PGSERVICE"):
        os.environ.pop(name, None)
    os.environ |= {
        "DEBUG": "",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ALLOWED_HOSTS": "example.invalid",
        "DATABASE_URL": "postgresql:///unused",
        "AWS_ACCESS_KEY_ID": "unused",
        "AWS_SECRET_ACCESS_KEY": "unused",
    }


def take_environment_back() -> None:
    """Have the environment be what it was before `use_stand_in_settings`, now that the settings are read."""
    if _given:
        os.environ.clear()
        os.environ.update(_given)


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

    def get_strong_key(self, name: str) -> str:
        """Return the key, or nothing; raises ImproperlyConfigured where it can be guessed."""
        key = str(self(name))
        if key:
            require_strong_key(name, key)
        return key

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


def parse_former_keys(value: str) -> list[str]:
    """Return the keys that were SECRET_KEY before; raises ImproperlyConfigured where one can be guessed."""
    keys = split_at_commas(value)
    for key in keys:
        require_strong_key("SECRET_KEY_FALLBACKS", key)
    return keys


# How values are read. Each parser returns the value or raises ValueError; its text goes on “NAME is …”.


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


def parse_seconds(value: str) -> float:
    """Return a time that isn't nothing."""
    seconds = decimal_up_to(3600)(value)
    if not seconds:
        raise ValueError("0, in which nothing comes")
    return seconds


def one_of(*choices: str) -> Callable[[str], str]:
    def parse_choice(value: str) -> str:
        if value not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return value

    return parse_choice


def split_at_commas(value: str) -> list[str]:
    """Split the value at its commas."""
    return list(filter(None, map(str.strip, value.split(","))))


def parse_label(value: str) -> str:
    """Return a short name for people; raises ValueError for one that no bar holds."""
    if len(value) > LONGEST_LABEL or not value.isprintable():
        raise ValueError(f"not a name of up to {LONGEST_LABEL} characters")
    return value.strip()


def parse_log_level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError("not a log level (DEBUG, INFO, WARNING, ERROR)")
    return value.upper()


def split_url(value: str) -> SplitResult | None:
    """Return the parts of a URL; None where it is none with a host."""
    try:
        parts = urlsplit(value)
        sound = parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if sound else None


def parse_url(value: str) -> str:
    parts = split_url(value)
    if parts is None or parts.scheme not in ("http", "https"):
        raise ValueError("not a URL (https://…)")
    return value


def parse_webhook(value: str) -> str:
    """Return the URL, which has to be https; raises ValueError."""
    parts = split_url(value)
    if parts is None or parts.scheme != "https":
        raise ValueError("not a URL that begins with https://")
    return value


def parse_region(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,63}", value):
        raise ValueError("not the name of a region, such as us-east-1")
    return value


def parse_database_places(value: str) -> list[str]:
    """Split the value at its commas into places of a database, each host:port/name."""
    places = split_at_commas(value)
    if not all(re.fullmatch(r"[^,]+:[0-9]+/[^/]+", place) for place in places):
        raise ValueError("not a list of host:port/name, separated by commas")
    parts = [place.rpartition(":") for place in places]
    return [f"{host.lower()}:{rest}" for host, _colon, rest in parts]


def parse_demo_places(value: str) -> dict[tuple[str, int], int]:
    """Return by host and port the port of this machine behind it, of `host:port=port` separated by commas."""
    found = [
        re.fullmatch(r"([a-z.]+\.localhost):([0-9]{1,5})=([0-9]{1,5})", place)
        for place in split_at_commas(value)
    ]
    if not all(found):
        raise ValueError("not a list of host.localhost:port=port, separated by commas")
    return {(each[1], int(each[2])): int(each[3]) for each in found if each}


# The web server, which `deploy/gunicorn.conf.py` configures, and the log, which is its too.


SERVER_VARIABLES: Variables = {
    "BIND_ADDRESS": (str, "0.0.0.0"),  # noqa: S104  # in a container nobody else is at 127.0.0.1
    "PORT": (whole_number_from(1), 8000),
    "WEB_CONCURRENCY": (whole_number_from(1), 3),
    # In so many seconds a request has to come whole.
    "REQUEST_SECONDS": (parse_seconds, 20.0),
}
LOG_VARIABLES: Variables = {
    "LOG_LEVEL": (parse_log_level, "INFO"),
    "NOVA_LOG_FORMAT": (one_of(*FORMATS), ""),
}


def read_bind_address(env: Environment) -> str:
    """Return where the web server listens, as gunicorn writes it."""
    address = str(env("BIND_ADDRESS"))
    if address.startswith("unix:"):
        return address
    return f"[{address}]:{env('PORT')}" if ":" in address else f"{address}:{env('PORT')}"


def read_log_format(env: Environment) -> str:
    """Return what is set, or JSON in production and text in development."""
    return str(env("NOVA_LOG_FORMAT")) or ("text" if env("DEBUG") else "json")


# The two stores.


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
        # A connection for each request, and none is kept. It takes about 9 ms of a page's hundred, with TLS and SCRAM.
        # So what a request left ends with it: a lease, whose lock is the session's. A pool in session mode has the
        # connection for another thread, and what is set for the role (by `migrate`) counts from the next request on.
        "CONN_MAX_AGE": 0,
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


# The site's names in production: what ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS may hold so that nobody else is let in.


def require_hosts_or_domains(hosts: list[str]) -> None:
    """Raise ImproperlyConfigured where an entry of ALLOWED_HOSTS lets in any name, or can't be one."""
    if not all(map(is_host_or_domain, hosts)):
        raise ImproperlyConfigured(
            "ALLOWED_HOSTS has an entry that lets any name in, or is no host name. Name each host"
            " (nova.example.com), or a domain with all below it (.example.com), without scheme and port."
        )


def require_https_origins(origins: list[str]) -> None:
    """Raise ImproperlyConfigured for an entry of CSRF_TRUSTED_ORIGINS that isn't https:// and a host or domain."""
    for origin in origins:
        parts = re.fullmatch(r"https://(?:\*(?=\.))?([^:/]+|\[[^\]/]*\])(?::[0-9]{1,5})?", origin)
        if parts is None or not is_host_or_domain(parts[1]):
            raise ImproperlyConfigured(
                "CSRF_TRUSTED_ORIGINS has an entry that isn't https:// and a host"
                " (https://nova.example.com, https://*.example.com), so others could post forms."
            )


def is_host_or_domain(text: str) -> bool:
    """Say whether it is a host's name or address, or a dot and a domain of at least two parts."""
    if re.fullmatch(r"\[[0-9A-Fa-f:.]+\]", text):
        return True
    name = text.removeprefix(".")
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
    return bool(re.fullmatch(rf"{label}(\.{label})*", name)) and (name == text or "." in name)


# What secrets have beside their values: the KMS key, and the regions with replicas.


# An unset variable leaves replicas as they are; this word wants none.
NO_REGIONS = "none"
Replicas = dict[str, str]  # region -> KMS key there


def parse_kms_key(value: str) -> str:
    """Return the key's id, alias or ARN; raises ValueError for what names none."""
    KeyName.parse(value)
    return value


def parse_replica_regions(value: str) -> Replicas:
    """Split the value at its commas into REGION or REGION=KEY; raises ValueError."""
    if value.strip().lower() == NO_REGIONS:
        return {}
    replicas: Replicas = {}
    for part in split_at_commas(value):
        region, _equals, key = (each.strip() for each in part.partition("="))
        if parse_region(region) in replicas:
            raise ValueError("a region is named twice")
        if region == NO_REGIONS:
            raise ValueError(f"regions and {NO_REGIONS} at once")
        replicas[region] = parse_kms_key(key) if key else ""
    if not replicas:  # of commas alone: nobody wants all replicas removed by these
        raise ValueError(f"without a region; {NO_REGIONS} wants none")
    return replicas


SECRET_VARIABLES: Variables = {
    "NOVA_KMS_KEY_ID": (parse_kms_key, ""),
    "NOVA_REPLICA_REGIONS": (parse_replica_regions, None),
}


def read_secret_settings(env: Environment) -> tuple[str, Replicas | None]:
    """Return the key ("": left as it is) and the replicas (None: left as they are).

    Raises ImproperlyConfigured where a key isn't in the region that it is for, or a replica would have none.
    """
    home, key = str(env("AWS_REGION")), str(env("NOVA_KMS_KEY_ID"))
    replicas: Replicas | None = env("NOVA_REPLICA_REGIONS")
    _require_region("NOVA_KMS_KEY_ID", key, home)
    if replicas is None:
        return key, None
    if home in replicas:
        raise ImproperlyConfigured(
            f"NOVA_REPLICA_REGIONS names {home}, where the secrets are: see AWS_REGION."
        )
    for region, named in replicas.items():
        _require_region("NOVA_REPLICA_REGIONS", named, region)
        there = named or KeyName.parse(key).find_name_in_region(region)
        if not there:
            raise ImproperlyConfigured(
                f"NOVA_REPLICA_REGIONS names no key for {region}, and that of NOVA_KMS_KEY_ID is in one region only."
                f" Name one: {region}=KEY."
            )
        # AWS's own key only where the secret has it, too.
        replicas[region] = there if named or key else ""
    return key, replicas


def _require_region(variable: str, key: str, region: str) -> None:
    named = KeyName.parse(key).region
    if named not in ("", region):
        raise ImproperlyConfigured(
            f"{variable} names a KMS key in {named}: a secret in {region} needs one there."
        )


# The workers' queue: in PostgreSQL or, where NOVA_REDIS_URL names one, in Redis, which is an extra.


# All hosts take from this queue; it is also the salt of django-q's signatures.
QUEUE = "nova_admin"
# A worker asks for a task and waits for a second: a shorter time would end each such wait with an error.
SHORTEST_TIMEOUT = 2
NOT_A_REDIS_URL = "not the URL of a Redis (redis://…, rediss://… or unix://…)"


def parse_redis_url(value: str) -> str:
    """Return the URL, which is not asked.

    Raises ValueError for one that Redis' client does not take, ImproperlyConfigured where that is not installed.
    """
    if value.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise ValueError(NOT_A_REDIS_URL)
    if find_spec("redis") is None:
        raise ImproperlyConfigured(
            "NOVA_REDIS_URL is set, and the package redis is not installed: it is an extra. Install it"
            " (python -m pip install --require-hashes -r requirements-redis.lock), or leave NOVA_REDIS_URL empty: the"
            " queue is in PostgreSQL then."
        )
    import redis  # noqa: PLC0415  # only where it is used

    try:
        made = redis.from_url(value).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):  # a port or a parameter that it doesn't know
        raise ValueError(NOT_A_REDIS_URL) from None
    timeout: float | None = getattr(made, "socket_timeout", None)  # no client declares it
    if timeout is not None and timeout < SHORTEST_TIMEOUT:
        raise ValueError(
            f"socket_timeout is too short: {SHORTEST_TIMEOUT} seconds or more, as workers wait for a task for a second"
        )
    return value


def make_queue_settings(redis_url: str, workers: int) -> dict[str, Any]:
    """Return django-q's settings. Raises ImproperlyConfigured where somebody gave this host a queue of its own."""
    if os.environ.get("Q_CLUSTER_NAME", QUEUE) not in ("", QUEUE):
        raise ImproperlyConfigured(
            "Q_CLUSTER_NAME is set: this host would take from a queue of that name, into which nothing is put. Unset"
            " it, and name the host in NOVA_HOST_NAME."
        )
    # A task takes batches for a minute, and its last ones another (docs/run.md). The queue in PostgreSQL delivers a
    # task again only after `retry`, by when `timeout` has ended the first one; a batch done twice is harmless. Redis
    # delivers a task once: what its worker had when it was killed, the schedule queues again.
    return {
        "name": QUEUE,
        "broker_class": "migration.task_queue.KnownTasksQueue",
        **({"redis": redis_url} if redis_url else {"orm": "default"}),
        "workers": workers,
        # A host fetches few tasks ahead, so that each begins long before `retry`; the others are left to other hosts.
        "queue_limit": workers,
        "bulk": 1,
        "poll": 0.2,
        "timeout": 300,
        "retry": 360,
        "max_attempts": 5,
        "ack_failures": False,
        "save_limit": 1000,
        "catch_up": False,
        "label": _("Task queue"),
    }


# The login: the second factor, and OpenID Connect.


OIDC_PREFIX = "NOVA_OIDC_"
OIDC_REQUIRED = ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "GROUPS")
# What a claim `iss` may hold; the table has so much room.
LONGEST_ISSUER = 200


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


LOGIN_VARIABLES: Variables = {
    # Unset: required in production.
    "NOVA_REQUIRE_SECOND_FACTOR": (parse_flag, None),
    **{f"{OIDC_PREFIX}{name}": (str, "") for name in OIDC_REQUIRED},
    f"{OIDC_PREFIX}GROUPS_CLAIM": (str, OidcProvider.groups_claim),
    f"{OIDC_PREFIX}SCOPES": (str, OidcProvider.scopes),
}


def requires_second_factor(env: Environment) -> bool:
    """Say whether a second factor is required; in development only where it is set."""
    given = env("NOVA_REQUIRE_SECOND_FACTOR")
    return bool(given if given is not None else not env("DEBUG"))


def read_oidc_provider(env: Environment) -> OidcProvider | None:
    """Return the provider that NOVA_OIDC_… name, or None; raises ImproperlyConfigured where they are incomplete."""
    given = {name: str(env(f"{OIDC_PREFIX}{name}")) for name in OIDC_REQUIRED}
    if not any(given.values()):
        return None
    for name in OIDC_REQUIRED:
        if not given[name]:
            raise ImproperlyConfigured(
                f"{OIDC_PREFIX}{name} is not set, while others of {OIDC_PREFIX}… are. Set it, or unset them all."
            )
    debug = bool(env("DEBUG"))
    provider = OidcProvider(
        issuer=parse_issuer(given["ISSUER"], debug=debug),
        client_id=given["CLIENT_ID"],
        client_secret=given["CLIENT_SECRET"],
        groups=parse_groups(given["GROUPS"]),
        groups_claim=str(env(f"{OIDC_PREFIX}GROUPS_CLAIM")),
        scopes=str(env(f"{OIDC_PREFIX}SCOPES")),
        over_http=debug,
    )
    if "openid" not in provider.scopes.split():
        raise ImproperlyConfigured(f"{OIDC_PREFIX}SCOPES lacks openid.")
    return provider


def parse_issuer(value: str, *, debug: bool) -> str:
    """Return the issuer as its tokens name it; raises ImproperlyConfigured where answers could be forged on the way."""
    parts = split_url(value)
    schemes = ("https", "http") if debug else ("https",)
    if (
        parts is None
        or parts.scheme not in schemes
        or parts.query
        or parts.fragment
        or parts.username is not None
        or len(value) > LONGEST_ISSUER
    ):
        raise ImproperlyConfigured(
            f"{OIDC_PREFIX}ISSUER is not https://… of a provider, without ? and #, in up to {LONGEST_ISSUER}"
            " characters."
        )
    return value


def parse_groups(value: str) -> dict[str, str]:
    """Return the site's group for each group of the provider, given `theirs=Operator, others=Viewer`."""
    pairs = [pair.rpartition("=") for pair in split_at_commas(value)]
    groups = {theirs.strip(): ours.strip() for theirs, _equals, ours in pairs}
    if not groups or len(groups) < len(pairs) or not all(map(all, groups.items())):
        raise ImproperlyConfigured(
            f"{OIDC_PREFIX}GROUPS is not a list of their-group=Role, separated by commas, each of theirs once."
        )
    return groups


# Mail, and to whom notices go, in which language. A webhook's address is a secret.


MAIL_VARIABLES: Variables = {"NOVA_MAIL_URL": (str, ""), "NOVA_MAIL_FROM": (str, "")}


def read_mail_settings(env: Environment) -> dict[str, object]:
    """Return Django's mail settings from NOVA_MAIL_URL; without it, mails are printed in development, else dropped."""
    url, sender = str(env("NOVA_MAIL_URL")), str(env("NOVA_MAIL_FROM"))
    if not url:
        backend = "console" if env("DEBUG") else "dummy"
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


NOTIFY_URLS, NOTIFY_EMAILS = "NOVA_NOTIFY_URLS", "NOVA_NOTIFY_EMAILS"
NOTICE_VARIABLES: Variables = {
    NOTIFY_URLS: (split_at_commas, []),
    NOTIFY_EMAILS: (split_at_commas, []),
    "NOVA_NOTIFY_LANGUAGE": (one_of("en", "es"), "en"),
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
    most: int = MOST_RECIPIENTS

    def is_email(self, address: str) -> bool:
        """Say whether this is a mail address."""
        return is_email(address)

    def is_webhook(self, address: str) -> bool:
        """Say whether this can be called, as an address of the settings could."""
        return is_webhook(address, debug=self.loopback_allowed)


def read_notify_settings(env: Environment) -> NotifySettings:
    """Read the settings of notices; raises ImproperlyConfigured, without addresses, for wrong ones."""
    debug = bool(env("DEBUG"))
    urls, emails = tuple(dict.fromkeys(env(NOTIFY_URLS))), tuple(dict.fromkeys(env(NOTIFY_EMAILS)))
    if not all(is_webhook(url, debug=debug) for url in urls):
        raise ImproperlyConfigured(
            f"{NOTIFY_URLS} is not a list of https://… separated by commas, without a user and without #."
            " In a URL, write a comma as %2C."
        )
    if not all(map(is_email, emails)):
        raise ImproperlyConfigured(
            f"{NOTIFY_EMAILS} is not a list of mail addresses, separated by commas."
        )
    if max(len(urls), len(emails)) > MOST_RECIPIENTS:
        raise ImproperlyConfigured(
            f"{NOTIFY_URLS} and {NOTIFY_EMAILS} hold up to {MOST_RECIPIENTS} each."
        )
    if emails and not (debug or env("NOVA_MAIL_URL")):
        raise ImproperlyConfigured(
            f"{NOTIFY_EMAILS} is set, but no mail server is: set NOVA_MAIL_URL and NOVA_MAIL_FROM."
        )
    return NotifySettings(urls, emails, str(env("NOVA_NOTIFY_LANGUAGE")), loopback_allowed=debug)


def is_webhook(url: str, *, debug: bool) -> bool:
    """Say whether this can be called: https, or in development http on this machine."""
    parts = split_url(url)
    if parts is None or not (url.isascii() and url.isprintable()) or " " in url:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (
        debug and parts.scheme == "http" and parts.hostname in LOOPBACK
    )


def is_email(address: str) -> bool:
    """Say whether this is a mail address."""
    try:
        validate_email(address)
    except ValidationError:
        return False
    return address.isascii()


# The audit: its keys, and what its entries tell of all settings.


# The audit notes these variables at a process's start. Whatever isn't named here may hold a secret: of it the audit
# notes only whether it is set, and whether it changed.
SHOWN_IN_AUDIT = frozenset(
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
        *("NOVA_LOG_FORMAT", "NOVA_HOST_NAME", "NOVA_OIDC_CLIENT_ID", "NOVA_OIDC_SCOPES"),
        *("BIND_ADDRESS", "PORT", "WEB_CONCURRENCY", "REQUEST_SECONDS"),
    }
)
# boto3 reads it, not the settings; a rotation of it shows.
HIDDEN_ELSEWHERE = ("AWS_ACCESS_KEY_ID",)
AUDIT_VARIABLES: Variables = {
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


def read_audit_settings(env: Environment) -> AuditSettings:
    """Read the settings of the audit; raises ImproperlyConfigured for a key that can be guessed."""
    key, old_keys = env.get_strong_key("NOVA_AUDIT_KEY"), tuple(env("NOVA_AUDIT_OLD_KEYS"))
    if key in old_keys:
        raise ImproperlyConfigured("NOVA_AUDIT_OLD_KEYS lists the key that NOVA_AUDIT_KEY names.")
    names = {*env.scheme, *SHOWN_IN_AUDIT, *HIDDEN_ELSEWHERE}
    given = {name: value for name in sorted(names) if (value := os.environ.get(name, "").strip())}
    return AuditSettings(
        key,
        old_keys,
        str(env("NOVA_AUDIT_WEBHOOK")),
        {name: strip_url_login(value) for name, value in given.items() if name in SHOWN_IN_AUDIT},
        {name: value for name, value in given.items() if name not in SHOWN_IN_AUDIT},
    )


def strip_url_login(value: str) -> str:
    """Return the setting without user, password, query and fragment, where it is an address or a list of some."""
    if "://" not in value:
        return value
    # Up to the last @: a password may hold any other sign.
    return re.sub(r"[?#][^,]*", "", re.sub(r"(?<=://).*@", "", value))
