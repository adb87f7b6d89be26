"""`docs/commands.md` says what every command's own `--help` says."""

from tests.command_document import DOCUMENT, write_document


def test_the_page_of_commands_is_as_their_help_says():
    assert DOCUMENT.read_text() == write_document(), "make commands"
