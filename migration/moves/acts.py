"""Every move of clients from one phase to another as an act: planned by its gate, made at once or as a run."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from unfold.widgets import UnfoldBooleanWidget

from credentials.localization import intcomma, localize
from credentials.nova_columns import NovaSchemaError
from migration.core.clients import (
    MOVE_PERMISSIONS,
    VIEW_RUNS,
    ClientMigration,
    ClientPhaseQuerySet,
    PhaseChange,
    PhaseChoices,
    all_clients,
)
from migration.core.sentences import IS_OFFBOARDED
from migration.core.snapshots import ClientSnapshot, read_snapshots_for_page
from migration.moves.account import KmsAnswers
from migration.moves.approvals import (
    ASKED_ALREADY,
    ApprovalStepRefused,
    request_move,
    start_move_run,
)
from migration.moves.checklists import find_fix
from migration.moves.gates import (
    NEED_APPROVAL,
    OVERRIDE_PERMISSION,
    Override,
    ShutGate,
    ask_account,
    needs_approval,
    split_by_override,
)
from migration.moves.moves import move
from migration.moves.rules import (
    EVIDENCE,
    Ask,
    Check,
    find_end_of_purge_wait,
    judge_gates,
)
from migration.runs.acts import (
    Act,
    ActForm,
    ActRefused,
    Done,
    Menu,
    Order,
    mark_overridden,
    read_overridden,
    register_act,
)
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlannedClient, Reason, Remedy
from migration.runs.starts import get_run_url
from nova_credentials.messages import Message, Sentence, describe_duration
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# For so long a page asks AWS whether the account may read; clients after that are judged by the database alone. The
# move itself asks again in any case, and tries whether it may write, which opening a page does not.
ASK_AWS_FOR_SECONDS = 15.0
# These pass a gate; a move back does not.
HAVE_GATES = (Move.FORWARD, Move.CUTOVER, Move.PURGE)

ALREADY_THERE = Sentence("already_there", "Already in %(phase)s.")
NOT_FROM_THERE = Sentence(
    "not_from_there", "In %(phase)s. Only clients in %(old)s can move to %(new)s."
)
PURGE_TOO_EARLY = Sentence(
    "purge_too_early",
    "No page offers this purge for another %(time)s, and no missing evidence can be overridden here.",
)
REQUEST_WAITS = Sentence("request_waits", "The request waits until every check passes.")
MOVED_BY_OTHER = Sentence(
    "moved_by_other", "Nothing was done: %(who)s moved %(slug)s to %(phase)s %(ago)s ago."
)
A_COMMAND = Sentence("a_command", "A command")


class MoveAct(Act):
    """A move from the phase `old` to `new`. A subclass has its words."""

    menu = Menu.MOVE
    in_client_menu = False  # its next step has them
    waits_for_one = True
    old: ClassVar[Phase]
    new: ClassVar[Phase]
    # Where a second person has to approve it.
    request_question_for_one: ClassVar[StrOrPromise] = ""
    request_question: ClassVar[StrOrPromise] = ""
    request_button: ClassVar[StrOrPromise] = ""

    def __init_subclass__(cls) -> None:
        kind = MOVES[cls.old, cls.new]
        cls.permission = MOVE_PERMISSIONS[kind]
        cls.needs_reason = cls.needs_typing = kind in NEED_APPROVAL
        if kind in NEED_APPROVAL:
            cls.evidence_kinds = frozenset(EVIDENCE)

    @property
    def kind(self) -> Move:
        return MOVES[self.old, self.new]

    @property
    def goes_back(self) -> bool:
        return self.kind not in HAVE_GATES

    @property
    def needs_approval(self) -> bool:
        return needs_approval(self.kind)

    def ask(self, number: int, name: str) -> str:
        if not self.needs_approval:
            return super().ask(number, name)
        if name:
            return self.request_question_for_one % {"name": name}
        return self.request_question % {"number": number, "n": intcomma(number)}

    def name_button(self, number: int) -> str:
        if not self.needs_approval:
            return super().name_button(number)
        return self.request_button % {"number": number, "n": intcomma(number)}

    def may_override(self, user: Any) -> bool:
        return bool(self.evidence_kinds) and bool(user.has_perm(OVERRIDE_PERMISSION))

    def name_evidence(self, kind: str) -> str:
        return localize(EVIDENCE[kind]())

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        if not self.goes_back:
            return super().see(client_ids)
        # A way back is open whatever else was found since.
        rows = all_clients().with_phase().with_ids(client_ids).order_by()
        return dict(rows.values_list("pk", "phase"))

    def explain_change(self, client_id: int) -> Message | None:
        found = ClientMigration.objects.filter(pk=client_id).first()
        change = PhaseChange.objects.filter(client_id=client_id).order_by("-pk").first()
        if change is None or (found and found.phase == self.old):
            return None
        return MOVED_BY_OTHER(
            who=change.by_name or A_COMMAND(),
            slug=change.slug,
            phase=Phase(change.new).label,
            ago=change.changed_at,
        )

    def make_override(self, order: Order, client_ids: Collection[int]) -> Override | None:
        """Return the override of evidence of these kinds; None where none is wanted, or a purge comes before its time.

        No page offers a purge then: so nothing is overridden either. Nor what no page has shown to be missing.
        """
        kinds = self.evidence_kinds & order.overrides
        if order.seen:
            kinds &= read_overridden("".join(order.seen[pk] for pk in client_ids))
        if not kinds or self.find_early_purges(client_ids):
            return None
        return Override(order.reason, order.by, kinds=kinds)

    def find_early_purges(
        self, client_ids: Collection[int] | QuerySet[Any, int]
    ) -> dict[int, Message]:
        """Return why these clients can't be purged yet, whatever evidence there is."""
        if self.kind != Move.PURGE:
            return {}
        rows = ClientMigration.objects.filter(pk__in=client_ids)
        ends = {
            pk: find_end_of_purge_wait(since)
            for pk, since in rows.values_list("pk", "phase_changed_at")
        }
        now = timezone.now()
        return {
            pk: PURGE_TOO_EARLY(time=describe_duration(end - now))
            for pk, end in ends.items()
            if end
        }

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        clients = all_clients().with_phase().with_revision().with_leaving().with_ids(client_ids)
        columns = ("pk", "slug", "phase", "revision", "is_leaving_or_left")
        rows = list(clients.order_by("slug").values_list(*columns))
        movable = [
            pk for pk, _slug, phase, _revision, leaves in rows if phase == self.old and not leaves
        ]
        checks = self.check_gates(movable, order) if not self.goes_back else {}
        override, early = self.make_override(order, movable), self.find_early_purges(movable)
        asked = Run.objects.find_requested(movable) if self.needs_approval else {}
        # One request waits for its checks; of a run each client is refused whose gate is shut at its turn.
        waits = self.needs_approval and order.interactive and len(client_ids) == 1
        planned = []
        for pk, slug, phase, revision, leaves in rows:
            verdict, message, reasons, overridden = PlanClass.WILL, None, [], ""
            if phase != self.old:
                is_there = phase == self.new if self.goes_back else _has_reached(phase, self.new)
                verdict = PlanClass.NOTHING if is_there else PlanClass.REFUSED
                message = self.explain_other_phase(Phase(phase), is_there=is_there)
            elif leaves:
                verdict, message = PlanClass.REFUSED, IS_OFFBOARDED(slug=slug)
            else:
                shut = [check for check in checks.get(pk, ()) if not check.passed]
                failed = split_by_override(shut, override)
                overridden = mark_overridden(
                    *sorted({check.evidence for check in failed.overridden})
                )
                marks = self.evidence_kinds and pk not in early
                reasons = [
                    show_check(pk, check, override, marks_evidence=bool(marks))
                    for check in [
                        *(each for each in failed.shut if each not in shut),
                        *shut,
                        *(each for each in checks.get(pk, ()) if each.passed),
                    ]
                    if order.interactive or not check.passed
                ]
                if pk in asked:
                    find_remedy = partial(_link_request, run=asked[pk])
                    text = ASKED_ALREADY(slug=slug)
                    reasons.insert(0, Reason(text, text.key, find_remedy=find_remedy))
                if pk in asked or pk in early:
                    verdict, message = PlanClass.REFUSED, early.get(pk)
                elif failed.shut:
                    verdict = PlanClass.WILL if waits else PlanClass.REFUSED
                    message = REQUEST_WAITS() if waits else None
            planned.append(
                PlannedClient(
                    pk,
                    slug,
                    phase,
                    revision,
                    verdict,
                    outcome="",
                    message=message,
                    reasons=tuple(reasons),
                    seen=overridden,
                )
            )
        return planned

    def explain_other_phase(self, phase: Phase, *, is_there: bool) -> Message:
        """Say why a client that isn't in `old` is not moved."""
        if is_there:
            return ALREADY_THERE(phase=phase.label)
        return NOT_FROM_THERE(phase=phase.label, old=self.old.label, new=self.new.label)

    def check_gates(self, client_ids: Collection[int], order: Order) -> dict[int, list[Check]]:
        """Return the checks of these clients.

        Of a few AWS is asked too whether it may be read, while somebody waits; a stored plan leaves that to the run.
        """
        snapshots: dict[int, ClientSnapshot] = {}
        if order.interactive:
            try:
                snapshots = read_snapshots_for_page(client_ids)
            except NovaSchemaError as error:
                shut = [Check(why.key, False, why) for why in error.message.parts]
                return dict.fromkeys(client_ids, shut)
        accounts, answers = dict[int, list[Check]](), KmsAnswers()
        give_up_at = time.monotonic() + ASK_AWS_FOR_SECONDS
        for pk, snapshot in snapshots.items():
            if time.monotonic() > give_up_at:
                break
            accounts[pk] = ask_account(snapshot, self.new, answers, only_reads=True)
        judged = judge_gates(Ask(client_ids), self.new)
        return {pk: [*checks, *accounts.get(pk, ())] for pk, checks in judged.items()}

    def do_one(self, client_id: int, order: Order) -> Done:
        if early := self.find_early_purges([client_id]):
            raise ActRefused(early[client_id])
        override = self.make_override(order, [client_id])
        try:
            if self.needs_approval:
                made = request_move(
                    client_id=client_id,
                    new=self.new,
                    by=order.by,
                    reason=order.reason,
                    seen=self.old,
                    override=override,
                )
                text = _("Requested (%(what)s). Someone else has to approve it.")
                reasons = map(localize, made.waits_for)
                return Done(" ".join([text % {"what": made.run}, *reasons]))
            moved = move(
                client_id=client_id,
                new=self.new,
                seen=self.old,
                by=order.by,
                reason=order.reason,
                schedule_deletion=bool(order.values.get("schedule_deletion")),
                override=override,
            )
        except ShutGate as refusal:
            raise ActRefused(refusal.message, refusal.codes) from None
        except StalePhase as refusal:
            raise ActRefused(self.explain_change(client_id) or refusal.message) from None
        except (IllegalMove, ApprovalStepRefused) as refusal:
            raise ActRefused(refusal.message) from None
        return Done(
            describe_move(moved.slug, moved.new, moved.message, old=self.old),
            notes=[localize(moved.message_about_overridden)]
            if moved.message_about_overridden
            else (),
        )

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.MOVE, "move_from": self.old.value, "move_to": self.new.value}

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run:
        kinds = [kind for kind in EVIDENCE if kind in self.evidence_kinds & order.overrides]
        if early := self.find_early_purges(chosen.order_by().values_list("pk", flat=True)):
            raise ActRefused(next(iter(early.values())))
        try:
            return start_move_run(
                chosen=chosen,
                old=self.old,
                new=self.new,
                by=order.by,
                reason=order.reason,
                override_reason=order.reason if kinds else "",
                override_lines=kinds,
                schedule_deletion=bool(order.values.get("schedule_deletion")),
                only_where_equal=bool(order.values.get("only_where_equal")),
                tries=order.tries,
                wave=order.wave,
                planned=order.planned,
            )
        except ApprovalStepRefused as refusal:
            raise ActRefused(refusal.message) from None


