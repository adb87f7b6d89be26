"""The base of the commands over clients: which clients, starting a run and waiting for it, output, exit codes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    OutputWrapper,
)

from credentials.nova_columns import NovaSchemaError, schema_errors
from credentials.shown_names import show_name, show_text
from migration import sentences, tasks
from migration.management.output import OneLineOutput
from migration.models import MANY_TRIES, Run, all_clients
from migration.operations import runs
from migration.operations.aws_writes import find_write_refusal
from migration.operations.doctor.pooler import require_own_backends
from migration.operations.runs import held_batches, is_held
from migration.reports.run_progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from migration.models import ClientPhaseQuerySet
    from migration.reports.run_progress import Progress
    from nova_credentials.messages import Message

    # The command's options as Django hands them over, by name.
    Options = Mapping[str, Any]
    # A command prints one client so.
    Item = Mapping[str, object]

POLL_SECONDS = 0.5
# A worker that has time begins a run within a second.
BEGUN_AFTER_SECONDS = 5
# The batch of a killed worker is delivered again after `retry` and may take up to `timeout`.
QUEUE: dict[str, int] = settings.Q_CLUSTER
NO_PROGRESS_SECONDS = QUEUE["retry"] + QUEUE["timeout"]


class OneLineParser(CommandParser):
    """A parser that says in one line on standard error what is wrong, and exits with 2."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        for text in sys.argv[1:] if args is None else args:
            if any("\ud800" <= character <= "\udfff" for character in str(text)):
                self.error("an argument is not UTF-8")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not self.called_from_command_line:
            raise CommandError(message, returncode=2)
        self.exit(2, f"{show_text(message)}\n")


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


def find_user(name: str | None, *, permission: str = "") -> User | None:
    """Return the active user that `--by` names; exit with 2 if there is none, or who lacks the permission."""
    if name is None:
        return None
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError(f"unknown user: {show_name(name)}", returncode=2)
    if permission and not user.has_perm(permission):
        raise CommandError(f"{show_name(name)} lacks the permission {permission}", returncode=2)
    return user


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
            with schema_errors():
                return super().execute(*args, **options)
        except NovaSchemaError as error:
            raise CommandError(str(error), returncode=1) from None

    def add_format(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="json: one object on stdout"
        )

    def print_json(self, value: object) -> None:
        cast("OneLineOutput", self.stdout).write_json(value)


