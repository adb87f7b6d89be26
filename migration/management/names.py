"""Commands of two words, such as `run pause`, and the names that commands had in former releases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from migration.management.base import OneLineCommand, OneLineParser
from nova_credentials.messages import Sentence

NAME_IS_NOW = Sentence(
    "name_is_now",
    "%(old)s is now `manage.py %(new)s`. The next release removes the old name.",
)


class Meant(NamedTuple):
    """The command that was typed, by its words, and what was typed after them."""

    command: BaseCommand
    name: str
    rest: list[str]


class DelegatingParser(OneLineParser):
    """Has the parser of the command that is meant take what was typed, and adds that command as `meant`."""

    find_meant: Callable[[list[str]], Meant | None]
    prog_name = ""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        meant = self.find_meant(list(args or ()))
        if meant is None:
            super().parse_args(args, namespace)  # exits: no word, a wrong one, or help is asked for
            self.error("the word stands before the options")
        parser = meant.command.create_parser(self.prog_name, meant.name)
        parser.called_from_command_line = self.called_from_command_line
        options = parser.parse_args(meant.rest, namespace)
        options.meant = meant.command
        return options


class DelegatingCommand(OneLineCommand):
    """A command that has another one do the work, which what was typed names."""

    def find_meant(self, typed: list[str]) -> Meant | None:
        """Return the command that is meant; None where nothing names one."""
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = DelegatingParser
        parser.find_meant, parser.prog_name = self.find_meant, prog_name  # type: ignore[attr-defined]  # as of its new class
        return parser

    def execute(self, *args: Any, meant: BaseCommand, **options: Any) -> str | None:
        """Run the command that is meant."""
        return meant.execute(*args, **options)


class CommandGroup(DelegatingCommand):
    """A command whose first word says what it does with the things of its name: `run pause 3`."""

    commands: ClassVar[Mapping[str, type[OneLineCommand]]]

    def add_arguments(self, parser: CommandParser) -> None:
        words = [*self.commands]
        helps = "; ".join(f"{word}: {command.help}" for word, command in self.commands.items())
        parser.add_argument("word", choices=words, metavar="|".join(words), help=helps)

    def find_meant(self, typed: list[str]) -> Meant | None:
        if not typed or typed[0] not in self.commands:
            return None
        name = f"{self.__class__.__module__.rpartition('.')[2]} {typed[0]}"
        return Meant(self.commands[typed[0]](), name, typed[1:])


def find_by_words(words: list[str]) -> Meant:
    """Return the command of these words, the first of which names a command."""
    name, *rest = words
    command = load_command_class(get_commands()[name], name)
    found = command.find_meant(rest) if isinstance(command, CommandGroup) else None
    return found or Meant(command, name, rest)


class OldName(DelegatingCommand):
    """A former name of a command: for this release it does what the new one does, and says the new name."""

    new_name: ClassVar[str]
    # Makes of what was typed the words that are typed now; None: the new name, then the same.
    translate: ClassVar[Callable[[list[str]], list[str]] | None] = None

    def find_meant(self, typed: list[str]) -> Meant:
        translate = type(self).translate
        return find_by_words(translate(typed) if translate else [*self.new_name.split(), *typed])

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        self.old_name = subcommand
        own = super().create_parser(prog_name, subcommand, **kwargs)
        if type(self).translate:
            return own
        # With what it takes, for those who call it with keywords.
        meant = self.find_meant([])
        parser = meant.command.create_parser(prog_name, subcommand, **kwargs)
        parser.called_from_command_line = own.called_from_command_line
        parser.set_defaults(meant=meant.command)
        return parser

    def execute(self, *args: Any, meant: BaseCommand, **options: Any) -> str | None:
        """Say the new name on standard error, and run the command."""
        if options.get("stderr"):
            self.stderr = OutputWrapper(options["stderr"])
        self.stderr.write(str(NAME_IS_NOW(old=self.old_name, new=self.new_name)))
        return super().execute(*args, meant=meant, **options)


def make_old_name(
    new: str, translate: Callable[[list[str]], list[str]] | None = None
) -> type[OldName]:
    """Return the command of a former name."""
    facts = {
        "help": f"The former name of {new}.",
        "new_name": new,
        "translate": staticmethod(translate) if translate else None,
    }
    return type("Command", (OldName,), facts)