def _has_reached(phase: str, new: Phase) -> bool:
    """Say whether a client in this phase has made the move forward to `new`, whether or not another one since."""
    line = list(Phase)
    return line.index(Phase(phase)) >= line.index(new)


def _link_request(request: HttpRequest, _back: str, *, run: Run) -> Remedy | None:
    if not request.user.has_perm(VIEW_RUNS):
        return None
    return {"label": _("See the request"), "url": get_run_url(run)}


def show_check(
    client_id: int, check: Check, override: Override | None, *, marks_evidence: bool
) -> Reason:
    """Return the check as a plan shows it; `marks_evidence`: an override may stand in for missing evidence."""
    return Reason(
        check.text,
        check.code,
        passed=check.passed,
        evidence=check.evidence if marks_evidence else "",
        overridden=override is not None and override.covers(check),
        is_off=check.is_off,
        find_remedy=partial(find_fix, client_id=client_id, check=check),
    )


def describe_move(slug: str, new: Phase, message: Message | None, *, old: Phase) -> str:
    """Say in which phase the client is now, and what else came of its move."""
    done = _("%(slug)s is purged.") if new == Phase.PURGED else _("%(slug)s is in %(phase)s.")
    if (old, new) == (Phase.AWS, Phase.DUAL_READ):
        done = _("%(slug)s was rolled back to %(phase)s. NOVA reads both stores again.")
    text = done % {"slug": slug, "phase": PhaseChoices(new).label}
    return f"{text} {localize(message)}".strip()


