"""Badges are a word or two: a sentence stands beside one, never in it."""

import re
from pathlib import Path

from django.conf import settings

BADGE = re.compile(r'"([^"]+)"\)?\|(?:attention|success_label|danger_label)\b')
# Of the audit: it says of an entry whether its signature holds.
LONGER = {"Valid", "Not valid"}


def test_no_template_makes_a_badge_of_a_sentence():
    found = {
        text
        for folder in settings.TEMPLATES[0]["DIRS"]
        for path in Path(folder).rglob("*.html")
        for text in BADGE.findall(path.read_text())
    }

    assert len(found) > 20
    assert {text for text in found if len(text.split()) > 3} <= LONGER
