"""`move_clients`: one phase move each, through its gate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management import CommandError

from migration.management.base import ClientsCommand
from migration.operations.gates import ShutGate
from migration.operations.moving import move
from migration.phases import IllegalMove, Phase, StalePhase

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(ClientsCommand):
    help = "Moves clients one phase forward or back; naming them is the confirmation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phase", choices=[phase.value for phase in Phase], metavar="PHASE")
        parser.add_argument("slugs", nargs="+", metavar="SLUG", help="the clients, by slug")
        parser.add_argument("--reason", default="", help="is kept with the move")
        parser.add_argument(
            "--schedule-deletion",
            action="store_true",
            help="with the phase postgres: the clients' secrets are deleted after 30 days",
        )
        self.add_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        new, deletes = Phase(options["phase"]), options["schedule_deletion"]
        if deletes and new != Phase.POSTGRES:
            raise CommandError("--schedule-deletion goes with the phase postgres", returncode=2)
        chosen = self.named(options["slugs"]).order_by("slug")
        results = [
            self._move(pk, slug, new, reason=options["reason"], schedule_deletion=deletes)
            for pk, slug in chosen.values_list("pk", "slug")
        ]
        if options["format"] == "json":
            self.print_json(results)
        else:
            for result in results:
                self.stdout.write(
                    f"{result['slug']}: {result['phase']}"
                    f"{'' if result['moved'] else ', not moved'}. {' '.join(result['reasons'])}".strip()
                )
        if not all(result["moved"] for result in results):
            sys.exit(1)

    def _move(self, client_id: int, slug: str, new: Phase, **how: Any) -> dict[str, Any]:
        """What became of one client: `reasons` are those of a refusal, or what is to be said of the move."""
        try:
            moved = move(client_id=client_id, new=new, **how)
        except ShutGate as refusal:
            reasons = refusal.reasons
        except (IllegalMove, StalePhase) as refusal:
            reasons = [str(refusal)]
        else:
            reasons = [moved.message] if moved.message else []
            return {"slug": slug, "moved": True, "phase": moved.new.value, "reasons": reasons}
        (phase,) = self.named([slug]).with_phase().values_list("phase", flat=True)
        return {"slug": slug, "moved": False, "phase": phase, "reasons": reasons}
