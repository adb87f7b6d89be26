"""Messages on pages: whatever stands in the database, the page is shown."""

import pytest
from django.utils import translation

from credentials.localization import localize
from nova_credentials.messages import Message


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({}, ""),
        ([], ""),
        ("text", ""),
        ({"key": "x"}, ""),
        ({"key": None, "values": None, "text": None}, "None"),
        ({"key": ["x"], "values": {}, "text": "kept"}, "kept"),
        ({"key": "in_a_row", "values": {"sentences": ["a", {"link": 1}]}, "text": "kept"}, "kept"),
        ({"key": "in_a_row", "values": {"sentences": ["a", "b"]}, "text": "kept"}, "a b"),
        ({"key": "reason_too_long", "values": {"n": {}, "most": 1}, "text": "kept"}, "kept"),
        ({"key": "clean_streak", "values": {"n": "three", "wanted": 3}, "text": "kept"}, "kept"),
        ({"key": "newest_comparison", "values": {"result": "a", "ago": {"time": "no"}}, "text": "kept"}, "kept"),
    ],
)  # fmt: skip
def test_what_this_release_cannot_read_is_shown_by_its_text(stored, shown, language):
    message = Message.from_json(stored)

    assert str(message) == shown
    with translation.override(language):
        assert localize(message) == shown
    assert isinstance(message.codes, list)
