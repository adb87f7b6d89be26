"""The acts on both stores: pushing clients, and what resolves their mismatches."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from credentials.localization import find_site_day, intcomma, localize
from credentials.models import Client
from credentials.prices import SECRET_A_MONTH
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.comparisons import Comparison, Resolution
from migration.core.pages import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    ClientTab,
    find_remedy_page,
    get_act_url,
    get_tab_url,
)
from migration.core.sentences import CLIENT_LEFT_ALONE
from migration.pushes.plans import OVERWRITE, look_at_batches, summarize_plan
from migration.pushes.pushes import push, push_and_enter_dual_write
from migration.pushes.resolutions import (
    COMPARED_SINCE,
    COPIES_SOMETHING_ELSE,
    NEWER_WOULD_BE_LOST,
    RESTORE_FIRST,
    NotResolved,
    SelectedClient,
    SelectedNow,
    acknowledge_each,
    compare_selected,
    copy_to_aws,
    copy_to_postgres,
    digest_difference,
    find_losses,
    find_refusals_of_copy_to_postgres,
    plan_copy_to_postgres,
    plan_resolutions,
)
from migration.runs.acts import (
    OVERRIDDEN,
    Act,
    ActForm,
    ActRefused,
    Done,
    Menu,
    Order,
    digest_facts,
    mark_overridden,
    read_overridden,
    register_act,
    see_clients,
)
from migration.runs.items import PUSHED
from migration.runs.models import Run
from migration.runs.plans import (
    PlanClass,
    PlanCounts,
    PlannedClient,
    Reason,
    Remedy,
)
from migration.templatetags.migration_pages import duration
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Message
from nova_credentials.phases import Phase


class Push(Act):
    """Writes clients' rows to AWS, reads them back, and takes those in `postgres` to `dual_write`."""

    code = "push"
    label = gettext_lazy("Push to AWS")
    permission = RUN_PERMISSION
    menu = Menu.MOVE
    waits_for_one = True
    evidence_kinds: ClassVar[frozenset[str]] = frozenset({OVERWRITE})
    override_loses = True
    override_heading = gettext_lazy("Left alone unless you overwrite it:")
    override_label = gettext_lazy("Overwrite it")
    wait_label = gettext_lazy("Leave it alone")
    way_back = gettext_lazy("move back to PostgreSQL.")
    question_for_one = gettext_lazy("Push %(name)s to AWS?")
    question = ngettext_lazy(
        "Push %(n)s client to AWS?",
        "Push %(n)s clients to AWS?",
        "number",
    )
    button = ngettext_lazy(
        "Push client",
        "Push %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Writes the rows to AWS and reads them back. A client in PostgreSQL then writes to both stores. Which store"
        " NOVA reads stays as it is."
    )

    def may_override(self, user: Any) -> bool:
        return bool(user.has_perm(RESOLVE_PERMISSION))

    def name_evidence(self, kind: str) -> str:
        return _("Written by someone else in AWS")

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        # What differs, and what somebody writes in AWS meanwhile, the push itself decides on under its lease.
        return see_clients(client_ids, compared=False)

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        found = look_at_batches(
            self._make_unsaved_run(client_ids, order), interactive=order.interactive
        )
        planned = [_explain_push(each, order) for some in found for each in some]
        return sorted(planned, key=lambda each: each.slug)

    def plan_in_batches(
        self, client_ids: Sequence[int], order: Order
    ) -> Iterator[list[PlannedClient]]:
        """Look at some batches at once, as fast as the read limit lets it."""
        for found in look_at_batches(self._make_unsaved_run(client_ids, order), see=self.see):
            yield [_explain_push(each, order) for each in found]

    def _make_unsaved_run(self, client_ids: Collection[int], order: Order) -> Run:
        return Run(
            **self.describe_run(order),
            chosen=list(client_ids),
            # Who names one client means it, also an inactive one.
            include_inactive=order.interactive and len(client_ids) == 1,
        )

    def sum_up_plan(self, counts: PlanCounts) -> list[str]:
        if counts.clients == 1:
            # Of one only what it costs counts for who reads it.
            new = summarize_plan(counts).new_dollars_a_month
            return [_("About $%(new)s more a month.") % {"new": intcomma(new, 2)}] if new else []
        return describe_summary(counts) if counts.clients else []

    def list_plan_files(self, run: Run) -> list[tuple[str, str]]:
        if not run.planned_at:
            return []
        return [
            (_("Sheet to print"), reverse("admin:migration_run_plan_sheet", args=[run.pk])),
            (_("Download as JSON"), reverse("admin:migration_run_plan_file", args=[run.pk])),
        ]

    def do_one(self, client_id: int, order: Order) -> Done:
        result, is_moved = push_and_enter_dual_write(
            client_id=client_id,
            by=order.by,
            overwrite=OVERWRITE in order.overrides,
            shown_versions={pk: read_overridden(seen) for pk, seen in order.seen.items()} or None,
            reason=order.reason,
        )
        if result.outcome not in PUSHED:
            raise ActRefused(result.summary_message)
        outcome = str(result.outcome.label).lower()
        said = [_("Secret in AWS: %(outcome)s.") % {"outcome": outcome}, localize(result.message)]
        if is_moved:
            said.append(_("Writes go to both stores from now on."))
        return Done(" ".join(filter(None, said)))

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.MIGRATE, "overwrite": OVERWRITE in order.overrides}


