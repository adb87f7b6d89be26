"""`import_clients`: adds and changes clients from a CSV file, or takes over those of NOVA's legacy table."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser

from credentials.import_columns import IMPORT_COLUMNS
from credentials.legacy import LegacyTableError
from migration.clients.imports import (
    MOST_BYTES,
    ImportPlan,
    ImportRefusedError,
    ImportResult,
    PlannedLine,
    preview_import,
    store_import,
    write_refused_lines,
)
from migration.clients.legacy import (
    LegacyPlan,
    LegacyRowOutcome,
    NothingImported,
    import_legacy_clients,
    plan_legacy_import,
)
from migration.management.base import FormattedCommand, OneLineOutput, Options, find_user
from migration.management.progress import show_work
from migration.people.roles import IMPORT_PERMISSIONS, LEGACY_IMPORT_PERMISSIONS
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import LEGACY_CREDENTIALS


class Command(FormattedCommand):
    help = (
        "Adds and changes clients from a CSV file, and names the lines that it refuses, with the reason. With --legacy"
        " instead: adds the clients, and the database logins, that only NOVA's legacy table client_credentials holds;"
        " rows that differ from the newer tables are listed and left alone, and the legacy table is only read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", nargs="?", help="a CSV file; - is standard input"
        )
        parser.add_argument(
            "--legacy", action="store_true", help="from NOVA's legacy table instead of a file"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="print what each line or row would do, store nothing",
        )
        parser.add_argument(
            "--all-or-nothing", action="store_true", help="store nothing where a line is refused"
        )
        parser.add_argument(
            "--refused",
            action="store_true",
            help="print nothing but the refused lines, as a CSV file: each with its secrets, and the reason in front",
        )
        parser.add_argument(
            "--template", action="store_true", help="print the line that names the columns"
        )
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        if options["legacy"]:
            self._import_legacy(options)
            return
        if options["template"]:
            if options["format"] == "json":
                self.print_json(list(IMPORT_COLUMNS))
            else:
                self.stdout.write(",".join(IMPORT_COLUMNS))
            return
        by = find_user(options["by"])
        if by and not by.has_perms(IMPORT_PERMISSIONS):
            raise CommandError(f"{escape_name(by.username)} may not import clients", returncode=2)
        data = read_file_or_exit(options["file"])
        if options["refused"] and options["format"] == "json":
            raise CommandError("--refused prints a CSV file, and no JSON", returncode=2)
        if options["refused"] and self.stdout.isatty():
            raise CommandError("--refused prints secrets: send its output to a file", returncode=2)
        try:
            plan = preview_import(data=data)
            if plan.warning:
                self.stderr.write(str(plan.warning))
            result = None
            if not options["dry_run"] and not (options["all_or_nothing"] and plan.refused):
                with show_work(self.stderr, "Import", len(plan.new_or_changed_clients)) as work:
                    result = store_import(
                        data=data,
                        by=by,
                        all_or_nothing=options["all_or_nothing"],
                        tell=work.set_done,
                    )
        except ImportRefusedError as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        refused = result.refused if result else plan.refused
        if options["refused"]:
            text = write_refused_lines(data=data, refused=refused)
            cast("OneLineOutput", self.stdout).write_unchanged(text)
        elif result:
            self._print_result(result, plan.lines, options)
        else:
            self._print_plan(plan, options)
        if not result and not options["dry_run"]:
            self.stderr.write("Nothing was imported.")
        if refused:
            sys.exit(1)

    def _print_result(
        self, result: ImportResult, lines: Iterable[PlannedLine], options: Options
    ) -> None:
        """Print how many clients were stored, which lines were refused and why, and what may be a mistake."""
        numbers = {"new": result.new, "changed": result.changed, "unchanged": result.unchanged}
        if options["format"] == "json":
            self.print_json({"stored": True, "clients": numbers, "lines": describe_lines(lines)})
            return
        for line in lines:
            if line.problems or line.warnings:
                self.stdout.write(describe_line(line))
        words = [f"{n} clients {name}" for name, n in numbers.items()]
        if result.refused:
            words.append(f"{len(result.refused)} lines refused")
        self.stdout.write(", ".join(words))

    def _print_plan(self, plan: ImportPlan, options: dict[str, Any]) -> None:
        """Print what each line would do, and what is wrong with it."""
        numbers = {outcome.value: number for outcome, number in plan.counts.items()}
        if options["format"] == "json":
            self.print_json(
                {"stored": False, "counts": numbers, "lines": describe_lines(plan.lines)}
            )
            return
        for line in plan.lines:
            self.stdout.write(describe_line(line))
        self.stdout.write(", ".join(f"{number} {name}" for name, number in numbers.items()))

    def _import_legacy(self, options: Options) -> None:
        if options["file"] or options["template"]:
            raise CommandError("--legacy takes no file and no --template", returncode=2)
        for permission in LEGACY_IMPORT_PERMISSIONS:
            by = find_user(options["by"], permission=permission)
        try:
            plan = plan_legacy_import() if options["dry_run"] else import_legacy_clients(by=by)
        except (LegacyTableError, NothingImported) as error:
            raise CommandError(str(error), returncode=1) from None
        if options["format"] == "json":
            self._print_legacy_json(plan, stored=not options["dry_run"])
        else:
            self._print_legacy_text(plan, stored=not options["dry_run"])
        if plan.left_alone:
            sys.exit(1)

    def _print_legacy_json(self, plan: LegacyPlan, *, stored: bool) -> None:
        self.print_json(
            {
                "table": LEGACY_CREDENTIALS if plan.table.exists else None,
                "stored": stored,
                "rows": len(plan.rows),
                "taken": len(plan.taken),
                "same": plan.same,
                "left_alone": len(plan.left_alone),
                "other_columns": list(plan.table.other_columns),
                "items": [
                    {
                        "slug": row.slug,
                        "kind": row.kind.value,
                        "message": str(row.message),
                        "warnings": list(map(str, row.warnings)),
                    }
                    for row in plan.rows
                ],
            }
        )

    def _print_legacy_text(self, plan: LegacyPlan, *, stored: bool) -> None:
        if not plan.table.exists:
            self.stdout.write("NOVA has no legacy table: there is nothing to take.")
            return
        for row in plan.rows:
            if row.kind != LegacyRowOutcome.SAME:
                told = " ".join(map(str, (row.message, *row.warnings)))
                self.stdout.write(f"{escape_name(row.slug)}  {row.kind.value}  {told}")
        if plan.table.other_columns:
            self.stdout.write(f"Columns that are not read: {', '.join(plan.table.other_columns)}")
        verb = "taken" if stored else "would be taken"
        self.stdout.write(
            f"{len(plan.taken)} {verb}, {plan.same} the same, {len(plan.left_alone)} left alone"
        )


def read_file_or_exit(path_or_dash: str | None) -> bytes:
    """Read the file, and no more of it than an import takes. Exit with 2 where it can't be read."""
    if path_or_dash is None:
        raise CommandError("name a CSV file, or pass --legacy or --template", returncode=2)
    try:
        if path_or_dash == "-":
            return sys.stdin.buffer.read(MOST_BYTES + 1)
        with Path(path_or_dash).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(
            f"can't read {escape_name(path_or_dash)}: {error.strerror}", returncode=2
        ) from None


def describe_line(line: PlannedLine) -> str:
    words = map(str, line.problems or (", ".join(line.columns), *line.warnings))
    start = f"line {line.number}  {escape_name(line.slug) or '-'}  {line.outcome.value}"
    return "  ".join([start, *filter(None, words)])


def describe_lines(lines: Iterable[PlannedLine]) -> list[dict[str, object]]:
    return [
        {
            "line": line.number,
            "slug": line.slug,
            "outcome": line.outcome.value,
            "columns": line.columns,
            **{
                name: [{"code": each.key, "message": str(each)} for each in found]
                for name, found in (("problems", line.problems), ("warnings", line.warnings))
            },
        }
        for line in lines
    ]
