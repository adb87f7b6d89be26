"""Takes a pasted connection string apart into the columns of a login. Pure; `client_form.js` does the same in the page.

Both are tried with the same strings (`tests/credentials/connection_strings.json`). Nothing here quotes what was pasted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from nova_credentials.credential_types import CredentialType

_DATABASE_URL = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://([^\s\"']+)", re.IGNORECASE)
_MAIL_URL = re.compile(r"\b(imap|smtp)(s?)://([^\s\"']+)", re.IGNORECASE)
_PAIR = re.compile(
    r"""\b(\w{1,40})\s*=\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:[^\s\\]|\\.)+)""", re.DOTALL
)
_AWS_PAIR = re.compile(
    r"""\b(aws_access_key_id|aws_secret_access_key|aws_default_region|aws_region|region|AccessKeyId|SecretAccessKey)"""
    r"""["']?\s*[=:]\s*["']?([A-Za-z0-9/+=_-]+)""",
    re.IGNORECASE,
)
# The keywords of libpq, and its environment variables.
_DATABASE_COLUMNS = {
    "host": "db_host",
    "hostaddr": "db_host",
    "port": "db_port",
    "dbname": "db_name",
    "user": "db_user",
    "password": "db_password",
    "pghost": "db_host",
    "pgport": "db_port",
    "pgdatabase": "db_name",
    "pguser": "db_user",
    "pgpassword": "db_password",
}
_AWS_COLUMNS = {
    "accesskeyid": "access_key_id",
    "awsaccesskeyid": "access_key_id",
    "secretaccesskey": "secret_access_key",
    "awssecretaccesskey": "secret_access_key",
    "region": "region",
    "awsregion": "region",
    "awsdefaultregion": "region",
}
_PSQL = re.compile(r"""psql\s+(["'])(.*)\1""", re.DOTALL)
# Longer texts are none.
MOST_CHARACTERS = 4000
_MAIL_PORTS = {"imap": "143", "imaps": "993", "smtp": "587", "smtps": "465"}


def take_apart(text: str, credential_type: CredentialType) -> dict[str, str]:
    """Return column -> value of what the text says; nothing where it is no connection string of this type."""
    if len(text) > MOST_CHARACTERS:
        return {}
    pairs = {
        CredentialType.DATABASE: _list_database,
        CredentialType.EMAIL: _list_mail,
        CredentialType.AWS: _list_aws,
    }[credential_type](text)
    return {column: value for column, value in pairs if value}


def _list_database(text: str) -> Iterator[tuple[str, str]]:
    if url := _DATABASE_URL.search(text):
        user, password, place = _split_user(url[1])
        address, _mark, query = place.partition("?")
        address, _slash, name = address.partition("/")
        host, port = _split_port(address)
        yield from (("db_host", host), ("db_port", port or "5432"), ("db_name", _decode(name)))
        yield from (("db_user", user), ("db_password", password))
        for pair in query.split("&"):
            key, _equals, value = pair.partition("=")
            if column := _DATABASE_COLUMNS.get(key.lower()):
                yield column, _decode(value)
        return
    if inner := _PSQL.fullmatch(text.strip()):
        text = inner[2]
    found = {
        column: _unquote_word(value)
        for key, value in _PAIR.findall(text)
        if (column := _DATABASE_COLUMNS.get(key.lower()))
    }
    if "db_host" in found or "db_password" in found:
        yield from found.items()


def _list_mail(text: str) -> Iterator[tuple[str, str]]:
    for protocol, secure, rest in _MAIL_URL.findall(text):
        kind = protocol.lower()
        user, password, place = _split_user(rest)
        host, port = _split_port(re.split(r"[/?]", place, maxsplit=1)[0])
        yield "email_provider", "custom"
        yield f"{kind}_host", host
        yield f"{kind}_port", port or _MAIL_PORTS[kind + secure.lower()]
        yield from (("email_user", user), ("email_password", password))


def _list_aws(text: str) -> Iterator[tuple[str, str]]:
    found = {
        _AWS_COLUMNS[k.replace("_", "").lower()]: value for k, value in _AWS_PAIR.findall(text)
    }
    if found.keys() - {"region"}:
        yield from found.items()


def _split_user(rest: str) -> tuple[str, str, str]:
    """Return user, password and what follows their @; a password that isn't encoded may hold an @ or a slash."""
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    end = head.rfind("@") if "@" in head else rest.partition("?")[0].rfind("@")
    user, _colon, password = rest[: max(end, 0)].partition(":")
    return _decode(user), _decode(password), rest[end + 1 :]


def _split_port(address: str) -> tuple[str, str]:
    match = re.fullmatch(r"\[([^\]]*)\](?::([0-9]*))?|(.*?)(?::([0-9]*))?", address)
    if match is None:
        return address, ""
    return _decode(match[1] or match[3] or ""), match[2] or match[4] or ""


def _decode(text: str) -> str:
    """Return the text without its percent-encoding; as it is where that isn't whole or isn't UTF-8, as browsers do."""
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _unquote_word(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
