"""A campaign's page with its waves and buttons, and what pages of clients and groups say of campaigns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from credentials.localization import intcomma, localize
from credentials.models import Client
from migration.campaigns.explain import (
    NAMED_IN_ALL,
    BlockedClients,
    CampaignSummary,
    ClientIds,
    CountedClients,
    WaveState,
    WaveSummary,
    find_counted_clients,
    list_blocked_later,
    list_blocked_now,
    make_list_query,
    summarize_campaign,
)
from migration.campaigns.history import EVENTS_SHOWN, MOST_EVENTS, digest_campaign, list_history
from migration.campaigns.members import (
    NewMemberVerdict,
    count_in_campaigns,
    count_new_members,
    find_stuck_slugs,
    find_stuck_slugs_of_all_waves,
    go_on_without,
    list_newest_waves_of_groups,
    read_campaign_request,
    select_items_unmoved_by_steps,
    select_taken_further,
)
from migration.campaigns.models import (
    Campaign,
    CampaignNotChangedError,
    WaveClient,
)
from migration.campaigns.steps import approve_campaign, cancel_campaign, stop_campaign
from migration.core.audit_chain import find_whole_since
from migration.core.clients import (
    APPROVE_MOVES,
    MOVE_PERMISSIONS,
    SET_NOTICES,
    VIEW_CAMPAIGNS,
    VIEW_RUNS,
    WRITES_BOTH,
    all_clients,
    digest_clients,
)
from migration.core.notices import NoticeEvent, is_told
from migration.core.pages import (
    NOTES_OF_CLIENTS,
    RUN_PERMISSION,
    AdminView,
    ClientListFilter,
    ObjectView,
    get_signed_in_user,
    link_to_audit,
    read_number,
)
from migration.moves.approvals import ApprovalStepRefused, find_approval_refusal
from migration.moves.rules import DIFFERS
from migration.runs.acts import ReasonForm
from migration.runs.models import Run
from migration.runs.pages import make_run_badge
from migration.runs.progress import measure_progress, select_runs_for_progress
from migration.runs.starts import start_run
from migration.templatetags.migration_pages import make_label
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from migration.core.pages import Options


STEER_PERMISSION = "migration.change_campaign"
MOVE_PERMISSION = MOVE_PERMISSIONS[Move.CUTOVER]
WAVES_A_PAGE = 50
STATE_LOOKS = {
    Campaign.State.REQUESTED: ("info", "approval"),
    Campaign.State.RUNNING: ("info", "progress_activity"),
    Campaign.State.STOPPED: ("warning", "stop"),
    Campaign.State.FINISHED: ("success", "check"),
    Campaign.State.CANCELLED: ("default", "cancel"),
}


def get_campaign_url(campaign_id: int) -> str:
    """Return the address of the campaign's page."""
    return reverse("admin:migration_campaign_change", args=[campaign_id])


def make_campaign_badge(campaign: Campaign) -> str:
    """Return the campaign's state as a label with a colour and an icon."""
    variant, icon = STATE_LOOKS[Campaign.State(campaign.state)]
    return make_label(campaign.get_state_display(), variant, icon)


class CampaignView(ObjectView[Campaign]):
    """The page of one campaign."""

    template_name = "admin/migration/campaign.html"

    def find_object(self, key: str) -> Campaign | None:
        return Campaign.objects.filter(pk=read_number(key) or 0).first()

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context = super().get_context_data(**kwargs)
        digest = digest_campaign(self.original.pk)
        return context | get_campaign_context(self.request, self.original, digest)


class LiveCampaignView(AdminView):
    """The page's content, which it asks for again and again until the campaign is over.

    Answers 204 if nothing has changed since `seen`, the digest in the page.
    """

    template_name = "admin/migration/campaign_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        # First: what changes meanwhile is shown by the next poll.
        digest = digest_campaign(pk)
        if digest and digest == request.GET.get("seen"):
            return HttpResponse(status=204)
        campaign = get_object_or_404(Campaign, pk=pk)
        context = get_campaign_context(request, campaign, digest)
        response = self.render_to_response(self.get_context_data(original=campaign, **context))
        if not context["goes_on"]:
            response["HX-Refresh"] = "true"
        return response