class ToDualWrite(MoveAct):
    """Pushes to AWS, and has writes go to both stores. It has no page: lists and clients' pages offer the push."""

    code = "dual_write"
    old, new = Phase.POSTGRES, Phase.DUAL_WRITE


class ToDualRead(MoveAct):
    """Has NOVA read both stores, and compare them."""

    code = "dual_read"
    old, new = Phase.DUAL_WRITE, Phase.DUAL_READ
    label = gettext_lazy("Move to dual read")
    question_for_one = gettext_lazy("Move %(name)s to dual read?")
    question = ngettext_lazy(
        "Move %(n)s client to dual read?", "Move %(n)s clients to dual read?", "number"
    )
    button = ngettext_lazy("Move to dual read", "Move %(n)s clients to dual read", "number")
    effect = gettext_lazy("NOVA reads and compares both stores and uses AWS's value.")
    way_back = gettext_lazy("move back to dual write, at any time.")


class CutOver(MoveAct):
    """Has NOVA read AWS alone."""

    code = "cutover"
    old, new = Phase.DUAL_READ, Phase.AWS
    label = gettext_lazy("Cut over to AWS")
    question_for_one = gettext_lazy("Cut over %(name)s to AWS?")
    question = ngettext_lazy(
        "Cut over %(n)s client to AWS?", "Cut over %(n)s clients to AWS?", "number"
    )
    button = ngettext_lazy("Cut over client", "Cut over %(n)s clients", "number")
    request_question_for_one = gettext_lazy("Request the cutover of %(name)s?")
    request_question = ngettext_lazy(
        "Request the cutover of %(n)s client?", "Request the cutover of %(n)s clients?", "number"
    )
    request_button = ngettext_lazy(
        "Request cutover", "Request the cutover of %(n)s clients", "number"
    )
    effect = gettext_lazy("NOVA reads AWS only. PostgreSQL keeps receiving every write.")
    way_back = gettext_lazy("roll back, one click, no approval.")


