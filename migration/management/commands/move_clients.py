"""`move_clients`: one phase move each, through its gate; where a second person has to approve it, a request for it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, TypedDict

from django.core.management.base import CommandError, CommandParser
from django.db.models.functions import Collate

from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.management.acts import PlanningCommand
from migration.management.base import Options, find_user, parse_reason
from migration.management.progress import ITEMS_AT_ONCE, show_work
from migration.moves.acts import MOVE_ACTS
from migration.moves.approvals import ApprovalStepRefused, request_move, start_move_run
from migration.moves.gates import Override, ShutGate, count_overrides, needs_approval
from migration.moves.moves import move
from migration.moves.rules import EVIDENCE
from migration.runs.acts import PLANNED_AT_ONCE, Order
from migration.runs.items import Outcome
from migration.runs.models import MANY_TRIES, Run
from migration.runs.plans import PlanClass, PlannedClient
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase
from nova_credentials.shown_names import escape_name

# More are a run, as pages have it too.
MOST_AT_ONCE = 50
# The characters of the reports: some thousand clients.
MOST_IN_MEMORY = 1_000_000


def parse_override_reason(text: str) -> str:
    """Return the text of `--override`; raise ArgumentTypeError if it is empty or can't be stored."""
    if not text.strip():
        raise ArgumentTypeError("give a reason: it is stored with the move")
    return parse_reason(text.strip())


class MoveReport(TypedDict):
    """One client as printed: its phase now, and the reasons of a refusal or the message of the move."""

    slug: str
    moved: bool
    phase: str
    reasons: list[str]
    codes: list[str]


OVERRIDES = Sentence("overrides", "The request overrides missing evidence: %(lines)s")
ASKED_FOR = Sentence("asked_for", "Requested (%(run)s). Someone else has to approve it.")


