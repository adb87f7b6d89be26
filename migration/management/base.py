"""What the commands over clients share: the choice of clients, waiting for a run, refusals, output, exit codes."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from migration import tasks
from migration.models import MANY_TRIES, Run, select_clients
from migration.operations import runs
from migration.reports.run_progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from migration.models import ClientsByPhase
    from nova_credentials.messages import Message

POLL_SECONDS = 0.5
# The batch of a worker that was killed is delivered again after `retry`, and may take up to `timeout`.
QUEUE: dict[str, Any] = settings.Q_CLUSTER
NO_PROGRESS_SECONDS = QUEUE["retry"] + QUEUE["timeout"]


class OneLineParser(CommandParser):
    """Says what is wrong in one line on standard error, and exits with 2."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        for text in sys.argv[1:] if args is None else args:
            if any("\ud800" <= character <= "\udfff" for character in str(text)):
                self.error("an argument is not UTF-8")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not self.called_from_command_line:
            raise CommandError(message, returncode=2)
        self.exit(2, f"{message}\n")


class OneLineCommand(BaseCommand):
    """A command that says in one line what is wrong with its arguments."""

    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own declaration

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django builds the parser from the class of this attribute's default.
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = OneLineParser
        return parser


class ClientsCommand(OneLineCommand):
    """A command over clients named by slug, or all of them."""

    def add_format(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="json: one object on stdout"
        )

    def add_choice(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="the clients, by slug")
        parser.add_argument("--all", action="store_true", help="every client")

    def chosen(self, options: dict[str, Any]) -> ClientsByPhase:
        """The clients asked for; exits with 2 where a slug is unknown or nothing is asked for."""
        slugs, everyone = options["slugs"], options["all"]
        if bool(slugs) == everyone:
            raise CommandError("name clients by slug, or pass --all", returncode=2)
        return select_clients() if everyone else self.named(slugs)

    def named(self, slugs: list[str]) -> ClientsByPhase:
        found = select_clients().filter(slug__in=slugs)
        unknown = sorted(set(slugs) - set(found.values_list("slug", flat=True)))
        if unknown:
            raise CommandError(f"unknown client: {', '.join(unknown)}", returncode=2)
        return found

    def carry_out(self, *, inline: bool, **run_options: Any) -> Run:
        """Starts a run and takes it through, in this process or by the workers."""
        if inline:
            run = Run.start(**run_options)
            runs.finish_inline(run)
            return run
        run = Run.start(**run_options, tries=MANY_TRIES)
        if not tasks.enqueue(run):
            self.stderr.write("The task queue cannot be reached: the run starts once it is back.")
        self._await(run)
        return run

    def _await(self, run: Run) -> None:
        seen, seen_at = -1, time.monotonic()
        codes: list[str] = []
        while run.finished_at is None:
            now = measure_progress(select_runs_for_progress().get(pk=run.pk))
            done, reason = now.done, now.delay_reason
            # Its numbers change all the time: printed again once it is another reason.
            if codes != (codes := reason.codes if reason else []):
                self.stderr.write(str(reason or ""))
            if done != seen:
                seen, seen_at = done, time.monotonic()
            if time.monotonic() - seen_at > NO_PROGRESS_SECONDS:
                raise CommandError(
                    f"{run} has made no progress for {NO_PROGRESS_SECONDS} s; it stays queued."
                    " Is a worker running? Start one with: manage.py qcluster"
                )
            time.sleep(POLL_SECONDS)
            run.refresh_from_db()

    def report(self, run: Run, options: dict[str, Any], items: list[dict[str, Any]]) -> None:
        """Prints a run's counts and items, and exits with 1 where anything failed or differs."""
        self.report_counts({"run": run.pk, **run.count_items()}, items, options)

    def report_counts(
        self, counts: dict[str, Any], items: list[dict[str, Any]], options: dict[str, Any]
    ) -> None:
        if options["format"] == "json":
            self.print_json({**counts, "items": items})
        else:
            for item in items:
                self.print_lines(item)
            self.stdout.write(
                ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            )
        if counts["failed"] or counts["mismatched"]:
            sys.exit(1)

    def print_lines(self, item: dict[str, Any]) -> None:
        """The item in one line, and a line for every field that differs."""
        left_out = ("code", "mismatches")
        words = [value for name, value in item.items() if value and name not in left_out]
        self.stdout.write("  ".join(words))
        for mismatch in item.get("mismatches", []):
            self.stdout.write(f"    {in_words(mismatch)}")

    def print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, ensure_ascii=False, default=str))


def items_of(run: Run) -> list[dict[str, Any]]:
    """The run's items as commands print them."""
    return [
        {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **printed(item.message),
        }
        for item in run.items.all()
    ]


def printed(message: Message | None) -> dict[str, str]:
    """A message as commands print it: its English, and its key for programs."""
    return {"message": str(message or ""), "code": message.key if message else ""}


def in_words(mismatch: dict[str, str]) -> str:
    """One field that differs: kind and hint and, where they are known, the short codes of PostgreSQL and AWS."""
    hint = f" ({mismatch['hint']})" if mismatch["hint"] else ""
    codes = [
        f"{store} {mismatch[side]} ({mismatch[f'{side}_length']})"
        for store, side in (("PostgreSQL", "expected"), ("AWS", "actual"))
        if mismatch.get(side)
    ]
    return f"{mismatch['path']}: {mismatch['kind']}{hint}{', ' if codes else ''}{', '.join(codes)}"
