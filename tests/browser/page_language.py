"""What the pages say, in a language: the tests name each button and field by it, as a person finds them."""

import re
from collections.abc import Callable

from django.utils.translation import gettext, override
from playwright.sync_api import Page, expect

Say = Callable[..., str]


def words(language: str) -> Say:
    """Translates a text of the pages, and what is put into it, as the page does; without its tags."""

    def say(text: str, **values: str) -> str:
        with override(language):
            said = re.sub(r"<[^>]+>", "", gettext(text))
            return (
                said % {name: gettext(value) for name, value in values.items()} if values else said
            )

    return say


class Person:
    """Somebody at a page, who finds everything by its name in the language of the page."""

    def __init__(self, page: Page, say: Say) -> None:
        self.page, self.say = page, say

    def follows(self, link: str, **values: str) -> None:
        self.page.get_by_role("link", name=self.say(link, **values)).first.click()

    def presses(self, button: str, **values: str) -> None:
        self.page.get_by_role("button", name=self.say(button, **values)).first.click()

    def types(self, text: str, label: str, **values: str) -> None:
        self.page.get_by_label(self.say(label, **values)).first.fill(text)

    def ticks(self, box: str, **values: str) -> None:
        self.page.get_by_label(self.say(box, **values)).first.check()

    def reads(self, text: str, **values: str) -> None:
        shown = self.page.get_by_text(self.say(text, **values)).filter(visible=True)
        expect(shown.first).to_be_visible()
