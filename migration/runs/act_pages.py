"""The page of every act: what it would do, to whom not and why, what it asks, and one button."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ModelAdmin, helpers
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connection, transaction
from django.db.models import Count, Func, IntegerField, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from credentials.localization import intcomma, localize
from credentials.models import Client
from migration import tasks
from migration.core.audit import ReasonError
from migration.core.clients import (
    VIEW_CLIENTS,
    VIEW_RUNS,
    ClientPhaseQuerySet,
    PhaseChoices,
    all_clients,
)
from migration.core.pages import (
    BACK,
    CLIENTS,
    RUN_PERMISSION,
    AdminView,
    add_pages,
    get_act_url,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
    show_refusal,
)
from migration.runs.acts import (
    ACTS,
    FEW_CLIENTS,
    OVERRIDDEN,
    Act,
    ActForm,
    ActRefused,
    Done,
    Order,
    list_planned,
    mark_seen,
)
from migration.runs.models import Run, StaleRunError
from migration.runs.plans import (
    VERDICTS,
    PlanClass,
    PlanCounts,
    PlannedClient,
    PlanRow,
)
from migration.runs.progress import Progress, select_runs_for_progress
from migration.runs.starts import announce_and_enqueue_run, get_plan_url, get_run_url
from nova_credentials.shown_names import escape_name

# Of an address: all clients that the list shows with the filters that stand beside it.
ALL = "all"
# Of a form: that its button was pressed.
CONFIRMED = "confirmed"
# Of a form, too: its button said that it only requests the act.
APPROVAL = "approval"
# Of a form, too: by which look the plan was made that the page showed.
LOOK = "look"
# Kinds of evidence that may be missing.
OVERRIDE = "override"
OWN_PARAMETERS = (CLIENTS, ALL, BACK, OVERRIDE)
# The page names so many clients of each kind.
CLIENTS_SHOWN = 100
# So many are looked at together, which bounds the memory of a page of very many.
CLIENTS_AT_ONCE = 5000
# So many are named in a message.
CHANGED_NAMED = 10
# Of an address: all that another list shows with the filters that stand beside it, by the list's name below.
SOURCE = "from"
SELECTIONS: dict[str, Callable[[HttpRequest], ClientPhaseQuerySet]] = {}
# Until the transaction ends. It keeps nobody else from writing, and is no advisory lock, which any role may hold.
ONE_START_AT_A_TIME = "LOCK TABLE migration_run IN SHARE UPDATE EXCLUSIVE MODE"


class ListsClients(Protocol):
    """The admin of clients, as these pages need it."""

    def select_listed(
        self, request: HttpRequest, *, but: Collection[str]
    ) -> ClientPhaseQuerySet: ...


def get_act_url_for_list(code: str, filters: QueryDict) -> str:
    """Return the address of the page of an act on all clients that the list shows with these filters."""
    query = filters.copy()
    query[ALL] = "1"
    return f"{reverse('admin:credentials_client_act', args=[code])}?{query.urlencode()}"


def get_act_url_for_source(code: str, source: str, filters: Mapping[str, str], *, back: str) -> str:
    """Return the address of the page of an act on all clients that another list shows with these filters."""
    query = {**filters, SOURCE: source, BACK: back}
    return f"{reverse('admin:credentials_client_act', args=[code])}?{urlencode(query)}"


def list_acts_of_many(request: HttpRequest) -> list[Act]:
    """Return the acts that the user may do to several clients, in the order of menus."""
    return [act for act in ACTS.values() if act.takes_many and act.menu and act.may(request.user)]


def lead_to_act(request: HttpRequest, code: str, client_ids: Sequence[int]) -> HttpResponseRedirect:
    """Lead to the page of an act on these clients, or to that of the plan that workers make where they are many."""
    if len(client_ids) <= FEW_CLIENTS:
        return HttpResponseRedirect(get_act_url(code, client_ids))
    by = get_signed_in_user(request)
    return lead_to_plan(request, ACTS[code].store_plan(by=by, chosen=client_ids))


def lead_to_plan(request: HttpRequest, run: Run) -> HttpResponseRedirect:
    """Have workers plan a stored run, and lead to the page of its plan."""
    if not tasks.enqueue(run):
        text = _("The task queue can't be reached. The plan is made once the queue answers again.")
        messages.warning(request, text)
    return HttpResponseRedirect(get_plan_url(run))


def list_client_menu(request: HttpRequest, client_id: int) -> list[tuple[str, str]]:
    """Return label and address of each act that the user may do to the client, but for those shown on its page."""
    back = request.get_full_path()
    return [
        (f"{act.label}…", get_act_url(act.code, [client_id], back=back))
        for act in ACTS.values()
        if act.in_client_menu and act.may(request.user)
    ]


def open_act(
    _model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseRedirect:
    """Lead from what is selected in the list to the page of the act that was chosen."""
    code = next(name for name in request.POST.getlist("action") if name in ACTS)
    across = helpers.ActionForm.base_fields["select_across"]
    if across.to_python(request.POST.get("select_across")):
        return HttpResponseRedirect(get_act_url_for_list(code, request.GET))
    # In the list's order.
    ids = list(chosen.values_list("pk", flat=True))
    back = request.get_full_path()
    if len(ids) > FEW_CLIENTS:
        # Servers take no address of so many: the browser sends the list's form to the page too.
        return HttpResponseRedirect(get_act_url(code, (), back=back), preserve_request=True)
    return HttpResponseRedirect(get_act_url(code, ids, back=back))


def make_former_address(code: str) -> type[AdminView]:
    """Return the view of an address of a former release, of a client's page: it leads to the page of this act."""

    class FormerAddressView(AdminView):
        def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
            return HttpResponseRedirect(get_act_url(code, [client_id]))

    return FormerAddressView


