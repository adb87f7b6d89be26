"""Tells the English sentences of `nova_credentials.messages` in the reader's language: stored ones too.

A sentence is known by its words, which the catalogue has under a context of their own; what fits none of them, such as
a reason that somebody typed, stays as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache

from django.utils.formats import get_format
from django.utils.html import avoid_wrapping
from django.utils.timesince import TIME_STRINGS, timesince
from django.utils.translation import get_language, gettext, override
from django.utils.translation.trans_real import catalog

CONTEXT = "said"
ENGLISH = "en"
PLACEHOLDER = re.compile(r"%\((\w+)\)([sd])")
# What a value is, by its name; any other is a number, or a name without a blank.
SENTENCES = {"advice", "error", "problem", "reason", "reasons", "who", "why"}
WORDS = {"phase", "result", "run", "state"}
DURATIONS = {"ago", "oldest"}
CHOICES = {"allowed", "names"}
NUMBERS = {"most", "n"}
WITH_BLANKS = SENTENCES | WORDS | DURATIONS | CHOICES | {"illegal", "rows"}


def told(text: object) -> str:
    """The sentence, or several in a row after whatever somebody typed, in the language of the page."""
    language = get_language() or ENGLISH
    return str(text) if language == ENGLISH else _told(str(text), language)


def told_result(text: str) -> str:
    """The same of what may be one word, such as how a comparison came out; never of what somebody typed."""
    return _word(text) if text else ""


def in_english(text: object) -> str:
    """A text that is looked up when it is asked for, or called, as it is to be stored."""
    with override(ENGLISH):
        return str(text() if callable(text) else text)


def ago(moment: object) -> str:
    """How long ago, in English."""
    with override(ENGLISH):
        return timesince(moment)  # type: ignore[arg-type]


@lru_cache(maxsize=5000)
def _told(text: str, language: str) -> str:
    if whole := _whole(text, language):
        return whole
    # The longest end of it that is a sentence; what is before it may be some more.
    for blank in re.finditer(" ", text):
        if end := _whole(text[blank.end() :], language):
            return f"{_told(text[: blank.start()], language)} {end}"
    return text


def _whole(text: str, language: str) -> str:
    for pattern, translated in _known(language):
        if found := pattern.fullmatch(text):
            return _filled(translated, found.groupdict())
    return ""


def _filled(translated: str, values: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda mark: _value(mark[1], values[mark[1]]), translated)


@lru_cache
def _known(language: str) -> list[tuple[re.Pattern[str], str]]:
    """The catalogue's sentences, those of the most words of their own first."""
    with override(language):
        entries = catalog()._catalog.items()  # type: ignore[attr-defined]  # noqa: SLF001  # as Django's own views do
    mark = f"{CONTEXT}\x04"
    found = {
        key.removeprefix(mark): translated
        for key, translated in entries
        if isinstance(key, str) and key.startswith(mark)
    }
    ranked = sorted(found, key=lambda sentence: -len(PLACEHOLDER.sub("", sentence)))
    return [(_pattern(sentence), found[sentence]) for sentence in ranked]


def _pattern(sentence: str) -> re.Pattern[str]:
    found, end = "", 0
    for mark in PLACEHOLDER.finditer(sentence):
        name, kind = mark.groups()
        value = r"\d+" if kind == "d" else ".+" if name in WITH_BLANKS else r"\S+"
        found += f"{re.escape(sentence[end : mark.start()])}(?P<{name}>{value})"
        end = mark.end()
    return re.compile(found + re.escape(sentence[end:]), re.DOTALL)


def _value(name: str, value: str) -> str:
    if name in DURATIONS:
        return ", ".join(map(_duration, value.split(", ")))
    if name in CHOICES:
        return value.replace(" or ", f" {gettext('or')} ")
    if name == "rows":
        return ", ".join(map(_word, value.split(", ")))
    if name in WORDS:
        return _word(value)
    if name in NUMBERS:
        return value.replace(",", get_format("THOUSAND_SEPARATOR"))
    return told(value) if name in SENTENCES else value


def _word(value: str) -> str:
    """A phase, a result or a kind of row, which a number may follow; else a sentence."""
    word, number = re.fullmatch(r"(.*?)( \d+)?", value, re.DOTALL).groups("")  # type: ignore[union-attr]
    translated = gettext(word)
    return told(value) if translated == word else translated + number


def _duration(value: str) -> str:
    """As `timesince` puts it in English."""
    number, _blank, unit = value.partition("\xa0")
    if not number.isdecimal() or unit.removesuffix("s") not in TIME_STRINGS:
        return value
    return avoid_wrapping(TIME_STRINGS[unit.removesuffix("s")] % {"num": int(number)})
