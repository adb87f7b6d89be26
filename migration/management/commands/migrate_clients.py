"""`migrate_clients`: pushes, verifies, and moves clients from `postgres` to `dual_write`; `--dry-run` is its plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import cast

from django.core.management.base import CommandParser

from migration.core.clients import ClientPhaseQuerySet
from migration.management.acts import MOST_IN_MEMORY, ActCommand
from migration.management.base import Options
from migration.management.progress import Item, name_outcome, show_work
from migration.pushes.plans import PlanSummary, describe_client, look_at_batches, summarize_plan
from migration.runs.acts import Order
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlanCounts, PlannedClient
from nova_credentials.shown_names import escape_name

LEFT_ALONE = ("left_alone", "left_to_aws")


class Command(ActCommand):
    act_code = "push"
    help = "Pushes clients to Secrets Manager, reads them back, and starts to write them to both stores."

    def add_act_arguments(self, parser: CommandParser) -> None:
        super().add_act_arguments(parser)
        self.add_adoption_argument(parser)
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="write also clients that differ where somebody else wrote AWS's version, up to the cutover",
        )
        parser.add_argument(
            "--include-inactive", action="store_true", help="include inactive clients"
        )

    def start(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> Run:
        return Run.start(
            kind=Run.Kind.MIGRATE,
            chosen=chosen,
            adopt=options["adopt"],
            overwrite=options["overwrite"],
            include_inactive=options["include_inactive"],
            **order.run_options,
        )

    def show_plan(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> None:
        """Print what a run would do, in the same form as a run, and the numbers of the plan."""
        self.show_foreign_secrets(chosen, options)
        counts, outcomes = PlanCounts(), Counter[str]({outcome.value: 0 for outcome in Outcome})
        differing = 0
        # Its numbers are printed first, so the clients wait in a file where they are many.
        with SpooledTemporaryFile(MOST_IN_MEMORY, "w+") as kept:
            for found in self.iterate_plan(chosen, order, options):
                counts.add(found)
                for item in map(describe_client, found):
                    outcomes[item["outcome"]] += 1
                    differing += item["code"] in LEFT_ALONE
                    kept.write(f"{json.dumps(item)}\n")
            kept.seek(0)
            items, summary = map(json.loads, kept), summarize_plan(counts)
            if options["format"] == "json":
                numbers = {"run": None, "clients": counts.clients, **outcomes}
                compared = {"matched": 0, "mismatched": differing, "plan": summary.to_json()}
                self.print_json_items(items, {**numbers, **compared})
            else:
                for item in items:
                    self.print_item(item)
                self.stdout.write(describe_summary(summary))
        if outcomes["failed"] or differing:
            raise SystemExit(1)

    def iterate_plan(
        self, chosen: ClientPhaseQuerySet, order: Order, options: Options
    ) -> Iterator[list[PlannedClient]]:
        with show_work(self.stderr, "Plan", chosen.count()) as work:
            for found in look_at_batches(make_unsaved_run(chosen, options)):
                yield found
                work.done += len(found)

    def print_item(self, item: Item) -> None:
        """Print a client's outcome in one line, and a line for each secret that the run replaces."""
        words = (name_outcome(item), item["error_class"], item["message"])
        self.stdout.write("  ".join([escape_name(str(item["slug"])), *filter(None, words)]))
        for secret in cast("list[dict[str, str]]", item.get("replaced", [])):
            who = (
                f"this site ({secret['who'] or '?'})" if secret["by_this_site"] else "somebody else"
            )
            when = secret["written_at"] or "time unknown"
            self.stdout.write(
                f"    {secret['name']}: version {secret['version_id']} by {who}, {when}"
            )


def make_unsaved_run(chosen: ClientPhaseQuerySet, options: Options) -> Run:
    """Return a run over the clients as the options ask for it, to be looked at and not stored."""
    return Run(
        chosen=None if options["all"] else sorted(chosen.values_list("pk", flat=True)),
        adopt=options["adopt"],
        overwrite=options["overwrite"],
        include_inactive=options["include_inactive"],
    )


def describe_summary(summary: PlanSummary) -> str:
    """Return one line: what a run would do, how long it takes at least and what it costs."""
    counts = ", ".join(
        f"{number} {PlanClass(name).label}" for name, number in summary.counts.items() if number
    )
    return (
        f"{summary.clients} clients: {counts or 'none'}; at least {summary.seconds} s,"
        f" {summary.batch_reads} batch reads, {summary.creates} creates, {summary.updates} updates;"
        f" {summary.dollars_a_month} dollars a month, {summary.new_dollars_a_month} of them new"
    )
