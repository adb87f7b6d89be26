"""The bases of the commands: their output, their users, the clients they are about, and a run that they wait for."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any, NoReturn, TextIO, cast

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from credentials.models import Client
from credentials.nova_columns import NovaSchemaError, convert_schema_errors
from migration import tasks
from migration.core.audit import ReasonError, require_storable_reason
from migration.core.aws_writes import find_write_refusal, get_aws_write_state, write_guard
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.groups import ClientGroup
from migration.doctor.nova import require_own_backends
from migration.management.progress import (
    ITEMS_AT_ONCE,
    Item,
    describe_mismatch,
    finish_in_this_process,
    iterate_items,
    name_outcome,
    print_item_table,
    rank_item,
    select_waiting_for_push,
    wait_for_workers,
)
from migration.pushes.resolutions import NotResolved
from migration.runs.models import Run
from migration.secrets.adoptions import ForeignSecrets, adopt_secrets, list_foreign_secrets
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_invisible, escape_name

Options = Mapping[str, Any]

# A run is not all well while it has clients of these.
NOT_WELL = ("failed", "refused", "mismatched", "not_begun")
# The largest id that PostgreSQL's bigint holds.
LARGEST_ID = 2**63 - 1
# Made once: `json.dumps` makes one for each call that has options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)

# The units name this folder of the site; and how its workers are started there.
OWN_COMMAND_OF_UNITS = "/srv/nova-admin/nova-admin"
START_UNIT = "systemctl start nova-admin-worker"
QUEUE_NOT_REACHED = Sentence(
    "queue_not_reached", "The task queue cannot be reached: the run starts once it is back."
)
WAVE_IS_GROUP = Sentence(
    "wave_is_group", "--wave is now --group. The next release removes the old name."
)


# A command of this site in a text that was written for a checkout.
MANAGE = re.compile(r"(?<![\w/.-])(?:python )?manage\.py (?=[a-z])")


def name_own_command(text: str) -> str:
    """Name commands as they are typed here: by `nova-admin`, where this one was."""
    if not (own := os.environ.get("NOVA_COMMAND", "")):
        return text
    if own == OWN_COMMAND_OF_UNITS:  # one in the foreground would end with its terminal
        text = re.sub(rf"{MANAGE.pattern}qcluster", START_UNIT, text)
    return MANAGE.sub(lambda _: f"{own} ", text)


class OneLineOutput(OutputWrapper):
    """Writes each text as one line (`escape_invisible`), and JSON with its values as they are.

    Names in the database are other people's choice: none steers a terminal.
    """

    def write(  # type: ignore[override]  # as Django's own does
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        super().write(
            name_own_command(escape_invisible(msg.removesuffix("\n"))), style_func, ending
        )

    def write_json(self, value: object) -> None:
        """Write one line of JSON. What can't be seen is escaped as JSON does it, so that no value changes."""
        super().write(_encode_json(value))

    def write_one_json_of_items(
        self, items: Iterable[object], head: Mapping[str, object] | None
    ) -> None:
        """Write the items as one line of JSON, each as it comes: they need not be in memory at once.

        They are a list, or where there is a head the last value of its object.
        """
        begin, end = (
            ("[", "]") if head is None else (f'{_encode_json(head)[:-1]}, "items": [', "]}")
        )
        self.write_unchanged(begin)
        for number, item in enumerate(items):
            self.write_unchanged(f"{', ' if number else ''}{_encode_json(item)}")
        self.write_unchanged(f"{end}\n")

    @property
    def terminal(self) -> TextIO | None:
        """Return the terminal behind it, for what may steer one; None where it is none, or can only print."""
        can_move = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        return cast("TextIO", self._out) if self.isatty() and can_move else None

    def write_unchanged(self, text: str) -> None:
        """Write a piece of a larger text as it is: callers make sure that nothing in it steers a terminal."""
        super().write(text, ending="")


def _encode_json(value: object) -> str:
    text = _ENCODER.encode(value)
    if text.isprintable():  # as nearly always
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


class OneLineParser(CommandParser):
    """A parser that says in one line on standard error what is wrong, and exits with 2."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        for text in sys.argv[1:] if args is None else args:
            if any("\ud800" <= character <= "\udfff" for character in str(text)):
                self.error("an argument is not UTF-8")
        # Clients may be named before, between and after the options.
        return self.parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not self.called_from_command_line:
            raise CommandError(message, returncode=2)
        self.exit(2, f"{escape_invisible(message)}\n")


class OneLineCommand(BaseCommand):
    """A command that says in one line what is wrong with its arguments."""

    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own declaration

    def __setattr__(self, name: str, value: object) -> None:
        # Django makes both outputs, at the beginning and again for `call_command`.
        if name in ("stdout", "stderr") and isinstance(value, OutputWrapper):
            value.__class__ = OneLineOutput
        super().__setattr__(name, value)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django builds the parser from the class of this attribute's default.
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = OneLineParser
        return parser


def parse_reason(text: str) -> str:
    """Return the text of `--reason`; raise ArgumentTypeError if it can't be stored."""
    try:
        require_storable_reason(text)
    except ReasonError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def find_user(name: str | None, *, permission: str = "") -> User | None:
    """Return the active user that `--by` names, None without it; exit with 2 if unknown or not permitted."""
    if name is None:
        return None
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError(f"unknown user: {escape_name(name)}", returncode=2)
    if permission:
        require_permission(user, permission, may=user.has_perm(permission))
    return user


