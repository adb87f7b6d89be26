"""The page of one campaign, the part of it that refreshes itself, and its buttons."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import (
    RUN_PERMISSION,
    AdminView,
    ObjectView,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
)
from migration.admin.campaign_waves import get_wave_context
from migration.admin.run_starts import start_run
from migration.admin.run_views import make_run_badge
from migration.models.campaign_clients import count_new_members, read_campaign_request
from migration.models.campaigns import Campaign, StaleCampaignError
from migration.models.clients import all_clients, digest_selection
from migration.models.left_clients import select_items_unmoved_by_steps
from migration.models.notices import NoticeEvent, is_told
from migration.models.permissions import APPROVE_MOVES, SET_NOTICES, VIEW_RUNS
from migration.models.phases import MOVE_PERMISSIONS, WRITES_BOTH
from migration.models.readiness import Blocker
from migration.models.runs import Run
from migration.models.waves import WaveClient
from migration.operations.approvals import ApprovalStepRefused, find_second_user_refusal
from migration.operations.campaigns import approve_campaign, cancel_campaign, stop_campaign
from migration.people.roles import VIEW_AUDIT
from migration.reports.campaign_changes import digest_campaign
from migration.reports.campaign_history import EVENTS_SHOWN, MOST_EVENTS, list_history
from migration.reports.campaign_now import list_blocked_now
from migration.reports.campaigns import summarize_campaign
from migration.reports.run_progress import measure_progress, select_runs_for_progress
from migration.templatetags.migration_pages import make_label
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.http import HttpRequest

    from migration.models.clients import ClientPhaseQuerySet
    from migration.reports.campaign_now import BlockedNow
    from migration.reports.campaigns import CampaignSummary

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

MAY_STOP = (Campaign.State.REQUESTED, Campaign.State.RUNNING)


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


class CampaignButtonView(AdminView):
    """A button on the page of one campaign; 404 if there is no such campaign."""

    permission_required: str | None = STEER_PERMISSION

    @cached_property
    def campaign(self) -> Campaign:
        return get_object_or_404(Campaign, pk=self.kwargs["pk"])

    def change_state(self, change: Callable[..., None], done: str) -> HttpResponseRedirect:
        """Steer the campaign in the user's name, and say that it is done or why not."""
        try:
            change(
                self.campaign,
                by=get_signed_in_user(self.request),
                seen=read_seen_change_time(self.request),
            )
        except StaleCampaignError as refusal:
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
                return start_run(request, Run.Kind.COMPARE, list_clients_to_compare(self.campaign))
            case "stop":
                done = _(
                    "Stopped: nothing more begins. A run in work ends with the batches that have begun."
                )
                return self.change_state(stop_campaign, done)
            case "go_on":
                if not request.user.has_perm(MOVE_PERMISSION):
                    raise PermissionDenied
                done = _("The campaign goes on, and counts anew against its limits.")
                return self.change_state(Campaign.go_on, done)
        raise BadRequest


def list_clients_to_compare(campaign: Campaign) -> ClientPhaseQuerySet:
    """Return the clients of its waves that have begun and are not finished, as far as both stores hold them."""
    taken = WaveClient.objects.not_left_out().filter(
        wave__in=campaign.waves.begun().filter(finished_at=None)
    )
    return all_clients().filter(pk__in=taken.values("client_id")).in_phases(*WRITES_BOTH)


class CancelCampaignView(CampaignButtonView):
    """Ends the campaign for good. Who may approve a requested one may refuse it so."""

    def has_permission(self) -> bool:
        campaign = Campaign.objects.filter(pk=self.kwargs["pk"]).first()
        return campaign is not None and may_cancel(self.request, campaign)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        only_requested = not request.user.has_perm(STEER_PERMISSION)
        cancel = partial(cancel_campaign, only_requested=only_requested)
        return self.change_state(
            cancel,
            _(
                "Cancelled: nothing more begins. Its clients stay where they are once what is in work has ended."
            ),
        )


class ApproveCampaignView(AdminView):
    """Lets a requested campaign begin, unless the user requested it."""

    permission_required = APPROVE_MOVES

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            approve_campaign(
                campaign_id=pk,
                by=get_signed_in_user(request),
                seen=read_seen_change_time(request),
                shown=read_raw_form_text(request, "shown"),
            )
        except Campaign.DoesNotExist:
            raise Http404 from None
        except (ApprovalStepRefused, StaleCampaignError) as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("Approved: the campaign begins."))
        return HttpResponseRedirect(get_campaign_url(pk))


def read_seen_change_time(request: HttpRequest) -> datetime | None:
    """Return when the campaign was changed last, as the page said; None where it doesn't say; 400 for no time."""
    if not (text := request.POST.get("seen")):
        return None
    try:
        seen = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest from None
    if seen.tzinfo is None:
        raise BadRequest
    return seen


def may_cancel(request: HttpRequest, campaign: Campaign) -> bool:
    """Say whether the user may cancel the campaign: who may steer it, and while it waits who may approve moves."""
    waits = campaign.state == Campaign.State.REQUESTED
    approves = waits and request.user.has_perm(APPROVE_MOVES)
    return approves or request.user.has_perm(STEER_PERMISSION)


def get_campaign_url(campaign_id: int) -> str:
    """Return the address of the campaign's page."""
    return reverse("admin:migration_campaign_change", args=[campaign_id])


def make_cancel_url(page: int, *, whole_history: bool) -> str:
    """Return the address of the same page of waves that asks whether to cancel the campaign."""
    return f"?cancel=1&page={page}{'&history=all' if whole_history else ''}#cancel"