def _explain_push(planned: PlannedClient, order: Order) -> PlannedClient:
    """Add why a client is refused, with what mends it, and what an overwriting push would overwrite."""
    message = planned.message
    if planned.verdict == PlanClass.REFUSED and message:
        evidence = OVERWRITE if message.key == CLIENT_LEFT_ALONE.key else ""
        remedy = partial(_find_push_remedy, planned.client_id, message, planned.error_class)
        reason = Reason(message, message.codes[0], evidence=evidence, find_remedy=remedy)
        return replace(planned, reasons=(reason,))
    if planned.plan_class == PlanClass.OVERWRITTEN and OVERWRITE in order.overrides and message:
        reason = Reason(message, message.codes[0], evidence=OVERWRITE, overridden=True)
        others = (each for each in planned.replaced if not each.by_this_site)
        overridden = mark_overridden(
            *(digest_facts([each.name, each.version_id]) for each in others)
        )
        return replace(planned, reasons=(reason,), seen=f"{planned.seen}{overridden}")
    return planned


def _find_push_remedy(
    client_id: int, message: Message, error_class: str, request: HttpRequest, back: str
) -> Remedy | None:
    if found := find_remedy_page(request, client_id, message.codes):
        return {"label": found[0], "url": found[1]}
    if error_class == ErrorClass.DATA and request.user.has_perm("credentials.view_client"):
        logins = get_tab_url(client_id, ClientTab.LOGINS, "client_form")
        return {"label": _("See the logins"), "url": logins}
    return None


def describe_summary(counts: PlanCounts) -> list[str]:
    """Say how long a push takes, which calls it makes and what it costs, a sentence each."""
    summary = summarize_plan(counts)
    calls = {
        "took": duration(summary.seconds),
        "reads": intcomma(summary.batch_reads),
        "creates": intcomma(summary.creates),
        "updates": intcomma(summary.updates),
    }
    dollars = {
        "dollars": intcomma(summary.dollars_a_month, 2),
        "new": intcomma(summary.new_dollars_a_month, 2),
        "each": number_format(SECRET_A_MONTH, 2),
    }
    took = [_("It takes at least %(took)s.") % calls] if summary.seconds >= 1 else []
    return [
        *took,
        _("Calls to AWS: %(reads)s to read, %(creates)s to create, %(updates)s to update.") % calls,
        _(
            "These secrets will cost $%(dollars)s a month, $%(new)s of it new: $%(each)s each, plus comparisons."
        )
        % dollars,
    ]


# What resolves mismatches


def make_push_remedy(client_id: int, back: str) -> Remedy:
    """Return the link to the page that pushes the client."""
    return {
        "label": _("Push this client now"),
        "url": get_act_url(Push.code, [client_id], back=back),
    }


def make_compare_remedy(client_id: int, back: str) -> Remedy:
    """Return the button that compares both stores of the client at once."""
    url = reverse("admin:credentials_client_compare", args=[client_id])
    return {"label": _("Compare now"), "url": url, "posts": True, "back": back}