def require_permission(user: User, permission: str, *, may: bool) -> None:
    """Exit with 2 and name the permission unless the user may."""
    if not may:
        text = f"{escape_name(user.username)} lacks the permission {permission}"
        raise CommandError(text, returncode=2)


def find_client(slug: str) -> Client:
    """Return the client with this slug; exit with 2 if there is none."""
    if client := Client.objects.filter(slug=slug).first():
        return client
    raise CommandError(f"unknown client: {escape_name(slug)}", returncode=2)


def find_client_group(name: str) -> ClientGroup:
    """Return the group of this name; exit with 2 if there is none."""
    if group := ClientGroup.objects.find_by_name(name):
        return group
    raise CommandError(f"unknown group: {escape_name(name)}", returncode=2)


class FormattedCommand(OneLineCommand):
    """A command that prints text, or with `--format json` one object and nothing else."""

    # Locks that have to outlast a transaction: behind a pooler in transaction mode they don't.
    takes_locks = False

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; exit with 1 and name the column where NOVA's tables were changed.

        Exits with 2 where it takes locks and connections share PostgreSQL's processes.
        """
        if self.takes_locks:
            require_own_backends()
        try:
            with convert_schema_errors():
                return super().execute(*args, **options)
        except NovaSchemaError as error:
            raise CommandError(str(error), returncode=1) from None

    def add_by(self, parser: CommandParser) -> None:
        parser.add_argument("--by", metavar="USER", help="the user in whose name it is done")

    def add_format(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="json: one object on stdout"
        )

    def print_json(self, value: object) -> None:
        cast("OneLineOutput", self.stdout).write_json(value)

    def print_json_items(
        self, items: Iterable[object], head: Mapping[str, object] | None = None
    ) -> None:
        cast("OneLineOutput", self.stdout).write_one_json_of_items(items, head)


class RunCommand(FormattedCommand):
    """A command that waits for a run and reports it."""

    # What the user named by `--by` has to be allowed.
    permission = "migration.add_run"

    def add_run_arguments(self, parser: CommandParser) -> None:
        self.add_by(parser)
        parser.add_argument(
            "--inline", action="store_true", help="in this process, without workers"
        )

    def enqueue_run(self, run: Run) -> None:
        """Hand the run to the workers, and say so where the queue can't be reached."""
        if not tasks.enqueue(run):
            self.stderr.write(str(QUEUE_NOT_REACHED()))

    def wait_for_end(self, run: Run, *, inline: bool) -> None:
        """Wait for the run's end and show its progress on standard error; with `inline` this process works on it."""
        (finish_in_this_process if inline else wait_for_workers)(run, self.stderr)

    def report_run(self, run: Run, options: Options) -> None:
        """Print the run's counts and items; exit with 1 if a client failed, was refused, differs or was not begun."""
        counts = self.report_items(run, options)
        if run.finished_at is None or any(counts.get(name) for name in NOT_WELL):
            sys.exit(1)

    def report_items(self, run: Run, options: Options, **more: str) -> dict[str, int]:
        """Print the run's items and its counts, in JSON with what else is known of it; return the counts.

        A client that differs while a push is pending is not mismatched: the push is on its way.
        """
        counts = run.count_outcomes_and_matches()
        if run.kind == Run.Kind.COMPARE:
            counts["pending"] = select_waiting_for_push(run).count()
            counts["mismatched"] -= counts["pending"]
        counts, items = {"run": run.pk, **counts}, iterate_items(run)
        if options["format"] == "json":
            self.print_json_items(items, {**counts, **more})
        else:
            self.print_items_as_text(items)
            numbers = [f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n]
            self.stdout.write(", ".join(numbers))
        return counts

    def print_items_as_text(self, items: Iterable[Item]) -> None:
        """Print the items in lines, each as it comes; on a terminal as a table, of many those that need attention."""
        terminal, rest = cast("OneLineOutput", self.stdout).terminal, iter(items)
        first = list(islice(rest, ITEMS_AT_ONCE)) if terminal else []
        are_few, listed = len(first) < ITEMS_AT_ONCE, list[Item]()
        for item in chain(first, rest):
            in_table = are_few or (rank_item(item) and len(listed) < ITEMS_AT_ONCE)
            if terminal and in_table:
                listed.append(item)
            else:
                self.print_item(item)
        if terminal and listed:
            print_item_table(terminal, listed)

    def print_item(self, item: Item) -> None:
        """Print the item in one line, and a line for every field that differs."""
        left_out = ("slug", "code", "mismatches", "logins")
        shown = {**item, "outcome": name_outcome(item)} if "outcome" in item else item
        words = [str(value) for name, value in shown.items() if value and name not in left_out]
        self.stdout.write("  ".join([escape_name(str(item["slug"])), *words]))
        self.print_mismatches(cast("list[dict[str, str]]", item.get("mismatches", [])))

    def print_mismatches(self, mismatches: list[dict[str, str]]) -> None:
        for mismatch in mismatches:
            self.stdout.write(f"    {describe_mismatch(mismatch)}")