def get_campaign_context(
    request: HttpRequest, campaign: Campaign, digest: str | None
) -> dict[str, object]:
    """Return what the page of the campaign shows, with one page of its waves; `digest`: of it, read before."""
    number = read_number(request.GET.get("page", ""))
    if not number:
        # With the newest wave that has begun: they begin in their order.
        number = max(campaign.waves.begun().count() - 1, 0) // WAVES_A_PAGE + 1
    page = Paginator(campaign.waves.all(), WAVES_A_PAGE).get_page(number)
    summary = summarize_campaign(campaign, waves=list(page.object_list))
    is_stopped = campaign.state == Campaign.State.STOPPED
    kept_now = list_blocked_now(campaign) if is_stopped else []
    kept_later = list_blocked_later(campaign) if is_stopped else []
    named = {item.client_id for left in summary.left for item in left.items}
    may_stop_by_itself = campaign.state in (Campaign.State.REQUESTED, Campaign.State.RUNNING)
    # The progress of the run that is in work, as its own page shows it
    run = summary.unfinished_run
    run = run and select_runs_for_progress().filter(pk=run.pk).first()
    may = request.user.has_perm
    whole_history, cancels = request.GET.get("history") == "all", "cancel" in request.GET
    most = MOST_EVENTS if whole_history else EVENTS_SHOWN
    events, has_more = list_history(campaign, has_permission=may, most=most)
    whole_since = None if has_more else find_whole_since()
    return {
        "digest": digest,
        "summary": summary,
        "campaign_badge": make_campaign_badge(campaign),
        # Of one that is over, the run in work may still end.
        "goes_on": not campaign.is_over or summary.waits_for is not None,
        "is_stopped": is_stopped,
        # Of whom the list of clients that were not moved doesn't tell
        "kept_now": [each for each in kept_now if not named.issuperset(dict(each.clients))],
        "kept_ids": {pk for each in kept_now for pk, _slug in each.clients},
        "kept_later": sum(each.number for each in kept_later),
        "kept_later_query": make_list_query(CountedClients.KEPT_LATER, campaign.pk),
        "differ_now": any(each.blocker == DIFFERS for each in kept_now),
        "may_view_report": may("migration.view_comparison"),
        "history": events,
        "history_has_more": has_more,
        "whole_history": whole_history,
        "whole_since": whole_since if whole_since and whole_since > campaign.created_at else None,
        # Whether somebody is about to cancel it: the page says so in its address, as it renews itself.
        "cancels": cancels,
        "drops_rollback": cancels and campaign.waves.filter(rollback_is_due=True).exists(),
        # The same page of waves, which asks whether to cancel it
        "cancel_url": f"?cancel=1&page={page.number}{'&history=all' if whole_history else ''}#cancel",
        **(get_stop_notice_context(request) if may_stop_by_itself else {}),
        "page": page,
        "waves": [get_wave_context(wave) for wave in summary.waves],
        "counts_shown": any(wave.counts for wave in summary.waves),
        "time_zone": timezone.get_default_timezone_name(),
        "may_view_runs": may(VIEW_RUNS) or may(RUN_PERMISSION),
        "may_view_clients": may("credentials.view_client"),
        "audit_url": link_to_audit(
            request, correlation=f"campaign {campaign.pk}", since=campaign.created_at.date()
        ),
        "frequent_reason": summary.frequent_reason,
        **({"progress": measure_progress(run), "run_badge": make_run_badge(run)} if run else {}),
        **get_buttons_context(request, campaign, summary, kept_now, kept_later),
    }