class Resolve(Act):
    """What resolves mismatches: offered by the report of mismatches, and by the client's tab that compares."""

    permission = RESOLVE_PERMISSION
    menu = None
    in_client_menu = False
    kind: ClassVar[Resolution.Kind]

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        return [self.judge(each, each.refusal) for each in plan_resolutions(self.kind, client_ids)]

    def judge(self, client: SelectedClient, refusal: Message | None) -> PlannedClient:
        """Return the client of a plan: with nothing to do, refused for this reason, or to be resolved."""
        plan_class, message, reasons = PlanClass.WILL, None, list[Reason]()
        if refusal and client.is_settled:
            plan_class, message = PlanClass.NOTHING, refusal
        elif refusal:
            plan_class = PlanClass.REFUSED
            remedy = partial(self.find_remedy, client, refusal)
            reasons.append(Reason(refusal, refusal.codes[0], find_remedy=remedy))
        return PlannedClient(
            client.client_id,
            client.slug,
            client.phase,
            client.revision,
            plan_class,
            outcome="",
            message=message,
            reasons=tuple(reasons),
            mismatches=tuple(client.comparison.mismatches) if client.comparison else (),
        )

    def find_remedy(
        self, client: SelectedClient, refusal: Message, request: HttpRequest, back: str
    ) -> Remedy | None:
        """Return what mends that the client is refused: a push, another look, or what the reason names."""
        if refusal.key == NEWER_WOULD_BE_LOST.key:
            may_push = request.user.has_perm(RUN_PERMISSION)
            return make_push_remedy(client.client_id, back) if may_push else None
        if refusal.key == RESTORE_FIRST.key:
            return None
        if found := find_remedy_page(request, client.client_id, refusal.codes):
            return {"label": found[0], "url": found[1]}
        may_compare = request.user.has_perm(RESOLVE_PERMISSION)
        return make_compare_remedy(client.client_id, back) if may_compare else None


# Drawers above this one add their advice to the page that copies one client, by its id and the act's code; "": none.
ADVISERS: list[Callable[[int, str], SafeString]] = []


class Copy(Resolve):
    """Copies one store to the other. It does so only where both still differ as the newest comparison has it."""

    waits_for_one = True

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        found = plan_resolutions(self.kind, client_ids)
        clients = [each for each in found if not each.refusal]
        refusals = self.find_refusals(clients, order) if clients else {}
        planned = [self.judge(each, each.refusal or refusals.get(each.client_id)) for each in found]
        return [self.explain_override(planned[0], order)] if len(planned) == 1 else planned

    def explain_override(self, planned: PlannedClient, order: Order) -> PlannedClient:
        """Return the one client of a page, with what may be overridden, or is."""
        return planned

    def advise(self, client_id: int) -> list[SafeString]:
        return [said for advise in ADVISERS if (said := advise(client_id, self.code))]

    def find_refusals(
        self, clients: Collection[SelectedClient], order: Order
    ) -> dict[int, Message]:
        """Return by client why it is refused, as both stores are now. Not every one is found out before its turn."""
        try:
            now = compare_selected(clients, interactive=order.interactive)
        except NotResolved as refusal:
            return {each.client_id: refusal.message for each in clients}
        refusals = self.find_refusals_of_write(now, order)
        for each in clients:
            there = now.comparisons.get(each.client_id)
            known = each.comparison.list_acknowledgeable() if each.comparison else []
            if there and there.status == Comparison.Status.UNCHECKED and there.message:
                refusals[each.client_id] = there.message
            elif there is None or there.list_acknowledgeable() != known:
                refusals[each.client_id] = COMPARED_SINCE()
        return refusals

    def find_refusals_of_write(self, now: SelectedNow, order: Order) -> dict[int, Message]:
        """Return by client why what was read now can't be written to the other store."""
        raise NotImplementedError

    def copy(self, client_id: int, order: Order, seen: str) -> Resolution:
        """Copy one client, as long as it differs as `seen`, the digest, has it. Raises `NotResolved`."""
        raise NotImplementedError

    def do_one(self, client_id: int, order: Order) -> Done:
        (client,) = plan_resolutions(self.kind, [client_id]) or (None,)
        if client is None:
            raise Client.DoesNotExist
        # Behind it: what was just read is what the page showed.
        shown = {pk: seen.partition(OVERRIDDEN)[0] for pk, seen in order.seen.items()}
        is_shown = not shown or self.see([client_id]) == shown
        if client.comparison is None or not is_shown:
            raise ActRefused(COPIES_SOMETHING_ELSE())
        seen = digest_difference(client.phase, client.comparison)
        try:
            done = self.copy(client_id, order, seen)
        except NotResolved as refusal:
            raise ActRefused(refusal.message) from None
        return Done(f"{done.get_kind_display()}. {localize(done.message)}".strip())

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind(self.kind)}