class BaseActView(AdminView):
    """What the page of an act has in common with that of its stored plan."""

    template_name = "admin/migration/act.html"
    act: Act
    # Once it is known how many clients it asks about.
    question = ""

    @property
    def title(self) -> str:
        return self.question

    @property
    def address(self) -> str:
        """Return the address of this page, where it shows the same clients again."""
        return self.request.path

    def has_permission(self) -> bool:
        # In this order: who may see no client isn't told whether there is such a plan.
        return self.model_admin.has_view_permission(self.request) and self.act.may(
            self.request.user
        )

    def get_permission_denied_message(self) -> str:
        may_view = self.model_admin.has_view_permission(self.request)
        return self.act.permission if may_view else VIEW_CLIENTS

    def make_form(self, number: int, slug: str, client_ids: Sequence[int] = ()) -> ActForm:
        """Return the form for so many clients: bound where it was sent."""
        return self.act.form(
            self.request.POST if self.request.POST.get(CONFIRMED) == "1" else None,
            act=self.act,
            number=number,
            slug=slug,
            by=get_signed_in_user(self.request),
            client_ids=client_ids,
            overrides=self.list_overrides(),
        )

    def make_order(self, form: ActForm, ids: Collection[int], shown: dict[int, str]) -> Order:
        """Return what a valid form asks for, with what was shown of these clients."""
        order = form.make_order(get_signed_in_user(self.request), self.list_overrides())
        is_all = len(ids) == len(shown)
        return replace(order, seen=shown if is_all else {pk: shown[pk] for pk in ids})

    def list_overrides(self) -> frozenset[str]:
        """Return the kinds of evidence that may be missing, as the user asked, who may."""
        asked = self.read_overrides()
        return asked if self.act.may_override(self.request.user) else frozenset()

    def read_overrides(self) -> frozenset[str]:
        """Return the kinds of evidence that the page is asked to let be missing, whoever asks."""
        return self.act.evidence_kinds.intersection(self.request.GET.getlist(OVERRIDE))

    def describe_overrides(self, missing: Counter[str]) -> list[dict[str, Any]]:
        """Return each kind of evidence that clients lack and an override may stand in for, and whether one does."""
        chosen = self.list_overrides()
        if not self.act.may_override(self.request.user):
            return []
        return [
            {
                "kind": kind,
                "label": self.act.name_evidence(kind),
                "number": missing[kind],
                "is_on": kind in chosen,
                "kinds": sorted(chosen ^ {kind}),
                "url": self.get_url_with_overrides(chosen ^ {kind}),
            }
            # Also one that nobody lacks: an address may ask for it, and it holds until the button is pressed.
            for kind in sorted({*missing, *chosen})
        ]

    def describe_override_of_all(self, missing: Counter[str]) -> dict[str, object] | None:
        """Return how all that is missing is overridden at once; None where less than two kinds are left."""
        left = {*missing} - self.list_overrides()
        if len(left) < 2 or not self.act.may_override(self.request.user):
            return None
        kinds = left | self.list_overrides()
        url = self.get_url_with_overrides(kinds)
        return {"number": len(left), "kinds": sorted(kinds), "url": url}

    def get_url_with_overrides(self, kinds: Collection[str]) -> str:
        """Return the address of this page with these kinds of evidence overridden."""
        path, _mark, query = self.address.partition("?")
        changed = QueryDict(query, mutable=True)
        changed.setlist(OVERRIDE, sorted(kinds))
        return f"{path}?{changed.urlencode(safe=',')}"

    def is_no_longer_approved(self) -> bool:
        """Say, also to the user, that the button which would have requested the act now does it at once."""
        changed = APPROVAL in self.request.POST and not self.act.needs_approval
        if changed:
            text = _(
                "Nothing was done: it no longer needs an approval, so the button does it at once now."
            )
            messages.warning(self.request, text)
        return changed

    def start(
        self, shown: dict[int, str], form: ActForm, planned: Run | None = None
    ) -> HttpResponse:
        """Start, or request, a run over the clients that look as they were shown, and lead to its page.

        Back to this page where none does. Raises `ActRefused`, `ReasonError` and `StaleRunError`.
        """
        ids: list[int] | None = None
        if self.act.run_holds_to_plan:
            # What AWS is asked for is asked without the lock, and of very many clients by workers alone: the run holds
            # the clients to it.
            ids = list(shown) if planned else self.leave_out_changed(shown)
        with transaction.atomic():
            # Of two who press at once the second sees the first one's run at the clients.
            with connection.cursor() as cursor:
                cursor.execute(ONE_START_AT_A_TIME)
            if planned:
                planned.refresh_from_db(fields=["state"])
                planned.require_planned()
            if ids is None:
                ids = self.leave_out_changed(shown)
            if not ids:
                return HttpResponseRedirect(self.address)
            order = self.make_order(form, ids, shown)
            # The run has to know what was shown of each client.
            if planned is None and (self.act.run_holds_to_plan or order.overrides):
                planned = self.act.store_plan(by=order.by, chosen=ids, overrides=order.overrides)
                planned.finish_planning([mark_seen(list_planned(ids), shown)])
            run = self.act.start(all_clients().with_ids(ids), replace(order, planned=planned))
            if isinstance(run, Done):
                return self.report(run)
        announce_and_enqueue_run(self.request, run)
        may = self.request.user.has_perm
        if may(VIEW_RUNS) or may(RUN_PERMISSION):
            return HttpResponseRedirect(get_run_url(run))
        return HttpResponseRedirect(self.back)

    def report(self, done: Done) -> HttpResponse:
        """Say what came of it, and lead on."""
        show = messages.warning if done.is_warning else messages.success
        told = done.message
        show(self.request, told if isinstance(told, str) else localize(told))
        for each in done.warnings:
            messages.warning(self.request, each)
        for each in done.notes:
            messages.info(self.request, each)
        self.request.session.update(done.session)
        return HttpResponseRedirect(done.url or self.back)

    @property
    def back(self) -> str:
        return reverse("admin:credentials_client_changelist")

    def leave_out_changed(self, shown: dict[int, str]) -> list[int]:
        """Return the ids of those that look as the page showed them; name the others, which are left out."""
        changed = set[int]()
        for some in split_ids(list(shown)):
            now = self.act.see(some)
            changed |= {pk for pk in some if now.get(pk) != shown[pk].partition(OVERRIDDEN)[0]}
        told = self.act.explain_change(*changed) if len(shown) == len(changed) == 1 else None
        if told:
            messages.error(self.request, localize(told))
        elif changed:
            found = all_clients().with_ids(changed).order_by("slug").values_list("slug", flat=True)
            slugs = [escape_name(slug) for slug in found[: CHANGED_NAMED + 1]]
            named = ", ".join(slugs[:CHANGED_NAMED] + ["…"] * (len(slugs) > CHANGED_NAMED))
            text = ngettext(
                "Left out, as it changed since the page showed it: %(slugs)s.",
                "Left out, as they changed since the page showed them (%(n)s clients): %(slugs)s.",
                len(changed),
            )
            values = {"n": intcomma(len(changed)), "slugs": named or _("no longer there")}
            messages.warning(self.request, text % values)
        return [pk for pk in shown if pk not in changed]

    def show(self, title: str, **context: object) -> HttpResponse:
        """Answer with the page of this title."""
        self.question = title
        response = self.render_to_response(
            self.get_context_data(
                act=self.act,
                is_dangerous=self.act.is_dangerous
                or (self.act.override_loses and bool(self.list_overrides())),
                address=self.address,
                may_view_clients=self.request.user.has_perm("credentials.view_client"),
                **context,
            )
        )
        # A form of an act may hold a secret.
        response["Cache-Control"] = "no-store, private"
        return response