def get_buttons_context(
    request: HttpRequest,
    campaign: Campaign,
    summary: CampaignSummary,
    kept_now: Collection[BlockedClients],
    kept_later: Collection[BlockedClients],
) -> dict[str, object]:
    """Return which buttons the campaign's state and the user's permissions allow, and which of them is advised."""
    user, state = get_signed_in_user(request), campaign.state
    may_steer = user.has_perm(STEER_PERMISSION)
    approves = state == Campaign.State.REQUESTED and user.has_perm(APPROVE_MOVES)
    why_not = find_approval_refusal(campaign, user) if approves else None
    may_go_on = may_steer and state == Campaign.State.STOPPED and user.has_perm(MOVE_PERMISSION)
    stuck, later = set[int](), set[int]()
    if may_go_on and not summary.unfinished_run:  # while a run is in work it may leave more
        stuck, later = (
            {pk for each in kept if not each.passes_soon for pk, _slug in each.clients}
            for kept in (kept_now, kept_later)
        )
        refused = select_items_unmoved_by_steps(campaign).order_by()
        stuck |= set(refused.values_list("client_id", flat=True))
    # One button stands out, as the text advises it, and none while the page asks whether to cancel.
    to_fix = sum(each.number for each in kept_now if each.passes_at is None)
    may_see = user.has_perm("credentials.view_client")
    advised = ("fix" if may_see else "without") if to_fix else "go_on"
    variants = {
        f"{name}_variant": "primary"
        if name == advised and "cancel" not in request.GET
        else "default"
        for name in ("fix", "without", "go_on")
    }
    return {
        "may_roll_back": user.has_perm(MOVE_PERMISSION) and may_see,
        "may_compare": may_steer
        and summary.waiting is not None
        and summary.waiting.lacks_comparison
        and user.has_perm(RUN_PERMISSION),
        "may_stop": may_steer and state == Campaign.State.RUNNING,
        "may_go_on": may_go_on,
        "stuck": len(stuck),  # clients that hold it up
        "to_leave_out": len(stuck | later),
        "to_fix": to_fix,
        "fix_url": _find_fix_url(campaign, kept_now) if to_fix and may_see else "",
        **variants,
        "may_cancel": not campaign.is_over and may_cancel(request, campaign),
        "may_approve": approves and why_not is None,
        "why_not_approved": why_not,
        **(
            {
                "content": read_campaign_request(campaign.pk),
                "new_members": count_new_members(campaign),
            }
            if state == Campaign.State.REQUESTED
            else {}
        ),
    }


def _find_fix_url(campaign: Campaign, kept_now: Collection[BlockedClients]) -> str:
    """Return the address of what is to be fixed: the page of the only client, or the list of them."""
    to_fix = [each for each in kept_now if each.passes_at is None]
    if sum(each.number for each in to_fix) > 1:
        query = make_list_query(CountedClients.KEPT_NOW, campaign.pk)
        return f"{reverse('admin:credentials_client_changelist')}?{query}"
    (kept,) = to_fix
    page = reverse("admin:credentials_client_change", args=[kept.clients[0][0]])
    return f"{page}{kept.client_page_query}"


def get_stop_notice_context(request: HttpRequest) -> dict[str, bool]:
    """Return whether nobody is told when a campaign stops by itself, and whether the user may change that."""
    return {
        "nobody_is_told": not is_told(NoticeEvent.WAVE_STOPPED),
        "may_set_notices": request.user.has_perm(SET_NOTICES),
    }


WAVE_LOOKS = {
    WaveState.NOT_BEGUN: ("default", "schedule"),
    WaveState.IN_WORK: ("info", "progress_activity"),
    WaveState.SOAKING: ("info", "hourglass"),
    WaveState.WAITING: ("info", "hourglass"),
    WaveState.BEGUN: ("default", "play_arrow"),
    WaveState.ROLLING_BACK: ("warning", "undo"),
    WaveState.ROLLED_BACK: ("warning", "undo"),
    WaveState.FINISHED: ("success", "check"),
}