def make_campaign_badge(campaign: Campaign) -> str:
    """Return the campaign's state as a label with a colour and an icon."""
    variant, icon = STATE_LOOKS[Campaign.State(campaign.state)]
    return make_label(campaign.get_state_display(), variant, icon)


def get_campaign_context(
    request: HttpRequest, campaign: Campaign, digest: str | None
) -> dict[str, object]:
    """Return what the page of the campaign shows, with one page of its waves; `digest`: of it, read before."""
    page = Paginator(campaign.waves.all(), WAVES_A_PAGE).get_page(
        read_number(request.GET.get("page", "")) or find_page_in_work(campaign)
    )
    roll_back = read_number(request.GET.get("roll_back", ""))
    rolled_back = all_clients().filter(
        wave_clients__wave=roll_back,
        wave_clients__left_out_at=None,
        wave_clients__wave__campaign=campaign,
    )
    summary = summarize_campaign(campaign, waves=list(page.object_list))
    kept_now = list_blocked_now(campaign) if campaign.state == Campaign.State.STOPPED else []
    may = request.user.has_perm
    whole_history, cancels = request.GET.get("history") == "all", "cancel" in request.GET
    return {
        "digest": digest,
        "summary": summary,
        "campaign_badge": make_campaign_badge(campaign),
        # Of one that is over, the run in work may still end.
        "goes_on": not campaign.is_over or summary.waits_for is not None,
        "kept_now": kept_now,
        "to_correct": any(each.passes_at is None for each in kept_now),
        "differ_now": any(each.blocker == Blocker.DIFFERS for each in kept_now),
        "may_view_report": may("migration.view_comparison"),
        "history": list_history(campaign, MOST_EVENTS if whole_history else EVENTS_SHOWN),
        "whole_history": whole_history,
        # The wave whose rollback somebody is about to confirm: the page says so in its address, as it renews itself.
        "roll_back": roll_back,
        "roll_back_digest": roll_back
        and digest_selection(rolled_back.with_phase().in_phases(Phase.AWS)),
        # Likewise, whether somebody is about to cancel it.
        "cancels": cancels,
        # Stopping or going on stands out, but not while the page asks to cancel or names what to correct.
        "steer_variant": "default" if kept_now or cancels else "primary",
        "drops_rollback": cancels and campaign.waves.filter(rollback_is_due=True).exists(),
        "cancel_url": make_cancel_url(page.number, whole_history=whole_history),
        **(get_stop_notice_context(request) if campaign.state in MAY_STOP else {}),
        "page": page,
        "waves": [get_wave_context(wave) for wave in summary.waves],
        "time_zone": timezone.get_default_timezone_name(),
        "may_view_runs": may(VIEW_RUNS) or may(RUN_PERMISSION),
        "may_view_clients": may("credentials.view_client"),
        "may_view_audit": may(VIEW_AUDIT),
        "frequent_reason": summary.frequent_reason,
        **get_progress_context(summary.unfinished_run),
        **get_buttons_context(request, campaign, summary, kept_now),
    }


def count_stuck(campaign: Campaign, kept_now: Collection[BlockedNow]) -> int:
    """Count the clients that hold the campaign up; `kept_now`: who is kept at this stop, read before."""
    refused = select_items_unmoved_by_steps(campaign).order_by().values_list("client_id", flat=True)
    stuck = {pk for each in kept_now if not each.passes_soon for pk, _slug in each.clients}
    return len(stuck | set(refused))


def get_stop_notice_context(request: HttpRequest) -> dict[str, bool]:
    """Return whether nobody is told when a campaign stops by itself, and whether the user may change that."""
    return {
        "nobody_is_told": not is_told(NoticeEvent.WAVE_STOPPED),
        "may_set_notices": request.user.has_perm(SET_NOTICES),
    }


def find_page_in_work(campaign: Campaign) -> int:
    """Return the page of waves with the newest one that has begun: they begin in their order."""
    return max(campaign.waves.begun().count() - 1, 0) // WAVES_A_PAGE + 1


def get_progress_context(run: Run | None) -> dict[str, object]:
    """Return the progress of the run that is in work, as its own page shows it."""
    found = run and select_runs_for_progress().filter(pk=run.pk).first()
    return (
        {"progress": measure_progress(found), "run_badge": make_run_badge(found)} if found else {}
    )


def get_buttons_context(
    request: HttpRequest,
    campaign: Campaign,
    summary: CampaignSummary,
    kept_now: Collection[BlockedNow],
) -> dict[str, object]:
    """Return which buttons the campaign's state and the user's permissions allow."""
    user, state = get_signed_in_user(request), campaign.state
    may_steer = user.has_perm(STEER_PERMISSION)
    approves = state == Campaign.State.REQUESTED and user.has_perm(APPROVE_MOVES)
    why_not = find_second_user_refusal(campaign.by, campaign.by_name, user) if approves else None
    may_go_on = may_steer and state == Campaign.State.STOPPED and user.has_perm(MOVE_PERMISSION)
    return {
        "may_roll_back": user.has_perm(MOVE_PERMISSION)
        and user.has_perm("credentials.view_client"),
        "may_compare": may_steer
        and summary.waiting is not None
        and summary.waiting.lacks_comparison
        and user.has_perm(RUN_PERMISSION),
        "may_stop": may_steer and state == Campaign.State.RUNNING,
        "may_go_on": may_go_on,
        # While a run is in work it may leave more.
        "stuck": count_stuck(campaign, kept_now) if may_go_on and not summary.unfinished_run else 0,
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