class RollBack(MoveAct):
    """Has NOVA read both stores again."""

    code = "rollback"
    old, new = Phase.AWS, Phase.DUAL_READ
    label = gettext_lazy("Roll back to dual read")
    question_for_one = gettext_lazy("Roll back %(name)s to dual read?")
    question = ngettext_lazy(
        "Roll back %(n)s client to dual read?", "Roll back %(n)s clients to dual read?", "number"
    )
    button = ngettext_lazy("Roll back client", "Roll back %(n)s clients", "number")
    effect = gettext_lazy(
        "NOVA reads both stores again. AWS's values are copied to PostgreSQL first."
    )
    way_back = gettext_lazy("cut over again, once all checks pass.")


class BackToDualWrite(MoveAct):
    """Has NOVA read PostgreSQL alone, while writes go to both stores."""

    code = "back_to_dual_write"
    old, new = Phase.DUAL_READ, Phase.DUAL_WRITE
    label = gettext_lazy("Move back to dual write")
    question_for_one = gettext_lazy("Move %(name)s back to dual write?")
    question = ngettext_lazy(
        "Move %(n)s client back to dual write?", "Move %(n)s clients back to dual write?", "number"
    )
    button = ngettext_lazy(
        "Move back to dual write", "Move %(n)s clients back to dual write", "number"
    )
    effect = gettext_lazy("NOVA reads PostgreSQL only; writes go to both stores.")
    way_back = gettext_lazy("move to dual read again, once all checks pass.")