class ClientsCommand(RunCommand):
    """A command over clients: named by slug, those of a group, those in a phase, or all of them."""

    def add_client_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="the clients, by slug")
        parser.add_argument("--group", metavar="NAME", help="the clients of this group")
        parser.add_argument(
            "--all-in",
            choices=[phase.value for phase in Phase],
            metavar="PHASE",
            help="every client in this phase",
        )
        parser.add_argument("--all", action="store_true", help="every client")
        # Its name in former releases.
        parser.add_argument("--wave", metavar="NAME", help=SUPPRESS)

    def add_adoption_argument(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--adopt",
            action="store_true",
            help="show the secrets of these names that are somebody else's, and take them over: needs a reason",
        )

    def show_foreign_secrets(
        self, chosen: ClientPhaseQuerySet, options: Options
    ) -> list[ForeignSecrets]:
        """With `--adopt`, print the secrets that are somebody else's: whose, and by field names what differs there.

        Exits where they could not be adopted.
        """
        if not options.get("adopt"):
            return []
        if not options["dry_run"]:
            if not options["reason"].strip():
                raise CommandError("--adopt needs a --reason", returncode=2)
            find_user(options["by"], permission=self.permission)
            require_writes()
        layout = read_layout(options)
        pks, found = list(chosen.values_list("pk", flat=True)), []
        try:
            for foreign in list_foreign_secrets(pks, layout=layout):
                found.append(foreign)
                slug = escape_name(foreign.snapshot.slug)
                for secret in foreign.secrets:
                    self.stderr.write(f"{slug}: {secret.name} is not ours. {secret.owner}")
                self.stderr.write(f"    {foreign.comparison.status_message}")
                for mismatch in foreign.comparison.mismatches:
                    self.stderr.write(f"    {describe_mismatch(mismatch)}")
        except (SecretsManagerError, DocumentError) as error:
            raise CommandError(f"Nothing was adopted. {error}", returncode=1) from None
        return found

    def adopt_shown_secrets(self, shown: Iterable[ForeignSecrets], options: Options) -> None:
        """Adopt just these, for the reason given. The run then writes over them."""
        for foreign in shown:
            try:
                adopt_secrets(
                    client_id=foreign.snapshot.client_id,
                    seen=foreign.versions,
                    reason=options["reason"],
                    layout=read_layout(options),
                    by=find_user(options["by"]),
                )
            except (NotResolved, SecretsManagerError, DocumentError) as error:
                self.stderr.write(f"{escape_name(foreign.snapshot.slug)}: {error.message}")

    def find_clients(self, options: Options) -> ClientPhaseQuerySet:
        """Return the clients that are named, of a group, in a phase, or all; exit with 2 without just one choice."""
        slugs, phase, everyone = options["slugs"], options["all_in"], options["all"]
        if options["wave"] is not None:
            self.stderr.write(str(WAVE_IS_GROUP()))
        groups = [name for name in (options["group"], options["wave"]) if name is not None]
        if [bool(slugs), phase is not None, everyone].count(True) + len(groups) != 1:
            text = "name clients by slug, or pass one of --group, --all-in and --all"
            raise CommandError(text, returncode=2)
        if groups:
            return all_clients().in_group(find_client_group(groups[0]).pk)
        if phase is not None:
            return all_clients().in_phases(Phase(phase))
        return all_clients() if everyone else self.find_named_clients(slugs)

    def find_named_clients(self, slugs: list[str]) -> ClientPhaseQuerySet:
        """Return the clients with these slugs; exit with 2 if one is unknown."""
        found = all_clients().filter(slug__in=slugs)
        unknown = sorted(set(slugs) - set(found.values_list("slug", flat=True)))
        if unknown:
            raise CommandError(
                f"unknown client: {', '.join(map(escape_name, unknown))}", returncode=2
            )
        return found

    def carry_out_run(self, run: Run, *, inline: bool) -> None:
        """Wait for the end of a stored run. With `inline` this process does it, otherwise the workers."""
        if not inline:
            self.enqueue_run(run)
        self.wait_for_end(run, inline=inline)


def read_layout(options: Options) -> Layout | None:
    """Return the layout that the options name; None where the command changes none."""
    return Layout(options["layout"]) if "layout" in options else None


def require_writes() -> None:
    """Exit with 1 if this site may not write to AWS."""
    if why := find_write_refusal():
        raise CommandError(f"Nothing was pushed. {why}", returncode=1)


def require_own_database() -> None:
    """Exit with 1 if this database never may write to AWS: a run that does would wait for ever."""
    if why := write_guard().explain_refused_database(get_aws_write_state()):
        raise CommandError(f"Nothing was pushed. {why}", returncode=1)