class ActView(BaseActView):
    """The page of an act on the clients that its address or form names. Opening it stores nothing.

    Of more than FEW_CLIENTS it says how many there are, and its button has the plan made.
    """

    @cached_property
    def act(self) -> Act:  # type: ignore[override]
        if act := ACTS.get(self.kwargs["act"]):
            return act
        raise Http404

    @cached_property
    def is_in_address(self) -> bool:
        """Say whether the address names the clients; else a form does."""
        return not {CLIENTS, ALL, SOURCE}.isdisjoint(self.request.GET)

    @cached_property
    def selected(self) -> ClientPhaseQuerySet:
        """Select the clients that the address names, or the list with the address's filters, or the form."""
        if ALL in self.request.GET:
            lists = cast("ListsClients", self.model_admin)
            return lists.select_listed(self.request, but=OWN_PARAMETERS)
        if select := SELECTIONS.get(self.request.GET.get(SOURCE, "")):
            return select(self.request)
        return all_clients().with_ids(self.read_named())

    @cached_property
    def number(self) -> int:
        return self.selected.count()

    @cached_property
    def is_few(self) -> bool:
        return self.act.is_quick or self.number <= FEW_CLIENTS

    @cached_property
    def ids(self) -> list[int]:
        """Return the ids in the order in which address or form names them, or the list shows them."""
        found = list(self.selected.values_list("pk", flat=True).iterator())
        if not {ALL, SOURCE}.isdisjoint(self.request.GET):
            return found
        place = {pk: number for number, pk in enumerate(self.read_named())}
        return sorted(found, key=lambda pk: place.get(pk, len(place)))

    @property
    def address(self) -> str:
        if self.is_in_address or not self.is_few:
            return self.request.get_full_path()
        return get_act_url(self.act.code, self.ids, back=self.request.GET.get(BACK, ""))

    def read_named(self) -> list[int]:
        """Return the clients that the address names, or else the form: the page's own, or the list's."""
        if self.is_in_address:
            named = self.request.GET.get(CLIENTS, "").split(",")
        elif CLIENTS in self.request.POST:
            return list(self.read_shown())
        else:
            named = self.request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        return [pk for pk in map(read_number, named) if pk is not None]

    def read_shown(self) -> dict[int, str]:
        """Return the clients that the page showed, each with what it saw of it."""
        named = re.finditer(r"\S+", read_raw_form_text(self.request, CLIENTS))
        pairs = (pair[0].partition(":") for pair in named)
        return {pk: seen for text, _colon, seen in pairs if (pk := read_number(text)) is not None}

    def get(self, request: HttpRequest, act: str = "") -> HttpResponse:
        if refusal := self.find_refusal_of_number():
            messages.warning(request, refusal)
            return HttpResponseRedirect(self.back)
        return self.show_few() if self.is_few else self.show_many()

    def find_refusal_of_number(self) -> str:
        """Say why the act isn't done to so many clients, or ""."""
        if not self.number:
            return _("Nothing was done: select a client first.")
        if self.number > 1 and not self.act.takes_many:
            return _("Nothing was done: do this on the client's page, one client at a time.")
        return ""

    def post(self, request: HttpRequest, act: str = "") -> HttpResponse:
        pressed = request.POST.get(CONFIRMED)
        stores_plans = self.act.takes_many and not self.act.is_quick
        if pressed == "plan" and stores_plans and not self.find_refusal_of_number():
            return self.store_plan()
        if pressed != "1":
            return self.get(request, act)
        shown = self.read_shown()
        most = FEW_CLIENTS if self.act.takes_many else 1
        if len(shown) > most and not self.act.is_quick:
            raise BadRequest("The form names more clients than the page showed")
        if not shown:
            return self.get(request, act)
        first = next(iter(shown))
        slug = all_clients().with_ids([first]).values_list("slug", flat=True).first() or ""
        form = self.make_form(len(shown), slug, list(shown))
        if self.is_no_longer_approved() or not form.is_valid():
            return self.get(request, act)
        meant = {pk: shown[pk] for pk in form.choose_clients(list(shown))}
        try:
            if len(shown) > 1 or not self.act.waits_for_one:
                return self.start(meant, form)
            if ids := self.leave_out_changed(meant):
                order = self.make_order(form, ids, meant)
                return self.report(self.act.do_one(ids[0], order))
            return HttpResponseRedirect(self.address)
        except ActRefused as refusal:
            show_refusal(request, first, refusal.message, refusal.codes)
        except ReasonError as refusal:
            messages.error(request, localize(refusal.message))
        except Client.DoesNotExist:
            messages.error(request, _("The client no longer exists."))
            return HttpResponseRedirect(self.back)
        return self.get(request, act)

    @property
    def back(self) -> str:
        """Return where the page leads back: to where its link stood, the one client's page, or the list."""
        came_from = self.request.GET.get(BACK, "")
        if came_from and url_has_allowed_host_and_scheme(came_from, allowed_hosts=None):
            return came_from
        if self.number == 1 and self.ids:
            return reverse("admin:credentials_client_change", args=[self.ids[0]])
        query = self.request.GET.copy()
        for name in OWN_PARAMETERS:
            query.pop(name, None)
        url = reverse("admin:credentials_client_changelist")
        return f"{url}?{query.urlencode()}" if query else url

    def show_few(self) -> HttpResponse:
        """Show what would be done with each client, as of now."""
        ids = self.ids
        order = Order(
            get_signed_in_user(self.request), overrides=self.list_overrides(), interactive=True
        )
        counts = PlanCounts()
        groups: dict[PlanClass, list[PlannedClient]] = {each: [] for each in VERDICTS}
        will: dict[int, str] = {}
        # There are very many only of an act that is done at once.
        for some in split_ids(ids):
            planned = mark_seen(self.act.plan(some, order), self.act.see(some))
            counts.add(planned)
            for each in planned:
                if len(group := groups[each.verdict]) < CLIENTS_SHOWN:
                    group.append(each)
                if each.verdict == PlanClass.WILL:
                    will[each.client_id] = each.seen
        # The title asks about those to whom it would be done; where it is none, about all that were selected.
        asked = len(will) or counts.clients
        first = next((group[0] for group in groups.values() if group), None)
        overrides = self.describe_overrides(counts.missing)
        # Of one client each is offered beside the line that it stands in for, and only the others apart.
        is_one = counts.clients == 1 and first is not None
        on_lines = {each.evidence for each in first.reasons} if first and is_one else set()
        return self.show(
            self.act.ask(asked, get_name(first) if first and asked == 1 else ""),
            groups=describe_groups(
                self.request,
                groups,
                counts.count_verdicts(),
                counts,
                self.address,
                {each["kind"]: each for each in overrides if each["kind"] in on_lines},
            ),
            number=len(will),
            selected=counts.clients,
            is_refused=bool(groups[PlanClass.REFUSED]),
            # The page of one client stands below it.
            original=all_clients().with_ids(ids).first() if len(ids) == 1 else None,
            sums=[*self.act.sum_up(will), *self.act.sum_up_plan(counts)],
            way_back=self.act.name_way_back(list(will)),
            button=self.act.name_button(len(will)) if will else "",
            form=self.make_form(len(will), first.slug if first and will else "", list(will)),
            shown=" ".join(f"{pk}:{seen}" for pk, seen in will.items()),
            overrides=overrides,
            overrides_apart=[each for each in overrides if each["kind"] not in on_lines],
            override_all=self.describe_override_of_all(counts.missing),
            campaign_notes=self.act.list_notes(self.request, ids),
            advice=self.act.advise(*ids) if len(ids) == 1 else [],
            back=self.back,
        )

    def show_many(self) -> HttpResponse:
        """Show how many clients there are, by phase, and the button that has the plan made."""
        phases = self.selected.with_phase().order_by().values_list("phase").annotate(n=Count("pk"))
        counts = dict(phases)
        return self.show(
            self.act.ask(self.number, ""),
            phases=[
                (phase.label, counts[phase.value])
                for phase in PhaseChoices
                if phase.value in counts
            ],
            number=self.number,
            selected=self.number,
            # The button names them where the address doesn't.
            named="" if self.is_in_address else " ".join(map(str, self.ids)),
            back=self.back,
        )

    def store_plan(self) -> HttpResponse:
        """Have the plan of those who are selected by now made by workers, and lead to its page."""
        chosen = self.selected.order_by("pk").values_list("pk", flat=True)
        run = self.act.store_plan(
            by=get_signed_in_user(self.request),
            chosen=list(chosen),
            overrides=self.list_overrides(),
        )
        return lead_to_plan(self.request, run)


