"""Reads and writes files of settings: `.env`, `/etc/nova-admin.env`, and `.env.example`, the list of them all.

A line means the same to this reader, to systemd and to django-environ, or it is refused. Knows no setting, no Django.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
KEYS = ("SECRET_KEY", "NOVA_FINGERPRINT_KEY", "NOVA_AUDIT_KEY")
LINE = re.compile(r"(?:export )?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
# In the example a default is shown behind this sign.
SHOWN = re.compile(r"#?([A-Z_]+)=")
PART = "\n## "


class EnvFileError(Exception):
    """A line of the file can't be read; the text names file and line, and never the value."""


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of the file; raises `EnvFileError` for a line that readers take differently, and OSError."""
    content = path.read_bytes()
    if content.startswith(b"\xef\xbb\xbf"):
        raise EnvFileError(f"{path.name}, line 1, begins with a byte order mark: save it without.")
    found = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            if assigned := _read_line(line):
                found[assigned[0]] = assigned[1]
        except ValueError as error:
            raise EnvFileError(f"{path.name}, line {number}, {error}.") from None
    return found


def _read_line(line: bytes) -> tuple[str, str] | None:
    """Return name and value, or None for a comment; raises ValueError that says what is wrong with the line."""
    if line.endswith(b"\r"):
        raise ValueError("ends with CR LF, as Windows writes it: save the file with LF")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if not text.strip() or text.startswith("#"):
        return None
    if (assigned := LINE.fullmatch(text)) is None:
        raise ValueError("is not NAME=value")
    value = assigned[2].strip()
    if any(ord(sign) < ord(" ") and sign != "\t" for sign in value):
        raise ValueError("holds a control character")
    quote = value[:1] if value[:1] in ("'", '"') else ""
    if quote:
        if len(value) == 1 or value.find(quote, 1) == -1:
            raise ValueError("opens a quote that it doesn't close")
        value = value[1:].removesuffix(quote)
        if quote in value:
            raise ValueError("goes on behind its quote: put the whole value into quotes")
    if quote != "'" and "\\" in value:
        raise ValueError("has a backslash: put the value into '…', or write %5C in an address")
    return assigned[1], value


def fill_example(values: Mapping[str, str]) -> str:
    """Return `.env.example` with these values; raises ValueError for an unknown name and a value no line can hold."""
    text = EXAMPLE.read_text("utf-8")
    if unknown := sorted(values.keys() - list_names(text)):
        raise ValueError(f".env.example has no {', '.join(unknown)}")
    return set_values(text, values)


def list_names(text: str) -> set[str]:
    """Return the variables that have a line in the text, those too that stand behind the sign of a default."""
    return {named[1] for line in text.split("\n") if (named := SHOWN.match(line))}


def set_values(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these values, each in the last of its lines, or in one at the end; raises ValueError."""
    lines = text.removesuffix("\n").split("\n")
    places = {named[1]: at for at, line in enumerate(lines) if (named := SHOWN.match(line))}
    for name, value in values.items():
        written = f"{name}={_write_value(name, value)}"
        if name in places:
            lines[places[name]] = written
        else:
            lines.append(written)
    return "\n".join(lines) + "\n"


def _write_value(name: str, value: str) -> str:
    """Return the value as it stands in a line, in quotes where it needs some."""
    for written in (value, f"'{value}'", f'"{value}"'):
        try:
            if "\n" not in value and _read_line(f"{name}={written}".encode()) == (name, value):
                return written
        except ValueError:
            pass
    raise ValueError(f"{name} has a value that no line of a file of settings can hold")


def make_must_part() -> str:
    """Return the part of `.env.example` that has to be set, with new keys."""
    example = fill_example({name: secrets.token_urlsafe(64) for name in KEYS})
    return example.split(PART)[1].partition("\n")[2].lstrip("\n")
