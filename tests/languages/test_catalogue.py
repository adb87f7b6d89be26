"""Every text that is marked has its Spanish, and nothing else is in the catalogue."""

import re

from babel.messages.mofile import read_mo

from tests import messages
from tests.languages.spanish import CATALOG, ENTRIES, forms


def spanish_of(entries) -> dict[tuple[str, tuple[str, ...]], tuple[str, ...]]:
    def context(entry) -> str:
        return entry.context.decode() if isinstance(entry.context, bytes) else entry.context or ""

    return {(context(entry), forms(entry.id)): forms(entry.string) for entry in entries}


def test_every_text_that_is_marked_has_its_spanish_and_the_catalogue_holds_nothing_else():
    marked = messages.marked()
    missing = [
        (entry.context, entry.id)
        for entry in marked
        if entry.id
        and not ((found := CATALOG.get(entry.id, entry.context)) and messages.filled(found.string))
    ]

    assert missing == []
    wanted = {(entry.context, entry.id) for entry in marked}
    assert {(entry.context, entry.id) for entry in ENTRIES} - wanted == set()
    assert not CATALOG.obsolete
    assert [entry.id for entry in ENTRIES if entry.fuzzy] == []


def test_each_translation_keeps_the_placeholders_of_its_text():
    """In one test: two thousand would take ten seconds to be begun and reported."""

    def marks(message: str | tuple[str, ...]) -> list[list[str]]:
        pattern = r"%\(\w+\)[sd]|%%|\{\w*\}|<[^>]+>"
        return [sorted(re.findall(pattern, form)) for form in forms(message)]

    assert len(ENTRIES) > 1000
    assert [entry.id for entry in ENTRIES if marks(entry.string) != marks(entry.id)] == []


def test_what_is_compiled_is_what_is_written():
    with messages.MO.open("rb") as file:
        compiled = [entry for entry in read_mo(file) if entry.id]

    assert spanish_of(compiled) == spanish_of(ENTRIES)
