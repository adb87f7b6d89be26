"""Owns what `adopt` writes into the site's file of settings: a new one, or what an old one lacks. Repeats no value."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from migration.logins.role_passwords import make_password
from nova_admin.adoption.database import RefusedError
from nova_admin.env_file import (
    EXAMPLE,
    KEYS,
    EnvFileError,
    fill_example,
    list_names,
    read_env_file,
    set_values,
)
from nova_admin.environment import is_host_or_domain, split_at_commas

URL, HOSTS = "DATABASE_URL", "ALLOWED_HOSTS"
ORIGINS = "CSRF_TRUSTED_ORIGINS"
# boto3 reads these, in small letters too; shells have them so.
PROXIES = ("HTTPS_PROXY", "NO_PROXY")
# Parts of NOVA's own address that are its role's.
OF_THE_ROLE = (
    "user",
    "password",
    "passfile",
    "sslcert",
    "sslkey",
    "sslpassword",
    "service",
    "servicefile",
)


@dataclass(frozen=True)
class SiteSettings:
    """The file as it is to be, and by name what happens to its variables."""

    path: Path
    text: str = field(repr=False)
    values: dict[str, str] = field(repr=False)
    is_new: bool
    is_changed: bool  # its text, or who else may read it
    made: tuple[str, ...]
    taken: tuple[str, ...]  # from the environment
    kept: tuple[str, ...]

    @property
    def site_uri(self) -> str:
        return self.values[URL]

    @property
    def site_password(self) -> str:
        return str(conninfo_to_dict(self.site_uri).get("password") or "")

    def write(self) -> None:
        """Put the file in place at once, for its owner alone; raises OSError."""
        if not self.is_changed:
            return
        number, name = tempfile.mkstemp(
            dir=self.path.parent, prefix=f".{self.path.name}."
        )  # mode 600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(self.text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink()
            raise


def plan_settings(
    path: Path,
    given: Mapping[str, str],
    *,
    nova: Mapping[str, str],
    role: str,
    hosts: str,
    former: str,
    is_shared: bool,
    role_is_there: bool,
    has_site: bool,
) -> SiteSettings:
    """Say what the file is to hold; raises RefusedError where it can't be read, or a key or password isn't known.

    `given` is the environment, `nova` how NOVA's database is reached, `former` the role that has the site's tables now,
    if another one; `has_site` says that there are some.
    """
    found, text = _read(path)
    there = {name: value for name, value in found.items() if value}
    example = list_names(EXAMPLE.read_text("utf-8"))
    given = {name: given.get(name.lower(), "") for name in PROXIES} | dict(given)
    taken = {
        name: value.strip()
        for name, value in given.items()
        if value.strip()
        and name not in there
        and name in example
        and (name.startswith(("NOVA_", "AWS_", "SECRET_KEY")) or name in (HOSTS, *PROXIES))
    }
    if given.get("AWS_SESSION_TOKEN"):  # these keys are soon valid no more
        taken = {
            name: value for name, value in taken.items() if "_KEY" not in name or "AWS_" not in name
        }
    known = taken | there
    made = {}
    if uri := _choose_uri(path, there, given[URL], nova, role, former, is_shared, role_is_there):
        made[URL] = uri
    # Links have the port of the first origin, as a proxy at another one than 443 needs it.
    places = [each.removesuffix(":443") for each in split_at_commas(hosts)]
    ports = [each for each in places if re.fullmatch(r"[^:]+:\d{1,5}", each)]
    if ports and ORIGINS not in known:
        made[ORIGINS] = ",".join(f"https://{each}" for each in ports)
    names = [each.partition(":")[0] if each in ports else each for each in places]
    if missing := [host for host in names if host not in split_at_commas(known.get(HOSTS, ""))]:
        if not all(map(is_host_or_domain, missing)):
            raise RefusedError(
                "--host is no name of a host, such as nova.example.com or nova.example.com:8443, without https://."
            )
        made[HOSTS] = ",".join([*split_at_commas(known.get(HOSTS, "")), *missing])
    if has_site and KEYS[0] not in known:
        raise RefusedError(
            f"The site's tables are there, and {path} lacks {KEYS[0]}, with which they were written. Name the site's"
            " own file by --env-file, or set its keys in this environment. If no site ever ran here, somebody made"
            " these tables: drop them."
        )
    if not has_site:
        made |= {key: secrets.token_urlsafe(64) for key in KEYS if key not in known}
    changes = {**{name: value for name, value in taken.items() if name not in made}, **made}
    written = set_values(text, changes) if text else fill_example(changes)
    mode_is_open = bool(text) and bool(path.stat().st_mode & 0o077)
    return SiteSettings(
        path=path,
        text=written,
        values=found | changes,
        is_new=not text,
        is_changed=bool(changes) or mode_is_open,
        made=tuple(made),
        taken=tuple(name for name in taken if name not in made),
        kept=tuple(name for name in there if name not in made),
    )


def _read(path: Path) -> tuple[dict[str, str], str]:
    """Return the variables of the file and its text; nothing of one that isn't there."""
    try:
        return (read_env_file(path), path.read_text("utf-8")) if path.exists() else ({}, "")
    except EnvFileError as error:
        raise RefusedError(f"{path}: {error}") from None
    except OSError as error:
        raise RefusedError(f"{path} can't be read ({error.strerror}).") from None


def _choose_uri(
    path: Path,
    there: Mapping[str, str],
    nova_uri: str,
    nova: Mapping[str, str],
    role: str,
    former: str,
    is_shared: bool,
    role_is_there: bool,
) -> str:
    """Return the site's address of the database where the file lacks it, else nothing."""
    if URL in there:
        own = parse_uri(there[URL])
        if own.get("dbname", nova["dbname"]) != nova["dbname"]:
            raise RefusedError(f"{path} names another database than {URL} in this environment.")
        if own.get("user", role) == role:
            return ""
        if own.get("user") not in (former, nova.get("user")):
            raise RefusedError(
                f"{path} has the site connect as {own.get('user')}: say --site-role {own.get('user')}, or take its"
                f" {URL} out."
            )
    if is_shared:
        return nova_uri
    if role_is_there:
        raise RefusedError(
            f"The role {role} is there, and {path} lacks its password. Write {URL} with it into {path}, or name another"
            " role by --site-role. No password that exists is replaced."
        )
    return make_uri(nova, role, make_password())


def parse_uri(uri: str) -> dict[str, str]:
    """Return the parts of an address of a database; raises RefusedError."""
    try:
        return {
            name: str(value) for name, value in conninfo_to_dict(uri).items() if value is not None
        }
    except ProgrammingError:  # its text quotes the address
        raise RefusedError(f"{URL} is not a PostgreSQL URI (postgresql://…).") from None


def make_uri(parts: Mapping[str, str], role: str, password: str) -> str:
    """Return the address of the same database for another role."""
    rest = {name: value for name, value in parts.items() if name not in OF_THE_ROLE}
    place = ""
    if re.fullmatch(r"[A-Za-z0-9.-]+", rest.get("host", "")):  # neither a folder nor several hosts
        place = f"{rest.pop('host')}:{rest.pop('port', '5432')}"
    name = quote(rest.pop("dbname"), safe="")
    login = f"{quote(role, safe='')}:{quote(password, safe='')}"
    query = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
    return f"postgresql://{login}@{place}/{name}{query}"
