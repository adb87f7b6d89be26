"""`apply_secret_settings`: gives secrets the tags, description, KMS key and replicas of the settings."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from migration.core.clients import ClientPhaseQuerySet
from migration.management.acts import ActCommand
from migration.management.base import Options
from migration.management.progress import show_work
from migration.runs.acts import Order
from migration.runs.plans import PlanClass, PlannedClient, Reason
from migration.secrets.settings import SETTINGS_STILL_DIFFER, SecretLook, look_at_secrets
from nova_credentials.messages import Sentence, in_a_row
from nova_credentials.shown_names import escape_name

CHECK_IS_DRY_RUN = Sentence(
    "check_is_dry_run", "--check is now --dry-run. The next release removes the old name."
)


class Command(ActCommand):
    act_code = "secret_settings"
    help = (
        "Gives clients' secrets the KMS key and the replicas that NOVA_KMS_KEY_ID and NOVA_REPLICA_REGIONS name, and"
        " this site's tags and description. No value and no version changes."
    )

    def add_act_arguments(self, parser: CommandParser) -> None:
        super().add_act_arguments(parser)
        # Its name in former releases, with a form of its own.
        parser.add_argument("--check", action="store_true", help=SUPPRESS)

    def handle(self, *args: object, **options: Any) -> None:
        if options["check"]:
            self.stderr.write(str(CHECK_IS_DRY_RUN()))
            self._print_differences(self.choose_clients(options), options)
        else:
            super().handle(*args, **options)

    def show_plan(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> None:
        self.print_plan(self._ask_aws(chosen), options)

    def _ask_aws(self, chosen: ClientPhaseQuerySet) -> Iterator[list[PlannedClient]]:
        """Ask AWS, client by client, what is otherwise: a page shows what was known of that."""
        clients = list(chosen.order_by("slug").values_list("pk", "slug"))
        with show_work(self.stderr, "Plan", len(clients)) as work:
            for pk, slug in clients:
                yield [plan_client(pk, slug, look_at_secrets(client_id=pk))]
                work.done += 1

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


def plan_client(client_id: int, slug: str, looks: list[SecretLook]) -> PlannedClient:
    """Return what would be done to the client's secrets, as AWS describes them now."""
    reasons = [Reason(look.problem, look.problem.key) for look in looks if look.problem]
    differing = [
        SETTINGS_STILL_DIFFER(name=look.name, differences=tuple(look.changes.messages))
        for look in looks
        if look.changes.messages
    ]
    verdict = PlanClass.WILL if differing else PlanClass.NOTHING
    return PlannedClient(
        client_id,
        slug,
        "",
        revision=0,
        plan_class=PlanClass.REFUSED if reasons else verdict,
        outcome="",
        message=in_a_row(*differing),
        reasons=tuple(reasons),
    )
