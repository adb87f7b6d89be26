"""The page about AWS: what `check_aws` finds, the policies that `iam_policy` prints, and what it costs a month."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials import prices
from migration.admin.base import RUN_PERMISSION, AdminView, add_pages
from migration.admin.check_nova import count_findings
from migration.operations.doctor.findings import FindingState
from migration.operations.iam.examination import examine_account, list_needed
from migration.operations.iam.permissions import Role
from migration.operations.iam.policies import (
    PolicyError,
    find_policy_facts,
    make_policy,
    read_account_of_newest_secret,
)
from migration.reports.costs import ADVICE, STEPS, estimate_costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

    from migration.operations.iam.examination import PermissionFinding


class ShownPolicy(NamedTuple):
    """A role's policy for the page: role, title, and the JSON that IAM takes."""

    role: str
    title: str
    text: str


class CheckAwsView(AdminView):
    """Shows the policies; on POST, what AWS permits, for those who may start runs. Every role sees the page."""

    template_name = "admin/migration/check_aws.html"
    is_of_site = True
    permission_required = "migration.view_worker"

    @property
    def title(self) -> str:
        return _("Check AWS")

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show([])

    def post(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        return self._show(examine_account())

    def _show(self, findings: Sequence[PermissionFinding]) -> HttpResponse:
        account = self.request.GET.get("account", "").strip() or read_account_of_newest_secret()
        policies: list[ShownPolicy] = []
        problem = None
        try:
            policies = list_policies(account)
        except PolicyError as error:
            problem = error.message
        cost = estimate_costs()
        return self.render_to_response(
            self.get_context_data(
                findings=findings,
                failed=count_findings(findings, FindingState.FAILED),
                unlooked=count_findings(findings, FindingState.NOT_LOOKED_AT),
                account=account,
                policies=policies,
                problem=problem,
                permissions=[{"action": each.action, "why": each.why()} for each in list_needed()],
                may_check=self.request.user.has_perm(RUN_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                cost=cost,
                advice=ADVICE[cost["advice"]](),
                step=STEPS[cost["step"] - 1](),
                priced_on=prices.AWS_PRICES_READ,
            )
        )


def list_policies(account: str) -> list[ShownPolicy]:
    """Return each role's policy, for the newest secret's account if none is named; raises `PolicyError`."""
    facts = find_policy_facts(account=account)
    titles = {
        Role.READER: _("NOVA reads"),
        Role.ADMIN: _("This site"),
        Role.ROTATION: _("A process that only rotates"),
    }
    return [
        ShownPolicy(role.value, title, json.dumps(make_policy(role, facts), indent=2))
        for role, title in titles.items()
    ]


add_pages(
    "run",
    ("check-aws/", "check_aws", CheckAwsView),
)
