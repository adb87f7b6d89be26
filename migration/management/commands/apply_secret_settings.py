"""`apply_secret_settings`: gives secrets the tags, description, KMS key and replicas of the settings."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from migration.core.clients import ClientPhaseQuerySet
from migration.management.base import ClientsCommand, Options
from migration.runs.models import Run
from migration.secrets.settings import describe_settings, look_at_secrets
from nova_credentials.shown_names import escape_name


class Command(ClientsCommand):
    takes_locks = True
    help = (
        "Gives clients' secrets the KMS key and the replicas that NOVA_KMS_KEY_ID and NOVA_REPLICA_REGIONS name, and"
        " this site's tags and description. No value and no version changes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_client_arguments(parser)
        self.add_format(parser)
        parser.add_argument(
            "--check", action="store_true", help="print what differs now, change nothing"
        )
        self.add_run_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        chosen = self.find_clients(options)
        if options["check"]:
            self._print_differences(chosen, options)
            return
        run = self.start_run_and_wait(
            options,
            kind=Run.Kind.SECRET_SETTINGS,
            chosen=chosen,
            secret_settings=describe_settings(),
        )
        self.report_run(run, options)

    def _print_differences(self, chosen: ClientPhaseQuerySet, options: Options) -> None:
        """Print what differs, a line for each difference or problem; exit with 1 if there is one."""
        found = [
            {
                "slug": slug,
                "name": look.name,
                "differences": [str(message) for message in look.changes.messages],
                "codes": [message.key for message in look.changes.messages],
                "problem": str(look.problem or ""),
            }
            for pk, slug in chosen.order_by("pk").values_list("pk", "slug")
            for look in look_at_secrets(client_id=pk)
        ]
        differing = [each for each in found if each["differences"] or each["problem"]]
        if options["format"] == "json":
            self.print_json({"secrets": len(found), "differing": len(differing), "items": found})
        else:
            for each in differing:
                for text in (*each["differences"], each["problem"]):
                    if text:
                        self.stdout.write(f"{escape_name(str(each['name']))}  {text}")
            self.stdout.write(f"{len(found)} secrets, {len(differing)} differing")
        if differing:
            sys.exit(1)
