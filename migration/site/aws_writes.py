"""The page about AWS writes: whether this site may make them, the switch that stops them, and the claim."""

from __future__ import annotations

from django.contrib import messages
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration import tasks
from migration.core.audit import ReasonError
from migration.core.aws_store import describe_aws_account_and_key
from migration.core.aws_writes import (
    ClaimRefused,
    claim_database,
    describe_who_stopped_writes,
    find_write_refusal,
    start_aws_writes,
    stop_aws_writes,
    write_guard,
)
from migration.core.database_identity import differs_from_noted, read_identity
from migration.core.pages import AdminView, add_pages, get_signed_in_user, get_typed_reason
from migration.core.shared_facts import FACTS, explain_differences, find_differences, list_own_facts
from migration.core.write_state import DatabaseClaim, WriteStop, read_aws_write_state

# Of the newest stops and claims.
SHOWN = 20
STOP_PERMISSION = "migration.stop_aws_writes"
CLAIM_PERMISSION = "migration.claim_database"


def get_aws_writes_url() -> str:
    return reverse("admin:migration_run_aws_writes")


class AwsWritesView(AdminView):
    """The page that says whether this site writes to AWS, and why not; for everybody who may see runs."""

    template_name = "admin/migration/aws_writes.html"
    is_of_site = True

    @property
    def title(self) -> str:
        return _("AWS writes")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        state = read_aws_write_state(connection)
        reached = read_identity(connection)
        own, differing = list_own_facts(), find_differences(state.facts)
        context = self.get_context_data(
            stop=describe_who_stopped_writes(state),
            stop_reason=state.stop.reason if state.stop else "",
            database_refusal=write_guard().explain_refused_database(state),
            reached=reached,
            noted=state.noted,
            # Not where it is unknown which database this is.
            is_copy=reached is not None
            and (state.noted is None or differs_from_noted(reached, state.noted)),
            differences=explain_differences(state.facts),
            # Of a key its code. Empty: not known.
            facts=[
                {
                    "name": fact,
                    "noted": state.facts.get(fact, [""])[0],
                    "here": own[fact][0] if own[fact] else "",
                    "differs": fact in differing,
                }
                for fact in FACTS
            ],
            stops=WriteStop.objects.all()[:SHOWN],
            claims=DatabaseClaim.objects.all()[:SHOWN],
            aws=describe_aws_account_and_key(),
            may_stop=may(STOP_PERMISSION),
            may_claim=may(CLAIM_PERMISSION),
            input_classes=" ".join(BASE_INPUT_CLASSES),
        )
        return self.render_to_response(context)


class StopWritesView(AdminView):
    """Stops every AWS write of all workers and pages."""

    permission_required = STOP_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        try:
            stop_aws_writes(reason=get_typed_reason(request), by=get_signed_in_user(request))
        except ReasonError as error:
            messages.error(request, localize(error.message))
        return HttpResponseRedirect(get_aws_writes_url())


class StartWritesView(AdminView):
    """Lets AWS writes go on, and the runs that waited."""

    permission_required = STOP_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        start_aws_writes(by=get_signed_in_user(request))
        resume_runs(request)
        return HttpResponseRedirect(get_aws_writes_url())


class ClaimDatabaseView(AdminView):
    """Says that this duplicate is the one that writes to AWS from now on."""

    permission_required = CLAIM_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        user = get_signed_in_user(request)
        try:
            claim_database(
                reason=get_typed_reason(request), by=user, aws=str(describe_aws_account_and_key())
            )
        except (ReasonError, ClaimRefused) as error:
            messages.error(request, localize(error.message))
        else:
            resume_runs(request)
        return HttpResponseRedirect(get_aws_writes_url())


def resume_runs(request: HttpRequest) -> None:
    """Let the runs go on that waited, and say so, unless something else still keeps this site from writing."""
    if find_write_refusal() is None:
        tasks.resume_held_runs()
        messages.success(request, _("AWS writes are resumed. Waiting runs continue."))


add_pages(
    "run",
    ("aws-writes/", "aws_writes", AwsWritesView),
    ("aws-writes/stop/", "stop_writes", StopWritesView),
    ("aws-writes/start/", "start_writes", StartWritesView),
    ("aws-writes/claim/", "claim", ClaimDatabaseView),
)
