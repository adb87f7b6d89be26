"""`move_clients`: one phase move each, through its gate; where a second person has to approve it, a request for it."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

from django.core.management.base import CommandError

from credentials.shown_names import show_name
from migration import evidence_sentences, sentences
from migration.management.base import ClientsCommand, find_user
from migration.models import MOVE_PERMISSIONS, ReasonError, check_reason
from migration.operations.account import AccountAnswers
from migration.operations.approvals import NotApproved, request_move
from migration.operations.gates import Override, ShutGate, needs_approval
from migration.operations.moves import move
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from nova_credentials.messages import Message


def read_override(text: str) -> str:
    """Return the text of `--override`; raise ArgumentTypeError if it is empty or can't be stored."""
    if not text.strip():
        raise ArgumentTypeError("give a reason: it is stored with the move")
    return read_reason(text.strip())


def read_reason(text: str) -> str:
    """Return the text of `--reason`; raise ArgumentTypeError if it can't be stored."""
    try:
        check_reason(text)
    except ReasonError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


class MoveReport(TypedDict):
    """One client as printed: its phase now, and the reasons of a refusal or the message of the move."""

    slug: str
    moved: bool
    phase: str
    reasons: list[str]
    codes: list[str]


class Command(ClientsCommand):
    takes_locks = True
    help = "Moves clients one phase forward or back; naming them is the confirmation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("phase", choices=[phase.value for phase in Phase], metavar="PHASE")
        parser.add_argument("slugs", nargs="+", metavar="SLUG", help="the clients, by slug")
        parser.add_argument("--reason", type=read_reason, default="", help="stored with the move")
        parser.add_argument(
            "--schedule-deletion",
            action="store_true",
            help="with the phase postgres: the clients' secrets are deleted after 30 days",
        )
        parser.add_argument(
            "--override",
            type=read_override,
            metavar="REASON",
            help="move although evidence is missing, for this reason",
        )
        parser.add_argument("--by", metavar="USER", help="the user in whose name it is done")
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        new, self.deletes = Phase(options["phase"]), options["schedule_deletion"]
        if self.deletes and new != Phase.POSTGRES:
            raise CommandError("--schedule-deletion goes with the phase postgres", returncode=2)
        self.by, self.reason = find_user(options["by"]), options["reason"]
        reason = options["override"]
        self.override = Override(reason, self.by) if reason else None
        self.answers = AccountAnswers()
        self.overridden: Counter[str] = Counter()
        chosen = self.find_named_clients(options["slugs"]).with_phase().order_by("slug")
        results = [
            self._move_client(pk, slug, new, MOVES.get((Phase(phase), new)))
            for pk, slug, phase in chosen.values_list("pk", "slug", "phase")
        ]
        if options["format"] == "json":
            self.print_json(results)
        else:
            for key, n in self.overridden.items():
                label = evidence_sentences.EVIDENCE[key]()
                self.stdout.write(f"Overridden: {label}, for {n} of {len(results)} clients.")
            for result in results:
                self.stdout.write(
                    f"{show_name(result['slug'])}: {result['phase']}"
                    f"{'' if result['moved'] else ', not moved'}. {' '.join(result['reasons'])}".strip()
                )
        if not all(result["moved"] for result in results):
            sys.exit(1)

    def _move_client(self, client_id: int, slug: str, new: Phase, kind: Move | None) -> MoveReport:
        """Move one client, or request the move if it needs an approval."""
        moved = False
        try:
            if kind and needs_approval(kind):
                reasons = self._request_approval(client_id, new, kind)
            else:
                done = move(
                    client_id=client_id,
                    new=new,
                    by=self.by,
                    reason=self.reason,
                    schedule_deletion=self.deletes,
                    override=self.override,
                    answers=self.answers,
                )
                said = done.full_message
                moved, reasons = True, [*said.parts] if said else []
                self.overridden.update(
                    check.evidence for check in done.overridden if check.evidence
                )
        except ShutGate as refusal:
            reasons = refusal.reasons
        except (IllegalMove, StalePhase, NotApproved) as refusal:
            reasons = [refusal.message]
        (phase,) = self.find_named_clients([slug]).with_phase().values_list("phase", flat=True)
        return {
            "slug": slug,
            "moved": moved,
            "phase": phase,
            "reasons": [str(reason) for reason in reasons],
            "codes": [reason.key for reason in reasons],
        }

    def _request_approval(self, client_id: int, new: Phase, kind: Move) -> list[Message]:
        """Request the move. Needs `--by`: somebody else than the user named there has to approve it."""
        if self.by is None or not self.reason:
            return [sentences.ASK_BY_COMMAND()]
        if not self.by.has_perm(MOVE_PERMISSIONS[kind]):
            return [sentences.MAY_NOT_ASK(who=str(self.by))]
        asked = request_move(
            client_id=client_id,
            new=new,
            by=self.by,
            reason=self.reason,
            override=self.override,
        )
        lines = tuple(asked.overridden)
        overrides = [evidence_sentences.OVERRIDES(lines=lines)] if lines else []
        return [sentences.ASKED_FOR(id=str(asked.pk)), *overrides, *asked.reasons]
