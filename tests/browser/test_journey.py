"""The whole journey of a client by what a person sees: buttons, links and fields by their names, from the dashboard on."""

import re

import pytest
from playwright.sync_api import Page, expect

from credentials.models import Client
from migration.models import PhaseChange
from migration.operations import stores
from migration.phases import Phase
from tests.browser.words import Say, words
from tests.migration.test_moving import change_in_aws, phase_of

pytestmark = pytest.mark.browser

LOGIN = {
    "Database": {
        "Host": "db.example.test",
        "Database name": "app",
        "User": "app",
        "Password": "example-password-1",
    },
}


class Person:
    """Somebody at a page, who finds everything by its name in the language of the page."""

    def __init__(self, page: Page, say: Say) -> None:
        self.page, self.say = page, say

    def follows(self, link: str, **values: str) -> None:
        self.page.get_by_role("link", name=self.say(link, **values)).first.click()

    def presses(self, button: str, **values: str) -> None:
        self.page.get_by_role("button", name=self.say(button, **values)).first.click()

    def types(self, label: str, text: str) -> None:
        self.page.get_by_label(self.say(label)).first.fill(text)

    def reads(self, text: str, **values: str) -> None:
        expect(self.page.get_by_text(self.say(text, **values)).first).to_be_visible()


@pytest.mark.parametrize("language", ["en"])
def test_from_the_dashboard_through_a_mismatch_to_aws_and_back(visit, language):
    somebody = Person(visit("/admin/", locale=language), words(language))
    onboard(somebody)
    print(somebody.page.locator("body").aria_snapshot())
