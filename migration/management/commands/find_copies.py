"""`find_copies`: says where else NOVA's database holds clients' secret values, and redacts copies on request."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration import tasks
from migration.management.base import ClientsCommand, find_user
from migration.secrets.copies import SearchProgress, search_copies, settle_dead_searches
from migration.secrets.models import CopySearch, FoundCopy, UnsearchedPlace
from migration.secrets.redaction import (
    DEFAULT_COLUMNS,
    RedactionPlan,
    RedactionResult,
    count_redactable,
    plan_redaction,
    redact,
)
from nova_credentials.shown_names import escape_name

MEGABYTE = 1_000_000


class Command(ClientsCommand):
    takes_locks = True
    help = "Says where else NOVA's database holds clients' secret values. Prints places, never a value."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_client_arguments(parser)
        parser.add_argument(
            "--redact", action="store_true", help="replace copies by pointers, after one question"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="with --redact: say what would be replaced, and replace nothing",
        )
        parser.add_argument(
            "--column",
            nargs="+",
            action="extend",
            metavar="T.C",
            help=f"with --redact: these columns instead of {', '.join(DEFAULT_COLUMNS)}",
        )
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        for name in ("column", "dry_run"):
            if options[name] and not options["redact"]:
                text = f"--{name.replace('_', '-')} goes with --redact"
                raise CommandError(text, returncode=2)
        by = find_user(options["by"], permission="migration.add_copysearch")
        client_ids = list(self.find_clients(options).values_list("pk", flat=True))
        self._restart_dead_searches()
        search = search_copies(client_ids=client_ids, by=by, tell=self._tell_progress)
        columns = list(options["column"] or DEFAULT_COLUMNS)
        asks = not options["dry_run"]
        if options["redact"] and self._redact(search, client_ids, columns, asks=asks):
            # What is left is looked for again: only that proves what became of the copies.
            search = search_copies(client_ids=client_ids, by=by, tell=self._tell_progress)
        self._report(search, as_json=options["format"] == "json")

    def _restart_dead_searches(self) -> None:
        """Print the searches whose process died; mark them as interrupted, or queue them again if possible."""
        dead = settle_dead_searches()
        for search in dead.interrupted:
            began = f"{search.requested_at:%Y-%m-%d %H:%M} UTC"
            self.stderr.write(f"{search}, begun {began}, was interrupted: it has no result.")
        for search in dead.to_begin_again:
            tasks.enqueue_search(search)
            self.stderr.write(f"{search} was interrupted: it waits for a worker to begin it again.")

    def _tell_progress(self, now: SearchProgress) -> None:
        self.stderr.write(
            f"{escape_name(now.table)}: {now.part_of_table:.0%}, table {now.tables_done + 1} of {now.tables};"
            f" {now.bytes_read / MEGABYTE:,.0f} MB read, {now.bytes_per_second / MEGABYTE:,.0f} MB/s"
        )

    def _redact(
        self, search: CopySearch, client_ids: list[int], columns: list[str], *, asks: bool
    ) -> bool:
        """Say what can be redacted, and redact it if the answer to the question is `y`; say whether it did."""
        for copy in search.found_copies.all():
            self.stderr.write(f"found: {describe_copy(copy)}")
        plan = plan_redaction(client_ids=client_ids, columns=columns)
        for message in plan.left_out:
            self.stderr.write(f"left out: {message}")
        counted = count_redactable(plan)
        self._tell_result(plan, counted, "can be redacted")
        if not counted.rows_by_client_and_column:
            self.stderr.write("Nothing can be redacted.")
            return False
        if not asks:
            return False
        self.stderr.write(
            "Replace these values by pointers to AWS? They can't be put back. [y/N] ", ending=""
        )
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "y":
            self.stderr.write("Nothing was redacted.")
            return False
        # Planned anew: while the question stood, clients may have been moved and values changed.
        plan = plan_redaction(client_ids=client_ids, columns=columns)
        self._tell_result(plan, redact(plan), "redacted")
        return True

    def _tell_result(self, plan: RedactionPlan, result: RedactionResult, verb: str) -> None:
        for (client_id, column), rows in sorted(
            result.rows_by_client_and_column.items(), key=lambda item: item[0][1]
        ):
            self.stderr.write(
                f"{escape_name(plan.slugs[client_id])}: {escape_name(column)}, {rows} rows {verb}"
            )
        for message in result.stop_reasons:
            self.stderr.write(str(message))
        if result.rows_left:
            self.stderr.write(
                f"{result.rows_left} rows were left as they are: NOVA held or changed them, or the pointer does not"
                " fit."
            )

    def _report(self, search: CopySearch, *, as_json: bool) -> None:
        """Print the places; exit with 1 if there are some, or if something was not looked at."""
        found = list(search.found_copies.all())
        if as_json:
            keys = ("slug", "table", "column", "rows")
            self.print_json([{key: getattr(copy, key) for key in keys} for copy in found])
        else:
            for copy in found:
                self.stdout.write(describe_copy(copy))
        unsearched = list(search.unsearched_places.all())
        for place in unsearched:
            self.stderr.write(f"not looked at: {describe_unsearched(place)}")
        if not found and not unsearched:
            self.stderr.write(f"No copy found. Tables read: {search.tables}.")
        if found or unsearched:
            sys.exit(1)


def describe_copy(copy: FoundCopy) -> str:
    """Return client, column and number of rows, fit to be shown."""
    return (
        f"{escape_name(copy.slug)}: {escape_name(f'{copy.table}.{copy.column}')}, {copy.rows} rows"
    )


def describe_unsearched(place: UnsearchedPlace) -> str:
    """Return a place that was not searched as one text: its client, its name and why; all names are escaped."""
    detail = f" ({escape_name(place.detail)})" if place.detail else ""
    of_client = f"{escape_name(place.slug)}, " if place.slug else ""
    return f"{of_client}{escape_name(place.place)}: {place.get_reason_display()}{detail}"