class Command(PlanningCommand):
    help = "Moves clients one phase forward or back. Naming them is the confirmation; over a selection it asks."

    def add_arguments(self, parser: CommandParser) -> None:
        phases = [phase.value for phase in Phase]
        parser.add_argument("phase", choices=phases, metavar="PHASE", help="where they go")
        self.add_client_arguments(parser)
        parser.add_argument(
            "--schedule-deletion",
            action="store_true",
            help="with the phase postgres: the clients' secrets are deleted after 30 days",
        )
        parser.add_argument(
            "--override",
            type=parse_override_reason,
            metavar="REASON",
            help="move although evidence is missing, for this reason",
        )
        self.add_act_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        self.new, self.deletes = Phase(options["phase"]), options["schedule_deletion"]
        if self.deletes and self.new != Phase.POSTGRES:
            raise CommandError("--schedule-deletion goes with the phase postgres", returncode=2)
        chosen, slugs, old = self.find_clients(options), options["slugs"], options["all_in"]
        self.by, self.reason = find_user(options["by"]), options["reason"]
        self.override_reason, self.inline = options["override"] or "", options["inline"]
        self.overridden: Counter[str] = Counter()
        if options["dry_run"]:
            self.print_plan(self._iterate_plan(chosen), options)
        elif old:
            self._move_phase(Phase(old), chosen, options)
        elif not slugs:
            results, runs = self._move_many(self._ask(chosen, options))
            self._report(results, options, runs)
        elif len(slugs) > MOST_AT_ONCE:
            results, _runs = self._move_many(chosen)
            self._report(results, options)
        else:
            self._report(self._move_few(chosen), options)

    def _ask(self, chosen: ClientPhaseQuerySet, options: Options) -> ClientPhaseQuerySet:
        is_dangerous = self.new == Phase.PURGED or self.deletes or bool(self.override_reason)
        return self.ask(chosen, self._iterate_plan, options, is_dangerous=is_dangerous)

    def _iterate_plan(self, chosen: ClientPhaseQuerySet) -> Iterator[list[PlannedClient]]:
        """Yield what would become of the clients, phase by phase; of a few AWS is asked too."""
        kinds = frozenset(EVIDENCE) if self.override_reason else frozenset()
        clients = list(chosen.with_phase().order_by("slug").values_list("phase", "pk", "slug"))
        order = Order(
            self.by,
            self.override_reason or self.reason,
            {"schedule_deletion": self.deletes},
            kinds,
            interactive=len(clients) <= MOST_AT_ONCE,
        )
        by_phase: dict[str, list[tuple[int, str]]] = {}
        for phase, pk, slug in clients:
            by_phase.setdefault(phase, []).append((pk, slug))
        with show_work(self.stderr, "Plan", len(clients)) as work:
            for phase, found in by_phase.items():
                act = MOVE_ACTS.get((Phase(phase), self.new))
                for start in range(0, len(found), PLANNED_AT_ONCE):
                    some = found[start : start + PLANNED_AT_ONCE]
                    if act:
                        yield act.plan([pk for pk, _slug in some], order)
                    else:
                        yield [self._plan_refusal(pk, slug, Phase(phase)) for pk, slug in some]
                    work.done += len(some)

    def _plan_refusal(self, pk: int, slug: str, phase: Phase) -> PlannedClient:
        why = IllegalMove(slug, phase, self.new).message
        return PlannedClient(pk, slug, phase, 0, PlanClass.REFUSED, "", message=why)

    def _report(
        self, found: Iterable[MoveReport], options: Options, runs: list[Run] | None = None
    ) -> None:
        """Print what became of each client; exit with 1 if one was not moved.

        With `runs` one object is printed, which names the run: a number, a list where there are several, null for none.
        """
        clients = moved = 0
        # Their numbers are printed first, so the clients wait in a file where they are many.
        with SpooledTemporaryFile(MOST_IN_MEMORY, "w+") as kept:
            for result in found:
                clients, moved = clients + 1, moved + result["moved"]
                kept.write(f"{json.dumps(result)}\n")
            kept.seek(0)
            results = map(json.loads, kept)
            if options["format"] == "text":
                self._print_text(results, clients)
            elif runs is None:
                self.print_json_items(results)
            else:
                pks = [run.pk for run in runs]
                run = pks[0] if len(pks) == 1 else pks or None
                numbers = {"clients": clients, "moved": moved, "refused": clients - moved}
                self.print_json_items(results, {"run": run, **numbers})
        if moved < clients:
            sys.exit(1)

    def _print_text(self, results: Iterable[MoveReport], clients: int) -> None:
        for key, n in self.overridden.items():
            label = EVIDENCE[key]()
            self.stdout.write(f"Overridden: {label}, for {n} of {clients} clients.")
        for result in results:
            self.stdout.write(
                f"{escape_name(result['slug'])}: {result['phase']}"
                f"{'' if result['moved'] else ', not moved'}. {' '.join(result['reasons'])}".strip()
            )

    def _move_phase(self, old: Phase, chosen: ClientPhaseQuerySet, options: Options) -> None:
        """Move every client in the phase `old`, as a run."""
        if (old, self.new) not in MOVES:
            text = f"no client moves from {old.value} to {self.new.value}"
            raise CommandError(text, returncode=2)
        run = self._finish_moves(self._ask(chosen, options), old)
        self._report(iterate_move_reports(run), options, [run])

    def _move_many(self, chosen: ClientPhaseQuerySet) -> tuple[Iterator[MoveReport], list[Run]]:
        """Move the clients, as a run for each phase from which they can; return them by slug, and the runs."""
        others: list[tuple[str, str]] = []
        runs: list[Run] = []
        by_phase: dict[str, list[tuple[int, str]]] = {}
        for pk, slug, phase in chosen.with_phase().values_list("pk", "slug", "phase"):
            by_phase.setdefault(phase, []).append((pk, slug))
        for phase, clients in by_phase.items():
            if (Phase(phase), self.new) in MOVES:
                some = all_clients().with_ids([pk for pk, _slug in clients])
                runs.append(self._finish_moves(some, Phase(phase)))
            else:
                others += [(slug, phase) for _pk, slug in clients]
        refused = (
            make_report(slug, phase, IllegalMove(slug, Phase(phase), self.new).message)
            for slug, phase in sorted(others)
        )
        # In the order in which Python sorts, whatever the database's own is.
        done = (iterate_move_reports(run, order=Collate("slug", "C")) for run in runs)
        return merge(refused, *done, key=lambda result: result["slug"]), runs

    def _finish_moves(self, chosen: ClientPhaseQuerySet, old: Phase) -> Run:
        """Start a run of the move and wait for its end; one that needs an approval is only requested."""
        try:
            run = start_move_run(
                chosen=chosen,
                old=old,
                new=self.new,
                by=self.by,
                reason=self.reason,
                override_reason=self.override_reason,
                schedule_deletion=self.deletes,
                tries=1 if self.inline else MANY_TRIES,
            )
        except ApprovalStepRefused as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        if run.state == Run.State.RUNNING:
            self.carry_out_run(run, inline=self.inline)
        self.overridden.update(count_overrides(run))
        return run

    def _move_few(self, chosen: ClientPhaseQuerySet) -> list[MoveReport]:
        """Move the clients one after the other, in this process."""
        reason = self.override_reason
        self.override = Override(reason, self.by) if reason else None
        found = list(chosen.with_phase().order_by("slug").values_list("pk", "slug", "phase"))
        reports = []
        with show_work(self.stderr, f"Moves to {self.new.value}", len(found)) as work:
            for pk, slug, phase in found:
                kind = MOVES.get((Phase(phase), self.new))
                reports.append(self._move_client(pk, slug, self.new, kind))
                work.done = len(reports)
        return reports

    def _move_client(self, client_id: int, slug: str, new: Phase, kind: Move | None) -> MoveReport:
        """Move one client, or request the move if it needs an approval."""
        moved = False
        try:
            if kind and needs_approval(kind):
                reasons = self._request_approval(client_id, new)
            else:
                done = move(
                    client_id=client_id,
                    new=new,
                    by=self.by,
                    reason=self.reason,
                    schedule_deletion=self.deletes,
                    override=self.override,
                )
                said = done.message_with_overridden
                moved, reasons = True, [*said.parts] if said else []
                self.overridden.update(
                    check.evidence for check in done.overridden if check.evidence
                )
        except ShutGate as refusal:
            reasons = refusal.reasons
        except (IllegalMove, StalePhase, ApprovalStepRefused) as refusal:
            reasons = [refusal.message]
        (phase,) = self.find_named_clients([slug]).with_phase().values_list("phase", flat=True)
        return make_report(slug, phase, *reasons, moved=moved)

    def _request_approval(self, client_id: int, new: Phase) -> list[Message]:
        """Request the move. Needs `--by`: somebody else than the user named there has to approve it."""
        asked = request_move(
            client_id=client_id,
            new=new,
            by=self.by,
            reason=self.reason,
            override=self.override,
        )
        lines = tuple(asked.overridden)
        overrides = [OVERRIDES(lines=lines)] if lines else []
        return [ASKED_FOR(run=asked.run.name_message), *overrides, *asked.waits_for]