def get_wave_context(wave: WaveSummary) -> dict[str, object]:
    """Return what the page shows of one wave; in `counts` each number with its limit and its list's query."""
    campaign, counts, pk = wave.wave.campaign, wave.counts, wave.wave.pk
    variant, icon = WAVE_LOOKS[wave.state]
    label = str(wave.state.label)
    if wave.state == WaveState.BEGUN and campaign.state == Campaign.State.STOPPED:
        label, variant, icon = gettext("Stopped"), "warning", "stop"
    elif wave.state == WaveState.FINISHED and wave.at_goal < wave.clients - wave.deleted:
        # Somebody moved clients of it back, or took them out of their group.
        label, variant = gettext("Finished in part"), "warning"
    elif wave.state == WaveState.BEGUN and campaign.is_over:
        label, icon = gettext("Not finished"), "cancel"
    numbers: list[tuple[str, int, int, CountedClients]] = []
    if counts:
        numbers = [
            (
                gettext("Refused clients"),
                counts.refused,
                campaign.most_refused,
                CountedClients.REFUSED,
            ),
            (
                gettext("Mismatches"),
                counts.mismatches,
                campaign.most_mismatches,
                CountedClients.DIFFERING,
            ),
            (
                gettext("Failed reads"),
                counts.failed_reads,
                campaign.most_failed_reads,
                CountedClients.FAILED_READS,
            ),
        ]
    until = wave.soaks_until
    return {
        "pk": pk,
        "name": wave.wave.name_message,
        "badge": make_label(label, variant, icon),
        # By an act on exactly those that the client list shows with this filter.
        "in_aws": 0 if wave.state == WaveState.ROLLING_BACK else wave.phases[Phase.AWS],
        "in_aws_query": make_list_query(CountedClients.TAKEN, pk, phase=Phase.AWS.value),
        "began_at": wave.wave.began_at,
        "finished_at": wave.wave.finished_at,
        "clients": wave.clients if counts else None,
        "at_goal": wave.at_goal,
        "percent": 100 * wave.at_goal / wave.clients if wave.clients else 0,
        "deleted": wave.deleted,
        "left_out": wave.left_out,
        "left_out_query": make_list_query(CountedClients.LEFT_OUT, pk),
        "phases": [
            (phase, number, make_list_query(CountedClients.TAKEN, pk, phase=phase.value))
            for phase, number in wave.phases.items()
            if number
        ],
        "soak_left": (until - timezone.now()).total_seconds() if until else None,
        # Each number leads to a list of exactly the clients that it counts.
        "counts": [
            (name, number, limit, number >= limit, make_list_query(counted, pk))
            for name, number, limit, counted in numbers
        ],
        "runs": wave.runs[::-1],  # the newest first
    }


def may_cancel(request: HttpRequest, campaign: Campaign) -> bool:
    """Say whether the user may cancel the campaign, as who may steer it may.

    While it waits for an approval its requester may take it back, and who may approve moves may refuse it.
    """
    waits = campaign.state == Campaign.State.REQUESTED
    is_own = campaign.by_id == request.user.pk
    decides = waits and (is_own or request.user.has_perm(APPROVE_MOVES))
    return decides or request.user.has_perm(STEER_PERMISSION)


# Its buttons


class ButtonForm(forms.Form):
    """What a button sends of the page on which it stood: when the campaign was changed last, and what it showed."""

    seen = forms.DateTimeField(required=False, widget=forms.HiddenInput)
    # Of whom it was: a `RequestContent`, or a digest of clients.
    shown = forms.CharField(required=False, widget=forms.HiddenInput)


class CampaignButtonView(AdminView):
    """A button on the page of one campaign; 404 if there is no such campaign."""

    permission_required: str | None = STEER_PERMISSION

    @cached_property
    def campaign(self) -> Campaign:
        return get_object_or_404(Campaign, pk=self.kwargs["pk"])

    def change_state(
        self, change: Callable[..., object], done: str, *, takes: Collection[str] = ("seen",)
    ) -> HttpResponseRedirect:
        """Steer the campaign in the user's name, and say that it is done or why not; 400 for what no button sends.

        `takes`: the fields of the form that the change wants.
        """
        form = ButtonForm(self.request.POST)
        if not form.is_valid():
            raise BadRequest
        sent = {name: form.cleaned_data[name] for name in takes}
        try:
            change(self.campaign, by=get_signed_in_user(self.request), **sent)
        except (ApprovalStepRefused, CampaignNotChangedError) as refusal:
            messages.warning(self.request, localize(refusal.message))
        else:
            messages.success(self.request, done)
        return HttpResponseRedirect(get_campaign_url(self.campaign.pk))


class SteerCampaignView(CampaignButtonView):
    """Stops the campaign, has it go on, or compares its clients, as the button's `order` says; 400 for another.

    What goes on moves clients, which needs the permission for their moves; a comparison, that for runs.
    """

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        match request.POST.get("order"):
            case "compare":
                if not request.user.has_perm(RUN_PERMISSION):
                    raise PermissionDenied
                # Of its waves that have begun and are not finished, as far as both stores hold the clients
                waves = self.campaign.waves.begun().filter(finished_at=None)
                taken = WaveClient.objects.not_left_out().filter(wave__in=waves)
                clients = all_clients().filter(pk__in=taken.values("client_id"))
                return start_run(request, Run.Kind.COMPARE, clients.in_phases(*WRITES_BOTH))
            case "stop":
                done = gettext("Stopped. A run in progress ends with its current batches.")
                return self.change_state(stop_campaign, done)
            case "go_on":
                if not request.user.has_perm(MOVE_PERMISSION):
                    raise PermissionDenied
                done = gettext("The campaign continues. Its limits count from zero.")
                return self.change_state(Campaign.go_on, done)
        raise BadRequest