class CopyToAws(Copy):
    """Writes clients' rows to AWS, also over what somebody else wrote there."""

    code = "copy_to_aws"
    in_report = True
    label = gettext_lazy("Copy PostgreSQL to AWS")
    kind = Resolution.Kind.TO_AWS
    question_for_one = gettext_lazy("Copy PostgreSQL to AWS for %(name)s?")
    question = ngettext_lazy(
        "Copy PostgreSQL to AWS for %(n)s client?",
        "Copy PostgreSQL to AWS for %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Copy to AWS",
        "Copy %(n)s clients to AWS",
        "number",
    )
    effect = gettext_lazy(
        "Writes PostgreSQL's values to AWS. AWS keeps its current values as the previous version, until the next write."
    )

    def name_way_back(self, client_ids: Collection[int] | QuerySet[Any, int]) -> str:
        phases = set(
            all_clients().filter(pk__in=client_ids).with_phase().values_list("phase", flat=True)
        )
        none = _(
            "not on this site while a client is in PostgreSQL. AWS keeps the previous version."
        )
        if phases <= {Phase.POSTGRES}:
            return none
        restore = _(
            "“Restore…” beside the previous version on the Comparison tab. It writes to both stores, and only a version"
            " whose logins work."
        )
        if Phase.POSTGRES not in phases:
            return restore
        return _("%(restore)s Clients in PostgreSQL have no such button.") % {"restore": restore}

    def sum_up(self, client_ids: Iterable[int]) -> list[str]:
        ids = list(client_ids)
        number = _select_phases(ids, reads_aws=True).count()
        if len(ids) == 1:
            text = _("NOVA reads this client from AWS, so it gets the copied values at once.")
        else:
            text = ngettext(
                "NOVA reads %(n)s of them from AWS, and gets its copied values at once.",
                "NOVA reads %(n)s of them from AWS, and gets their copied values at once.",
                number,
            )
        return [text % {"n": intcomma(number)}] if number else []

    def find_refusals_of_write(self, now: SelectedNow, order: Order) -> dict[int, Message]:
        results = push(
            client_ids=list(now.snapshots),
            overwrite=True,
            dry_run=True,
            interactive=order.interactive,
        )
        return {r.client_id: r.summary_message for r in results if r.outcome not in PUSHED}

    def copy(self, client_id: int, order: Order, seen: str) -> Resolution:
        return copy_to_aws(client_id=client_id, by=order.by, reason=order.reason, seen=seen)


# The kind of what an override stands in for: a write to PostgreSQL that no push has taken to AWS.
NEWER_VALUE = "newer_value"


class CopyToPostgres(Copy):
    """Copies AWS's documents into clients' rows; what these held is kept in AWS first."""

    code = "copy_to_postgres"
    in_report = is_dangerous = True
    label = gettext_lazy("Copy AWS to PostgreSQL")
    kind = Resolution.Kind.TO_POSTGRES
    needs_reason = True
    # Somebody decides against what was written last, of one client, whose fields and codes they see.
    evidence_kinds: ClassVar[frozenset[str]] = frozenset({NEWER_VALUE})
    types_to_override = True
    override_heading = gettext_lazy("Skipped unless you replace it:")
    override_label = gettext_lazy("Replace it")
    wait_label = gettext_lazy("Keep it")
    way_back = gettext_lazy(
        "“Put the former values back” on the Comparison tab, until either store changes."
    )
    question_for_one = gettext_lazy("Copy AWS to PostgreSQL for %(name)s?")
    question = ngettext_lazy(
        "Copy AWS to PostgreSQL for %(n)s client?",
        "Copy AWS to PostgreSQL for %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Copy to PostgreSQL",
        "Copy %(n)s clients to PostgreSQL",
        "number",
    )
    effect = gettext_lazy(
        "Writes AWS's values to NOVA's tables. What the tables hold now is kept in AWS first, as the version"
        " NOVA_REPLACED."
    )

    def may_override(self, user: Any) -> bool:
        return self.may(user)

    def name_evidence(self, kind: str) -> str:
        return _("PostgreSQL holds a newer value")

    def sum_up(self, client_ids: Iterable[int]) -> list[str]:
        ids = list(client_ids)
        number = _select_phases(ids, reads_aws=False).count()
        if len(ids) == 1:
            text = _(
                "NOVA reads this client from PostgreSQL, so it gets the copied values at once."
            )
        else:
            text = ngettext(
                "NOVA reads %(n)s of them from PostgreSQL, and gets its copied values at once.",
                "NOVA reads %(n)s of them from PostgreSQL, and gets their copied values at once.",
                number,
            )
        return [text % {"n": intcomma(number)}] if number else []

    def find_refusals(
        self, clients: Collection[SelectedClient], order: Order
    ) -> dict[int, Message]:
        refusals = super().find_refusals(clients, order)
        for each in clients:
            known = each.comparison
            if known and known.status == Comparison.Status.MISSING_IN_AWS:
                refusals[each.client_id] = known.message or known.status_message
        if len(clients) > 1:
            return find_losses(clients) | refusals
        (client,) = clients
        try:
            loss = plan_copy_to_postgres(client.client_id).refusal
        except NotResolved as refusal:
            loss = refusal.message
        return ({client.client_id: loss} if loss else {}) | refusals

    def find_refusals_of_write(self, now: SelectedNow, order: Order) -> dict[int, Message]:
        return find_refusals_of_copy_to_postgres(now, interactive=order.interactive)

    def explain_override(self, planned: PlannedClient, order: Order) -> PlannedClient:
        if [each.code for each in planned.reasons] != [NEWER_WOULD_BE_LOST.key]:
            return planned
        (reason,) = planned.reasons
        if NEWER_VALUE not in order.overrides:
            return replace(planned, reasons=(replace(reason, evidence=NEWER_VALUE),))
        overridden = replace(reason, evidence=NEWER_VALUE, overridden=True, find_remedy=None)
        return replace(
            planned,
            plan_class=PlanClass.WILL,
            reasons=(overridden,),
            seen=mark_overridden(NEWER_VALUE),
        )

    def copy(self, client_id: int, order: Order, seen: str) -> Resolution:
        return copy_to_postgres(
            client_id=client_id,
            by=order.by,
            reason=order.reason,
            seen=seen,
            # As the page showed it: an override covers nothing that came later.
            replaces_newer=NEWER_VALUE in read_overridden(order.seen.get(client_id, "")),
        )


