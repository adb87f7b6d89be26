"""`offboard_client`: purges a client's rows and schedules the deletion of its secrets; `--back` undoes both."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.clients.offboarding import (
    Leftovers,
    OffboardingError,
    bring_back_as_inactive,
    find_leftovers,
    offboard_client,
)
from migration.core.audit import ReasonError
from migration.core.clients import Offboarding
from migration.management.base import FormattedCommand, find_client, find_user
from nova_credentials.shown_names import escape_name


class Command(FormattedCommand):
    takes_locks = True
    help = (
        "Offboards an inactive client: pointers replace the values in its rows, and its secrets are deleted after the"
        " recovery window. Until then --back brings it back, inactive, to the phase it left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", metavar="SLUG", help="the client, by slug")
        parser.add_argument("--back", action="store_true", help="bring the client back")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what is left where, and what keeps it"
        )
        parser.add_argument("--reason", default="", help="kept with what is done")
        parser.add_argument(
            "--acknowledge-reads",
            action="store_true",
            help="although NOVA's reader read the client in the last days",
        )
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="migration.purge_client")
        client = find_client(options["slug"])
        message = None
        if not options["dry_run"]:
            message = self._perform(client.pk, options, by)
        left = find_leftovers(client_id=client.pk)
        if options["format"] == "json":
            self.print_json(to_json(left) | {"message": message})
            return
        if message:
            self.stdout.write(message)
        else:
            self._print_text(left)

    def _perform(self, client_id: int, options: Any, by: Any) -> str:
        try:
            if options["back"]:
                return str(
                    bring_back_as_inactive(client_id=client_id, reason=options["reason"], by=by)
                )
            done = offboard_client(
                client_id=client_id,
                reason=options["reason"],
                by=by,
                acknowledged=options["acknowledge_reads"],
            )
        except ReasonError as error:
            raise CommandError(str(error), returncode=2) from None
        except OffboardingError as error:
            raise CommandError(str(error), returncode=1) from None
        return str(done)

    def _print_text(self, left: Leftovers) -> None:
        told = to_json(left)
        for name in ("state", "phase", "active", "recent_read", "legacy_rows"):
            self.stdout.write(f"{name.replace('_', ' ')}: {told[name]}")
        for row in left.rows:
            self.stdout.write(f"{row.name}: {row.holds}")
        for secret in left.secrets:
            self.stdout.write(f"{secret.name}: {secret.problem or name_state(secret)}")
        for copy in left.copies.found:
            self.stdout.write(f"copy in {escape_name(copy.table)}.{escape_name(copy.column)}")
        for why in left.objections:
            self.stdout.write(str(why))


def name_state(secret: Any) -> str:
    """Return what AWS says of the secret, in a word."""
    if secret.problem:
        return "unknown"
    if not secret.is_there:
        return "absent"
    return "scheduled" if secret.is_deleted else "present"


def to_json(left: Leftovers) -> dict[str, object]:
    """Return the rows, secrets and copies that are left of a client, for the JSON that the command prints."""
    leaving: Offboarding | None = left.leaving
    return {
        "slug": left.slug,
        "state": leaving.state if leaving else None,
        "phase": left.phase.value,
        "active": left.active,
        "rows": [{"row": str(row.name), "holds": row.holds.value} for row in left.rows],
        "secrets": [
            {"name": each.name, "state": name_state(each), "deletes_at": each.deletes_at}
            for each in left.secrets
        ],
        "copies": [
            {"table": copy.table, "column": copy.column, "rows": copy.rows}
            for copy in left.copies.found
        ],
        "searched_at": left.copies.searched_at,
        "legacy_rows": left.legacy_rows,
        "recent_read": left.recent_read_at,
        "objections": [str(why) for why in left.objections],
    }