class CancelCampaignView(CampaignButtonView):
    """Ends the campaign for good. A requested one is taken back so by who requested it, or refused by an approver."""

    def has_permission(self) -> bool:
        campaign = Campaign.objects.filter(pk=self.kwargs["pk"]).first()
        return campaign is not None and may_cancel(self.request, campaign)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        only_requested = not request.user.has_perm(STEER_PERMISSION)
        done = gettext("Cancelled. Runs in progress end first; then clients stay in their phase.")
        return self.change_state(partial(cancel_campaign, only_requested=only_requested), done)


class ApproveCampaignView(CampaignButtonView):
    """Lets a requested campaign begin, unless the user requested it."""

    permission_required = APPROVE_MOVES

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        done = gettext("Approved: the campaign begins.")
        return self.change_state(approve_campaign, done, takes=("seen", "shown"))


class GoOnForm(ReasonForm):
    """Why a campaign goes on without clients, and what the page showed of it and of them.

    Digests of those that hold it up now, and of all: also of those that would in a later wave.
    """

    seen = forms.DateTimeField(required=False, widget=forms.HiddenInput)
    clients = forms.CharField(widget=forms.HiddenInput)
    every_client = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = True


class GoOnWithoutView(CampaignButtonView):
    """Has the campaign go on without the clients that hold it up, or would in a later wave, which it names first.

    Their digest is sent along, so that nobody leaves out others than were shown.
    """

    template_name = "admin/migration/campaign_go_on.html"

    @property
    def title(self) -> str:
        return gettext("Continue %(campaign)s without blocked clients") % {
            "campaign": self.campaign
        }

    def has_permission(self) -> bool:
        return all(map(self.request.user.has_perm, (STEER_PERMISSION, MOVE_PERMISSION)))

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.show()

    def show(self, form: GoOnForm | None = None) -> HttpResponse:
        """Show who holds it up, or would, and the form."""
        stuck = find_stuck_slugs(self.campaign)
        every_client = find_stuck_slugs_of_all_waves(self.campaign)
        shown = {
            "seen": self.campaign.changed_at.isoformat(),
            "clients": digest_clients(stuck),
            "every_client": digest_clients(every_client),
        }
        refused = select_items_unmoved_by_steps(self.campaign).order_by("client_id", "-pk")
        newest = list(refused.distinct("client_id")[: NAMED_IN_ALL + 1])
        named = {item.client_id for item in newest[:NAMED_IN_ALL]}
        number_refused = refused.order_by().values("client_id").distinct().count()
        return self.render_to_response(
            self.get_context_data(
                form=form or GoOnForm(initial=shown),
                original=self.campaign,
                is_stopped=self.campaign.state == self.campaign.State.STOPPED,
                number=len(stuck),
                number_of_all=len(every_client),
                items=newest[:NAMED_IN_ALL],
                not_named=max(0, number_refused - NAMED_IN_ALL),
                # Of whom the list of refused clients doesn't tell
                kept_now=[
                    each
                    for each in list_blocked_now(self.campaign)
                    if not each.passes_soon and not named.issuperset(dict(each.clients))
                ],
                kept_later=[
                    each for each in list_blocked_later(self.campaign) if not each.passes_soon
                ],
                may_view_clients=self.request.user.has_perm("credentials.view_client"),
            )
        )

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        form, of_all = GoOnForm(request.POST), "of_all" in request.POST
        if {"seen", "clients"} & set(form.errors):
            raise BadRequest
        if not form.is_valid():
            return self.show(form)
        try:
            number = go_on_without(
                self.campaign,
                by=get_signed_in_user(request),
                find=find_stuck_slugs_of_all_waves if of_all else find_stuck_slugs,
                seen=form.cleaned_data["seen"],
                digest=form.cleaned_data["every_client" if of_all else "clients"],
                reason=form.cleaned_data["reason"],
            )
        except CampaignNotChangedError as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(request.path)
        text = ngettext(
            "The campaign continues. %(n)d client was left out.",
            "The campaign continues. %(n)d clients were left out.",
            number,
        )
        messages.success(request, text % {"n": number})
        return HttpResponseRedirect(get_campaign_url(pk))