def _select_phases(client_ids: Iterable[int], *, reads_aws: bool) -> ClientPhaseQuerySet:
    phases = [phase for phase in Phase if phase.aws_is_authority == reads_aws]
    return all_clients().filter(pk__in=client_ids).in_phases(*phases)


# Which resolutions the user's last acknowledgement made is kept in their session, as ids, so that it can be undone. A
# session of an earlier release may hold another act under the former name.
SESSION_KEY = "acknowledgement_undo"


class AcknowledgeForm(ActForm):
    """Asks until which day."""

    until = forms.DateField(
        label=gettext_lazy("Acknowledge until"),
        widget=UnfoldAdminTextInputWidget({"type": "date"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until"].widget.attrs["min"] = find_site_day().isoformat()

    def clean_until(self) -> str:
        until: date = self.cleaned_data["until"]
        if until < find_site_day():
            raise forms.ValidationError(_("Choose a day, today or later."))
        return until.isoformat()


class Acknowledge(Resolve):
    """Acknowledges what the newest comparison of each client found, until a day."""

    code = "acknowledge"
    in_report = True
    label = gettext_lazy("Acknowledge mismatches")
    kind = Resolution.Kind.ACKNOWLEDGE
    form = AcknowledgeForm
    needs_reason = is_quick = True
    writes_aws = False
    way_back = gettext_lazy("“Undo” on the page of mismatches, for an hour.")
    question_for_one = gettext_lazy("Acknowledge the mismatches of %(name)s?")
    question = ngettext_lazy(
        "Acknowledge the mismatches of %(n)s client?",
        "Acknowledge the mismatches of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Acknowledge mismatches",
        "Acknowledge the mismatches of %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Hides these mismatches until that day. The client still can't move on, and new differences still show."
    )

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Done:
        found = plan_resolutions(self.kind, list(chosen.values_list("pk", flat=True)))
        shown = {each.client_id: each.comparison.pk for each in found if each.comparison}
        # Behind it: what was just read is what the page showed.
        now = self.see(list(shown)) if order.seen else {}
        changed = {pk for pk in shown if order.seen.get(pk) != now.get(pk)}
        done, refused = acknowledge_each(
            shown={pk: shown[pk] for pk in shown if pk not in changed},
            until=date.fromisoformat(order.values["until"]),
            reason=order.reason,
            by=order.by,
        )
        refused |= dict.fromkeys(changed, COMPARED_SINCE())
        if not done:
            raise ActRefused(next(iter(refused.values()), COMPARED_SINCE()))
        text = ngettext(
            "Acknowledged the mismatches of %(n)s client.",
            "Acknowledged the mismatches of %(n)s clients.",
            len(done),
        )
        left = len(found) - len(done)
        refusals = ngettext("%(n)s client was refused.", "%(n)s clients were refused.", left)
        undo = {"resolutions": [row.pk for row in done], "at": time.time()}
        return Done(
            text % {"n": intcomma(len(done))},
            warnings=[refusals % {"n": intcomma(left)}] if left else [],
            session={SESSION_KEY: undo},
            refused=refused,
        )


register_act(Push())
register_act(CopyToAws())
register_act(CopyToPostgres())
register_act(Acknowledge())
