"""Lists the ways in which other programs write a text into JSON, addresses and code. Pure: knows no database."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus

# Go and Django's `json_script` write these as \u003c and the like, whatever the encoding; Flask also the apostrophe.
_HTML = (r"[<>&]", r"[<>&']")
_HEXADECIMAL = re.compile(r"\\u[0-9a-f]{4}")
_PERCENT = re.compile(r"%[0-9A-F]{2}")


def list_escaped_forms(value: str) -> set[bytes]:
    """Return the value in UTF-8 as it is, and as JSON, addresses, Python's `repr` and JSON in JSON hold it."""
    plain = {value, *_list_code_forms(value), *_list_address_forms(value)}
    in_json = {form for text in plain for form in list_json_forms(text)}
    twice = {
        _encode_json(_encode_json(value, inner), outer)
        for inner in (False, True)
        for outer in (False, True)
    }
    return {form for text in plain | in_json | twice if (form := _encode(text))}


def list_json_forms(text: str) -> set[str]:
    """Return every form of the text inside a JSON string: as PostgreSQL, Python, PHP and Go escape it."""
    ascii_only = _encode_json(text, True)
    forms = {
        _encode_json(text, False),
        ascii_only,
        _HEXADECIMAL.sub(lambda found: r"\u" + found[0][2:].upper(), ascii_only),
    }
    for pattern in _HTML:
        forms |= {re.sub(pattern, _escape_character, form) for form in forms}
    return forms | {form.replace("/", r"\/") for form in forms}


def _list_code_forms(value: str) -> set[str]:
    """Return the value as Python writes it between quotes of either kind."""
    shown = repr(value)[1:-1]
    return {shown, shown.replace(r"\'", "'"), re.sub(r"(?<!\\)'", r"\\'", shown)}


def _list_address_forms(value: str) -> set[str]:
    """Return the value as it stands in an address such as postgresql://user:password@host."""
    as_sent = {
        quote(value, safe="", errors="surrogatepass"),
        quote(value, errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
    }
    return as_sent | {_PERCENT.sub(lambda found: found[0].lower(), form) for form in as_sent}


def _escape_character(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _encode_json(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _encode(text: str) -> bytes:
    """Return the text in UTF-8, empty where UTF-8 can't hold it: PostgreSQL could not hold it either."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""
