"""`migrate_clients`: pushes, verifies, and moves clients from `postgres` to `dual_write`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migration.management.base import ClientsCommand
from migration.management.run_items import describe_message
from migration.models import Outcome, Run
from migration.operations.pushes import push

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from migration.management.base import Options


class Command(ClientsCommand):
    takes_locks = True
    help = "Pushes clients to Secrets Manager, reads them back, and starts to write them to both stores."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_choice(parser)
        self.add_format(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would happen, write nothing"
        )
        parser.add_argument(
            "--inline", action="store_true", help="in this process, without workers"
        )
        parser.add_argument(
            "--adopt",
            action="store_true",
            help="take over secrets of the same name that are not ours",
        )
        parser.add_argument(
            "--include-inactive", action="store_true", help="include inactive clients"
        )

    def handle(self, *args: object, **options: Any) -> None:
        chosen = self.find_clients(options)
        if options["dry_run"]:
            self._print_dry_run(list(chosen.order_by("pk").values_list("pk", flat=True)), options)
            return
        run = self.finish_run(
            inline=options["inline"],
            kind=Run.Kind.MIGRATE,
            chosen=chosen,
            adopt=options["adopt"],
            include_inactive=options["include_inactive"],
        )
        self.report_run(run, options)

    def _print_dry_run(self, client_ids: list[int], options: Options) -> None:
        """Print what a run would do, in the same form as a run."""
        results = []
        for start in range(0, len(client_ids), Run.BATCH):
            results += push(
                client_ids=client_ids[start : start + Run.BATCH],
                adopt=options["adopt"],
                include_inactive=options["include_inactive"],
                dry_run=True,
            )
        counts = {
            outcome.value: sum(result.outcome == outcome for result in results)
            for outcome in Outcome
        }
        items = [
            {
                "slug": r.slug,
                "outcome": str(r.outcome),
                "error_class": str(r.error_class),
                **describe_message(r.message),
            }
            for r in results
        ]
        self.report_counts(
            {"run": None, "clients": len(results), **counts, "matched": 0, "mismatched": 0},
            items,
            options,
        )