class BackToPostgresForm(ActForm):
    """Asks of one client whether its secret goes too."""

    schedule_deletion = forms.BooleanField(
        label=gettext_lazy("Delete its secret in 30 days"),
        required=False,
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        super().__init__(*args, number=number, **kwargs)
        if number > 1:
            del self.fields["schedule_deletion"]


class BackToPostgres(MoveAct):
    """Has everything stand in PostgreSQL alone, as before the migration."""

    code = "back_to_postgres"
    old, new = Phase.DUAL_WRITE, Phase.POSTGRES
    form = BackToPostgresForm
    label = gettext_lazy("Move back to PostgreSQL")
    question_for_one = gettext_lazy("Move %(name)s back to PostgreSQL?")
    question = ngettext_lazy(
        "Move %(n)s client back to PostgreSQL?", "Move %(n)s clients back to PostgreSQL?", "number"
    )
    button = ngettext_lazy(
        "Move back to PostgreSQL", "Move %(n)s clients back to PostgreSQL", "number"
    )
    effect = gettext_lazy(
        "Writes go to PostgreSQL only; the secret stays in AWS unless you delete it."
    )
    way_back = gettext_lazy("push again, which also cancels the deletion of its secret.")


class Purge(MoveAct):
    """Leaves the secret values in AWS alone. One client at a time, its slug typed."""

    code = "purge"
    old, new = Phase.AWS, Phase.PURGED
    label = gettext_lazy("Purge")
    is_dangerous = True
    takes_many = False
    question_for_one = gettext_lazy("Purge %(name)s?")
    question = ngettext_lazy("Purge %(n)s client?", "Purge %(n)s clients?", "number")
    button = ngettext_lazy("Purge client", "Purge %(n)s clients", "number")
    request_question_for_one = gettext_lazy("Request the purge of %(name)s?")
    request_question = ngettext_lazy(
        "Request the purge of %(n)s client?", "Request the purge of %(n)s clients?", "number"
    )
    request_button = ngettext_lazy("Request purge", "Request the purge of %(n)s clients", "number")
    effect = gettext_lazy("Replaces the secret values in PostgreSQL with pointers to AWS.")
    way_back = gettext_lazy("restore, as long as AWS has the secret.")


class Restore(MoveAct):
    """Brings the secret values back from AWS."""

    code = "restore"
    old, new = Phase.PURGED, Phase.AWS
    label = gettext_lazy("Restore")
    question_for_one = gettext_lazy("Restore %(name)s?")
    question = ngettext_lazy("Restore %(n)s client?", "Restore %(n)s clients?", "number")
    button = ngettext_lazy("Restore client", "Restore %(n)s clients", "number")
    effect = gettext_lazy(
        "Copies the secret values from AWS to PostgreSQL, and goes back to the phase AWS (cut over)."
    )
    way_back = gettext_lazy("purge again, once all checks pass.")


# By the phases between which they move.
MOVE_ACTS: dict[tuple[Phase, Phase], MoveAct] = {
    (act.old, act.new): act
    for act in (
        ToDualWrite(),
        ToDualRead(),
        CutOver(),
        RollBack(),
        BackToDualWrite(),
        BackToPostgres(),
        Restore(),
        Purge(),
    )
}
# `move_clients` plans by the first too.
for each in MOVE_ACTS.values():
    if not isinstance(each, ToDualWrite):
        register_act(each)
