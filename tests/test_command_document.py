"""`docs/commands.md` says what every command's own `--help` says, `docs/settings.md` what `.env.example` does."""

from tests import settings_document
from tests.command_document import DOCUMENT, SUBJECTS, write_document


def test_the_page_of_commands_is_as_their_help_says():
    assert DOCUMENT.read_text() == write_document(), "make commands"


def test_the_page_that_has_more_of_a_command_names_it():
    pages = {name: page for subject in SUBJECTS.values() for name, page in subject.items()}
    texts = {page: (DOCUMENT.parent / f"{page}.md").read_text() for page in pages.values()}

    assert [name for name, page in pages.items() if name not in texts[page]] == []


def test_the_page_of_settings_is_as_the_example_says():
    assert settings_document.DOCUMENT.read_text() == settings_document.write_document(
        settings_document.EXAMPLE.read_text()
    ), "make commands"