class ClientsCommand(FormattedCommand):
    """A command over clients named by slug, or all of them."""

    def add_choice(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="the clients, by slug")
        parser.add_argument("--all", action="store_true", help="every client")

    def find_clients(self, options: Options) -> ClientPhaseQuerySet:
        """Return the clients that are named, or all with `--all`; exit with 2 without either."""
        slugs, everyone = options["slugs"], options["all"]
        if bool(slugs) == everyone:
            raise CommandError("name clients by slug, or pass --all", returncode=2)
        return all_clients() if everyone else self.find_named_clients(slugs)

    def find_named_clients(self, slugs: list[str]) -> ClientPhaseQuerySet:
        """Return the clients with these slugs; exit with 2 if one is unknown."""
        found = all_clients().filter(slug__in=slugs)
        unknown = sorted(set(slugs) - set(found.values_list("slug", flat=True)))
        if unknown:
            raise CommandError(
                f"unknown client: {', '.join(map(show_name, unknown))}", returncode=2
            )
        return found

    def finish_run(self, *, inline: bool, **run_options: Any) -> Run:
        """Start a run and wait for its end. With `inline` this process does it, otherwise the workers."""
        if inline and run_options["kind"] != Run.Kind.COMPARE and (why := find_write_refusal()):
            raise CommandError(f"Nothing was pushed. {why}", returncode=1)
        run = Run.start(**run_options, tries=1 if inline else MANY_TRIES)
        self.wait_for_run(run, inline=inline)
        return run

    def wait_for_run(self, run: Run, *, inline: bool) -> None:
        """Wait for the end of a stored run. With `inline` this process does it, otherwise the workers."""
        if inline:
            runs.finish_inline(run)
            if run.finished_at is None:
                self.stderr.write(
                    f"{run} waits, and workers go on with it. {find_write_refusal() or ''}"
                )
            return
        if not tasks.enqueue(run):
            self.stderr.write("The task queue cannot be reached: the run starts once it is back.")
        try:
            self._wait_for_end(run)
        except KeyboardInterrupt:
            raise CommandError(f"{run} stays queued.", returncode=130) from None

    def _wait_for_end(self, run: Run) -> None:
        seen, seen_at = -1, time.monotonic()
        begins_by = seen_at + BEGUN_AFTER_SECONDS
        codes: list[str] = []
        while run.finished_at is None:
            now = measure_progress(select_runs_for_progress().get(pk=run.pk))
            done, reason = now.done, now.delay_reason
            if time.monotonic() >= begins_by:
                reason = explain_late_begin(now) or reason
            # The numbers in the reason change all the time, so only another reason is printed.
            if codes != (codes := reason.codes if reason else []) and reason:
                self.stderr.write(str(reason))
            if done != seen:
                seen, seen_at = done, time.monotonic()
            if time.monotonic() - seen_at > NO_PROGRESS_SECONDS:
                raise CommandError(
                    f"{run} has made no progress for {NO_PROGRESS_SECONDS} s; it stays queued."
                    " Is a worker running? Start one with: manage.py qcluster"
                )
            time.sleep(POLL_SECONDS)
            run.refresh_from_db()

    def report_run(self, run: Run, options: Options, items: Sequence[Item]) -> None:
        """Print the run's counts and items; exit with 1 if a client failed or differs."""
        self.report_counts({"run": run.pk, **run.count_items()}, items, options)
        if run.finished_at is None:
            sys.exit(1)

    def report_counts(
        self, counts: Mapping[str, int | None], items: Sequence[Item], options: Options
    ) -> None:
        if options["format"] == "json":
            self.print_json({**counts, "items": items})
        else:
            for item in items:
                self.print_item(item)
            self.stdout.write(
                ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            )
        if counts["failed"] or counts["mismatched"]:
            sys.exit(1)

    def print_item(self, item: Item) -> None:
        """Print the item in one line, and a line for every field that differs."""
        left_out = ("slug", "code", "mismatches")
        words = [str(value) for name, value in item.items() if value and name not in left_out]
        self.stdout.write("  ".join([show_name(str(item["slug"])), *words]))
        self.print_mismatches(cast("list[dict[str, str]]", item.get("mismatches", [])))

    def print_mismatches(self, mismatches: list[dict[str, str]]) -> None:
        for mismatch in mismatches:
            self.stdout.write(f"    {describe_mismatch(mismatch)}")


def explain_late_begin(progress: Progress) -> Message | None:
    """Say that no worker has begun a running run, and what to do; None where one has."""
    begun = progress.done or progress.retry_groups or held_batches(progress.run.pk)
    # A run that this site's writes are refused for says so itself.
    if begun or progress.run.state != Run.State.RUNNING or is_held(progress.run):
        return None
    return sentences.NOT_BEGUN_NO_WORKER() if progress.worker_is_gone else sentences.NOT_BEGUN()


def list_items(run: Run) -> list[Item]:
    """Return the run's items as commands print them."""
    return [
        {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **describe_message(item.message),
        }
        for item in run.items.all()
    ]


def describe_message(message: Message | None) -> dict[str, str]:
    """Return the message in English, and its key for programs."""
    return {"message": str(message or ""), "code": message.key if message else ""}


def describe_mismatch(mismatch: dict[str, str]) -> str:
    """Return how a field differs: kind, hint and, if they are known, the short codes of PostgreSQL and AWS."""
    hint = f" ({mismatch['hint']})" if mismatch["hint"] else ""
    codes = [
        f"{store} {mismatch[side]} ({mismatch[f'{side}_length']})"
        for store, side in (("PostgreSQL", "expected"), ("AWS", "actual"))
        if mismatch.get(side)
    ]
    return f"{show_name(mismatch['path'])}: {mismatch['kind']}{hint}{', ' if codes else ''}{', '.join(codes)}"