def make_report(slug: str, phase: str, *reasons: Message, moved: bool = False) -> MoveReport:
    """Return what is printed of one client."""
    return {
        "slug": slug,
        "moved": moved,
        "phase": phase,
        "reasons": [str(reason) for reason in reasons],
        "codes": [reason.key for reason in reasons],
    }


MOVES_ASKED_FOR = Sentence(
    "moves_asked_for", "Requested (%(run)s). Someone else has to approve it."
)


def iterate_move_reports(run: Run, *, order: str | Collate = "slug") -> Iterator[MoveReport]:
    """Yield, for each client of a run of moves, its phase now and what became of its move, some in memory at a time."""
    waits = MOVES_ASKED_FOR(run=run.name_message)
    items = run.items.order_by(order).iterator(chunk_size=ITEMS_AT_ONCE)
    while some := list(islice(items, ITEMS_AT_ONCE)):
        there = all_clients().with_ids([item.client_id for item in some])
        phases = dict(there.with_phase().values_list("pk", "phase"))
        for item in some:
            said = item.message or (waits if run.state == Run.State.REQUESTED else None)
            moved = item.outcome == Outcome.MOVED
            phase = phases.get(item.client_id, Phase.POSTGRES.value)
            yield make_report(item.slug, phase, *(said.parts if said else ()), moved=moved)