class ActPlanView(BaseActView):
    """The page with the plan of a run: it is being made, can be started or discarded, or was."""

    template_name = "admin/migration/act_plan.html"

    @cached_property
    def run(self) -> Run:
        # One that was never planned has no such page.
        planned = ~Q(planned_at=None) | Q(state__in=Run.NOT_STARTED)
        # The ids that were chosen may be very many, and no page shows them.
        runs = select_runs_for_progress().filter(planned).defer("chosen")
        return get_object_or_404(runs, pk=self.kwargs["pk"], act__in=ACTS)

    @cached_property
    def act(self) -> Act:  # type: ignore[override]
        return ACTS[self.run.act]

    @cached_property
    def counts(self) -> PlanCounts:
        return self.run.read_plan_counts()

    @cached_property
    def numbers(self) -> dict[PlanClass, int]:
        return self.counts.count_verdicts()

    @cached_property
    def number_chosen(self) -> int:
        """Return how many clients it is made for, or to be made for."""
        if self.run.planned_at:
            return self.counts.clients
        chosen = Func("chosen", function="jsonb_array_length", output_field=IntegerField())
        number: int | None = Run.objects.filter(pk=self.run.pk).values_list(chosen, flat=True).get()
        return all_clients().count() if number is None else number

    def read_overrides(self) -> frozenset[str]:
        return self.act.evidence_kinds.intersection(self.run.override_lines)

    def get_url_with_overrides(self, kinds: Collection[str]) -> str:
        return ""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.show_plan()

    @property
    def may_start(self) -> bool:
        """Say whether the user may start it: it may stand on overrides that only some may order."""
        return not self.read_overrides() or self.act.may_override(self.request.user)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        here = HttpResponseRedirect(request.path)
        order = request.POST.get(CONFIRMED)
        if order == "1" and not self.may_start:
            raise PermissionDenied(self.act.permission)
        try:
            if order == "discard":
                self.run.discard(by=get_signed_in_user(request))
                return HttpResponseRedirect(self.back)
            if order == "plan":
                return self.plan_again()
            if order != "1":
                return here
            self.run.require_planned()
            if request.POST.get(LOOK) != str(self.run.look):
                text = _(
                    "Nothing was done: this isn't the plan that the page showed. Look at it again."
                )
                messages.warning(request, text)
                return here
            form = self.make_form(self.numbers[PlanClass.WILL], "")
            if self.is_no_longer_approved() or not form.is_valid():
                return self.show_plan()
            return self.start(self.run.plan_rows.select_work().read_seen(), form, self.run)
        except StaleRunError as error:
            messages.warning(request, localize(error.message))
        except (ActRefused, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
        return here

    def plan_again(self) -> HttpResponse:
        """Have the same clients looked at once more, with the overrides that the form names, in place of this plan."""
        by = get_signed_in_user(self.request)
        asked = self.act.evidence_kinds.intersection(self.request.POST.getlist(OVERRIDE))
        kinds = sorted(asked) if self.act.may_override(by) else []
        with transaction.atomic():
            self.run.discard(by=by)
            run = self.act.store_plan(by=by, chosen=self.run.chosen, overrides=kinds)
        return lead_to_plan(self.request, run)

    def show_looking(self) -> HttpResponse:
        """Show how far workers are with making the plan; open pages ask for it again and again."""
        return self.show(
            self.act.ask(self.number_chosen, ""),
            run=self.run,
            groups=[],
            number=0,
            selected=self.number_chosen,
            looked_at=PlanRow.objects.filter(run=self.run).count(),
            waiting_reason=Progress(self.run, []).delay_reason,
            back=self.back,
        )

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        # Its title changes while the plan is made, with what the page asks for itself.
        return super().get_context_data(names_itself=True, **kwargs)

    def show_plan(self) -> HttpResponse:
        if self.run.state == Run.State.PLANNING:
            return self.show_looking()
        number, selected = self.numbers[PlanClass.WILL], self.number_chosen
        rows = self.run.plan_rows
        of_class = rows.list_classes(SHOWN_CLASSES, most=CLIENTS_SHOWN)
        planned = [each for some in of_class.values() for each in some]
        groups = {each: [p for p in planned if p.verdict == each] for each in VERDICTS}
        work = rows.select_work().values_list("client_id", flat=True)
        notes = list[SafeString]()
        if self.run.is_open_plan:
            ids = rows.values_list("client_id", flat=True)
            notes = self.act.list_notes(self.request, ids, number=selected)
        return self.show(
            self.act.ask(number or selected, ""),
            run=self.run,
            groups=describe_groups(self.request, groups, self.numbers, self.counts, self.address),
            number=number,
            selected=selected,
            is_refused=bool(self.numbers[PlanClass.REFUSED]),
            sums=[
                *self.act.sum_up(work),
                *self.act.sum_up_plan(self.counts),
            ],
            way_back=self.act.name_way_back(work),
            files=self.act.list_plan_files(self.run),
            button=self.act.name_button(number) if number else "",
            may_start=self.may_start,
            form=self.make_form(number, ""),
            overrides=(overrides := self.describe_overrides(self.counts.missing)),
            overrides_apart=overrides,
            override_all=self.describe_override_of_all(self.counts.missing),
            overridden=sorted(self.read_overrides()),
            campaign_notes=notes,
            back=self.back,
        )


class LiveActPlanView(ActPlanView):
    """Shows the page's content again and again while the plan is being made."""

    template_name = "admin/migration/act_plan_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        if self.run.state == Run.State.PLANNING:
            return super().get(request, pk)
        # The page loads itself anew: a plan of thousands isn't made into a page twice.
        return HttpResponse(headers={"HX-Refresh": "true"})


# In this order a stored plan's page names clients, so many of each: first those that people should look at.
SHOWN_CLASSES: Sequence[str] = [
    *(PlanClass.OVERWRITTEN, PlanClass.UPDATED, PlanClass.NEW, PlanClass.WILL),
    *(PlanClass.LEFT_ALONE, PlanClass.FAILING, PlanClass.REFUSED),
    *(PlanClass.UNCHANGED, PlanClass.NOTHING),
]
ONLY_MOVED = gettext_lazy("In AWS already: only moved to dual write")

NO_OVERRIDES: Mapping[str, dict[str, Any]] = {}

# Of Unfold's labels.
LABELS = {PlanClass.WILL: "success", PlanClass.REFUSED: "danger", PlanClass.NOTHING: "default"}
# The words of a tab, and the sign of its clients.
TABS = {
    PlanClass.WILL: (gettext_lazy("Will be done"), "check"),
    PlanClass.REFUSED: (gettext_lazy("Not included"), "block"),
    PlanClass.NOTHING: (PlanClass.NOTHING.label, "remove"),
}


def show_client(
    request: HttpRequest,
    planned: PlannedClient,
    back: str,
    overrides: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return a client of a plan as the page shows it: what is not met with its remedies, and what is, folded.

    `overrides`: what may be overridden beside the line itself, by its kind of evidence.
    """
    lines = [
        {
            "code": reason.code,
            "passed": reason.passed,
            "is_off": reason.is_off,
            "overridden": reason.overridden,
            "override": overrides.get(reason.evidence),
            "text": localize(reason.text),
            "remedy": reason.find_remedy(request, back)
            if reason.find_remedy and not reason.passed
            else None,
        }
        for reason in planned.reasons
    ]
    is_among_reasons = any(reason.text == planned.message for reason in planned.reasons)
    return {
        "client_id": planned.client_id,
        "slug": planned.slug,
        "kind": name_kind(planned),
        "message": None if is_among_reasons else planned.message,
        "notes": planned.notes,
        "planned": planned,
        "lines": [line for line in lines if not line["passed"]],
        "passed": [line for line in lines if line["passed"]],
    }


def describe_groups(
    request: HttpRequest,
    groups: dict[PlanClass, list[PlannedClient]],
    numbers: dict[PlanClass, int],
    counts: PlanCounts,
    back: str,
    overrides: Mapping[str, dict[str, Any]] = NO_OVERRIDES,
) -> list[dict[str, Any]]:
    """Return the clients by what the plan says of them; the refused stand open, or else what is done, if anything.

    What mends a refusal leads back to the address. `overrides`: of the page of one client.
    """
    ids = [each.client_id for planned in groups.values() for each in planned]
    names = dict(all_clients().with_ids(ids).order_by().values_list("pk", "name"))
    in_turn = (PlanClass.REFUSED, PlanClass.WILL, *TABS)
    first = next((each for each in in_turn if groups.get(each)), PlanClass.WILL)
    return [
        {
            "verdict": verdict.value,
            "label": label,
            "number": numbers[verdict],
            "kind": LABELS[verdict],
            "icon": icon,
            "kinds": list_kinds(verdict, numbers, counts),
            "clients": [
                (show_client(request, each, back, overrides), names.get(each.client_id, each.slug))
                for each in groups[verdict]
            ],
            "more": numbers[verdict] - len(groups[verdict]),
            "is_open": verdict == first,
        }
        for verdict, (label, icon) in TABS.items()
        if numbers[verdict] or verdict == PlanClass.WILL
    ]


def get_name(planned: PlannedClient) -> str:
    """Return the name of a client, or its slug where it is gone by now."""
    names = all_clients().with_ids([planned.client_id]).values_list("name", flat=True)
    return names.first() or planned.slug


def name_kind(planned: PlannedClient) -> str:
    """Return the words for the client's class, where the act sorts finer than by verdict; else ""."""
    if planned.is_only_moved:
        return str(ONLY_MOVED)
    kind = PlanClass(planned.plan_class)
    return "" if kind in VERDICTS else str(kind.label)


def list_kinds(
    verdict: PlanClass, numbers: Mapping[PlanClass, int], counts: PlanCounts
) -> list[tuple[str, int]]:
    """Return the words and the number of clients of each class of this verdict, where the act sorts finer."""
    classes = {PlanClass(name): number for name, number in counts.classes.items()}
    moved = numbers[PlanClass.WILL] - sum(
        number for kind, number in classes.items() if kind.verdict == PlanClass.WILL
    )
    unchanged = classes.pop(PlanClass.UNCHANGED, 0) - moved
    found = [
        (str(kind.label), classes.get(kind, 0))
        for kind in map(PlanClass, SHOWN_CLASSES)
        if kind.verdict == verdict and kind not in VERDICTS
    ]
    if verdict == PlanClass.WILL:
        found.append((str(ONLY_MOVED), moved))
    elif verdict == PlanClass.NOTHING:
        found.append((str(PlanClass.UNCHANGED.label), unchanged))
    return [(label, number) for label, number in found if number]


def split_ids(ids: list[int]) -> Iterator[list[int]]:
    """Yield the ids, CLIENTS_AT_ONCE at a time."""
    return (ids[at : at + CLIENTS_AT_ONCE] for at in range(0, len(ids), CLIENTS_AT_ONCE))


add_pages(
    "client",
    ("act/plan/<int:pk>/", "act_plan", ActPlanView),
    ("act/plan/<int:pk>/live/", "act_plan_live", LiveActPlanView),
    ("act/<slug:act>/", "act", ActView),
)
