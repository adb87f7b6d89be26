"""Every command in the documents is one that its own parser takes."""

import re
import shlex
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from migration.management.names import CommandGroup
from tests.checkout import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MANAGE = "python manage.py "
# Made of the parsers themselves, with brackets and choices.
MADE = "commands.md"
# What a parser doesn't take as it is called.
TYPED = {"ID": "1", "NUMBER": "1", "RUN": "1", "CAMPAIGN": "1", "PHASE": "dual_read"}


def list_commands(path: Path) -> list[str]:
    """The document's commands: lines of its blocks, and what stands in backticks with more than a name."""
    text = path.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(
        r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    found = [" ".join(each.split()) for each in (*lines, *inline) if each.strip()]
    named = [each.partition(MANAGE)[2] for each in found if MANAGE in each]
    # Without `manage.py` it is a command where a value or an option follows its name, of one word or two.
    bare = [each for each in found if MANAGE not in each and each.split()[0] in get_commands()]
    return named + [each for each in bare if each.count(" ") >= count_words(each.split()[0])]


def count_words(name: str) -> int:
    """Of how many words the command's name is."""
    return 2 if isinstance(load_command_class(get_commands()[name], name), CommandGroup) else 1


def make_arguments(command: str) -> list[str]:
    """What would be typed: of choices the first, of what may be left out all, and a number where one is wanted."""
    words = shlex.split(re.sub(r"[\[\]…]|[|>] .*", "", command), comments=True)
    return [TYPED.get(word, word.split("|")[0]) for word in words]


@pytest.mark.parametrize(
    "path", [each for each in DOCUMENTS if each.name != MADE], ids=lambda path: path.stem
)
def test_each_command_of_a_document_is_taken_by_its_parser(path):
    refused = {}
    for command in list_commands(path):
        name, *arguments = make_arguments(command)
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        try:
            parser.parse_args(arguments)
        except (CommandError, TypeError) as error:
            refused[command] = str(error)

    assert refused == {}


@pytest.mark.django_db
def test_the_python_in_documents_runs():
    texts = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    lines = re.findall(r'manage.py shell -c "([^"]+)"', texts)

    assert len(lines) > 2
    for line in {*lines}:
        exec(line, {})


def test_commands_are_found_in_blocks_and_in_backticks():
    found = {path.name: list_commands(path) for path in DOCUMENTS}

    assert "audit verify --head HEAD" in found["audit.md"]
    assert "reset_second_factor USER" in found["people.md"]
    assert "rotate_credential SLUG database --reason TEXT" in found["secrets.md"]
