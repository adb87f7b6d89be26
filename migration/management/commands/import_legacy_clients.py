"""`import_legacy_clients`: takes over what only NOVA's legacy table holds. All or nothing."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from credentials.legacy import LegacyTableError
from migration.clients.legacy import (
    LegacyPlan,
    LegacyRowOutcome,
    NothingImported,
    import_legacy_clients,
    plan_legacy_import,
)
from migration.management.base import FormattedCommand, find_user
from migration.people.roles import LEGACY_IMPORT_PERMISSIONS
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import LEGACY_CREDENTIALS


class Command(FormattedCommand):
    help = (
        "Adds the clients, and the database logins, that only NOVA's legacy table client_credentials holds."
        " Rows that differ from the newer tables are listed and left alone. The legacy table is only read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be taken")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        for permission in LEGACY_IMPORT_PERMISSIONS:
            by = find_user(options["by"], permission=permission)
        try:
            plan = plan_legacy_import() if options["dry_run"] else import_legacy_clients(by=by)
        except (LegacyTableError, NothingImported) as error:
            raise CommandError(str(error), returncode=1) from None
        if options["format"] == "json":
            self._print_json(plan, stored=not options["dry_run"])
        else:
            self._print_text(plan, stored=not options["dry_run"])
        if plan.left_alone:
            sys.exit(1)

    def _print_json(self, plan: LegacyPlan, *, stored: bool) -> None:
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
                    {"slug": row.slug, "kind": row.kind.value, "message": str(row.message)}
                    for row in plan.rows
                ],
            }
        )

    def _print_text(self, plan: LegacyPlan, *, stored: bool) -> None:
        if not plan.table.exists:
            self.stdout.write("NOVA has no legacy table: there is nothing to take.")
            return
        for row in plan.rows:
            if row.kind != LegacyRowOutcome.SAME:
                self.stdout.write(f"{escape_name(row.slug)}  {row.kind.value}  {row.message}")
        if plan.table.other_columns:
            self.stdout.write(f"Columns that are not read: {', '.join(plan.table.other_columns)}")
        verb = "taken" if stored else "would be taken"
        self.stdout.write(
            f"{len(plan.taken)} {verb}, {plan.same} the same, {len(plan.left_alone)} left alone"
        )