# What pages of clients and groups say of campaigns


# Of the filter: clients that no campaign which is not over is to take further.
NO_CAMPAIGN = "none"


class CampaignFilter(ClientListFilter):
    """Filters the client list by what a page of a campaign counts, for those who may see campaigns.

    Its address is made by pages alone. A value that means nothing shows nobody: a wave is rolled back by an act on all
    that the list shows. NO_CAMPAIGN leaves out, for everybody, who is left to a campaign.
    """

    title = _("campaign")
    parameter_name = "campaign"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return the value that the address has: the filter has no choices of its own."""
        value = self.value()
        if not value:
            return []
        if value == NO_CAMPAIGN:
            return [(value, _("In no campaign"))]
        found = self.read_counted(request, value)
        return [(value, found[0] if found else _("Not known"))]

    def find_condition(self, value: str) -> Q | None:
        if not value:
            return None
        if value == NO_CAMPAIGN:
            return ~select_taken_further()
        found = self.read_counted(self.request, value)
        return Q(pk__in=found[1] if found else [])

    def read_counted(self, request: HttpRequest, value: str) -> tuple[str, ClientIds] | None:
        """Return the words of the value and the ids of its clients; None where it means nothing to the user."""
        word, _dash, number = value.partition("-")
        pk = read_number(number)
        if pk is None or not request.user.has_perm(VIEW_CAMPAIGNS):
            return None
        return find_counted_clients(word, pk)


def describe_campaigns_of_clients(
    request: HttpRequest,
    client_ids: Collection[int] | QuerySet[Any, int],
    *,
    number: int | None = None,
) -> list[SafeString]:
    """Return a sentence for each campaign that is not over and has to do with some of the clients yet. One query.

    It links to the campaign where the user may view campaigns. `number`: of the ids, needed where they are a query.
    """
    asked = len(client_ids) if number is None else number
    may_view = request.user.has_perm(VIEW_CAMPAIGNS)
    notes = []
    for campaign, found, moves_clients in count_in_campaigns(client_ids, in_finished_waves=False):
        text = ngettext(
            "{n} of these clients is in {campaign}, {what}.",
            "{n} of these clients are in {campaign}, {what}.",
            found,
        )
        if asked == 1:
            text = gettext("This client is in {campaign}, {what}.")
        if campaign.state == Campaign.State.RUNNING:
            what = gettext("which moves its clients by itself, each when its wave begins")
        elif moves_clients:
            what = gettext("which is stopped; what it has in work still moves clients")
        else:
            state = campaign.get_state_display().lower()
            what = gettext("which is not moving clients (%(state)s)") % {"state": state}
        shown = _link(campaign) if may_view else str(campaign)
        notes.append(format_html(text, n=intcomma(found), campaign=shown, what=what))
    return notes


NOTES_OF_CLIENTS.append(describe_campaigns_of_clients)


def describe_new_member_verdicts(
    user: AbstractBaseUser | AnonymousUser | None, group_ids: Collection[int]
) -> list[SafeString]:
    """Return a sentence for each group in a campaign: whether it takes clients that are put in now."""
    may_view = bool(user and user.has_perm(VIEW_CAMPAIGNS))  # type: ignore[union-attr]  # both have it
    texts = {
        NewMemberVerdict.LATER: gettext(
            "{campaign} takes the clients of {group} when their wave begins, also those that you put into it now."
        ),
        NewMemberVerdict.IN_ANOTHER_PART: gettext(
            "{campaign} has begun with {group}, and takes the clients that you put into it now in another wave."
        ),
        NewMemberVerdict.NOT_APPROVED: gettext(
            "{campaign} takes {group}, but leaves out who comes into it now: it was requested without them."
        ),
        NewMemberVerdict.TOO_LATE: gettext(
            "{campaign} has begun its wave of {group}, and leaves out who comes into it now."
        ),
    }
    return [
        format_html(
            texts[takes],
            campaign=_link(wave.campaign) if may_view else wave.campaign,
            group=wave.group,
        )
        for wave, takes in list_newest_waves_of_groups(group_ids)
    ]


def _link(campaign: Campaign) -> SafeString:
    url = get_campaign_url(campaign.pk)
    return format_html('<a class="text-link underline" href="{}">{}</a>', url, campaign)
