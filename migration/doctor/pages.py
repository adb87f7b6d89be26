"""The pages of the doctor and of settings: the site's health, AWS's permissions, cost, and what is set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.widgets import BASE_INPUT_CLASSES

from credentials import prices
from credentials.localization import intcomma, localize
from credentials.nova_columns import read_nova_columns
from credentials.secret_names import configured_layout
from migration.core.audit_chain import read_head
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import VIEW_CHECKS
from migration.core.pages import RUN_PERMISSION, AdminView, add_pages, read_raw_form_text
from migration.core.problems import (
    MINUTE,
    PROBLEMS,
    Action,
    Area,
    Finder,
    FindingState,
    Look,
    ProblemRecord,
    Result,
    Severity,
    list_results,
)
from migration.doctor.iam import (
    PermissionFinding,
    PolicyError,
    Role,
    examine_account,
    find_policy_facts,
    list_needed,
    make_policy,
    report_permissions,
)
from migration.doctor.looks import list_site_problems, look_at_site
from migration.doctor.nova import role_exists
from migration.nova.tables import list_nova_objects, split_unknown_accepted
from migration.site.costs import ADVICE, estimate_costs
from migration.site.environment import read_account_of_newest_secret
from migration.site.menu import SETTINGS, get_menu_counts
from migration.site.notices import list_recipients
from nova_credentials.document import Layout
from nova_credentials.messages import describe_duration

# A page verifies an audit with as many entries: some seconds.
MOST_VERIFIED = 50_000


class HealthView(AdminView):
    """Shows what is wrong with the site, then what is well; on POST, after everything was looked for anew.

    To look changes nothing of NOVA's. Every role sees the page: it names roles, tables and hosts, and no value.
    """

    template_name = "admin/migration/health.html"
    is_of_site = True
    permission_required = VIEW_CHECKS

    @property
    def title(self) -> str:
        return _("Health")

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show(self._look())

    def post(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        role = read_raw_form_text(request, "role").strip()
        if role and not role_exists(role):
            return self._show(self._look(), role=role, unknown=True)
        problems = list_site_problems()
        # Nobody waits minutes for a page: of a long audit the daily look counts.
        left = [each for each in problems if each.code == "audit_unsound" and _is_audit_long()]
        found = look_at_site([each for each in problems if each not in left], role=role or None)
        if left:
            found += list_results(Look(), anew=(), only=[each.code for each in left])
        found.sort(key=lambda result: problems.index(result.problem))
        return self._show(found, role=role)

    def _look(self) -> list[Result]:
        """Look for what the database tells; take the rest as it was stored."""
        codes = [each.code for each in list_site_problems()]
        return list_results(Look(briefly=True), anew=(Finder.PAGE, Finder.WORKER), only=codes)

    def _show(
        self, results: Sequence[Result], *, role: str = "", **context: object
    ) -> HttpResponse:
        # The page's time is that of what is looked for each minute; the rest tells its own time, in its area.
        often = [each for each in results if (each.problem.looked_for_every or MINUTE) <= MINUTE]
        looked_at = [each.looked_at for each in often if each.looked_at]
        get_menu_counts(self.request).give("problems", sum(each.is_open for each in results))
        return self.render_to_response(
            self.get_context_data(
                results=results,
                open=[
                    (each, self._find_action(each), _find_command(each))
                    for each in results
                    if each.is_open
                ],
                areas=list(_list_areas(results, told=self.request.GET.get("area", ""))),
                unanswered=[
                    (each, self._find_action(each)) for each in results if _lacks_answer(each)
                ],
                # Each was looked at then, or later.
                checked_at=min(looked_at) if len(looked_at) == len(often) else None,
                role=role,
                may_check=self.request.user.has_perm(RUN_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                **context,
            )
        )

    def _find_action(self, result: Result) -> Action | None:
        """Return the button to the page where something is done about it; None where the user may not open that."""
        each, may = result.problem, self.request.user.has_perm
        permission = each.page_permission or each.permission
        if not each.button or not may(permission):
            return None
        places = (found.url for found in result.findings)
        # A list elsewhere is not where this button leads.
        url = next((place for place in places if place.startswith(each.url)), each.url)
        return Action(str(each.button), url, permission)


def _find_command(result: Result) -> str:
    """Return the one command that mends it, for a button that copies it; "" where it takes none, or several."""
    statements = {each for finding in result.failed for each in finding.statements}
    return statements.pop() if len(statements) == 1 else ""


def _is_audit_long() -> bool:
    return read_head().position > MOST_VERIFIED


def _lacks_answer(result: Result) -> bool:
    return result.state == FindingState.NOT_LOOKED_AT


def _list_areas(results: Sequence[Result], *, told: str) -> Iterator[dict[str, object]]:
    """Yield the areas with their results, and of each what is not wrong; `told`: the one whose page says that too."""
    for area in Area:
        found = [each for each in results if each.problem.area == area]
        if found:
            yield {
                "code": area.value,
                "label": area.label,
                "is_told": area.value == told,
                "results": [
                    (each, [one for one in each.findings if one.state != FindingState.FAILED])
                    for each in found
                ],
                "open": sum(each.is_open for each in found),
                "is_critical": any(
                    each.is_open and each.problem.severity == Severity.CRITICAL for each in found
                ),
                "unanswered": sum(map(_lacks_answer, found)),
                # Of what is well: whether something is still to do.
                "to_do": sum(any(one.ok and one.remedy for one in each.findings) for each in found),
            }


class CheckAwsView(AdminView):
    """Shows the policies; on POST, what AWS permits, for those who may start runs.

    Every role sees the page.
    """

    template_name = "admin/migration/check_aws.html"
    is_of_site = True
    permission_required = "migration.view_worker"

    @property
    def title(self) -> str:
        return _("AWS permissions")

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show([])

    def post(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        findings, known = examine_account(), PROBLEMS["aws_permissions"]
        found = tuple(report_permissions(findings))
        ProblemRecord.objects.store(Result(known, found, timezone.now()))
        return self._show(findings)

    def _show(self, findings: Sequence[PermissionFinding]) -> HttpResponse:
        (newest,) = list_results(Look(), anew=(), only=["aws_permissions"])
        told = {each.permission.action: each for each in reversed(findings)}  # the worst of several
        account = self.request.GET.get("account", "").strip() or read_account_of_newest_secret()
        titles = {
            Role.READER: _("NOVA reads"),
            Role.ADMIN: _("This site"),
            Role.ROTATION: _("A process that only rotates logins"),
        }
        policies, problem = [], None
        try:
            facts = find_policy_facts(account=account)
        except PolicyError as error:
            problem = error.message
        else:
            policies = [
                {
                    "role": role,
                    "title": title,
                    "text": json.dumps(make_policy(role, facts), indent=2),
                }
                for role, title in titles.items()
            ]
        return self.render_to_response(
            self.get_context_data(
                newest=newest,
                findings=findings,
                account=account,
                policies=policies,
                problem=problem,
                permissions=[
                    {"action": each.action, "why": each.why(), "found": told.get(each.action)}
                    for each in list_needed()
                ],
                may_check=self.request.user.has_perm(RUN_PERMISSION),
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
        )


class CostView(AdminView):
    """Shows what the secrets cost a month, as `cost_estimate` prints it."""

    template_name = "admin/migration/cost.html"
    is_of_site = True
    permission_required = VIEW_CHECKS

    @property
    def title(self) -> str:
        return _("Cost")

    def get(self, request: HttpRequest) -> HttpResponse:
        cost = estimate_costs()
        return self.render_to_response(
            self.get_context_data(
                cost=cost,
                in_use=_split_cost(cost),
                advice=ADVICE[cost["advice"]](),
                priced_on=prices.AWS_PRICES_READ,
            )
        )


def _split_cost(cost: dict[str, Any]) -> dict[str, Any]:
    """Return the layout in use with what its secrets and its calls cost."""
    layout: dict[str, Any] = next(each for each in cost["layouts"] if each["in_use"])
    stored = layout["secrets"] + layout["replicas"]
    for_secrets = float(prices.SECRET_A_MONTH * stored)
    counted = cost["calls"]["reads"] + cost["calls"]["writes"]
    return layout | {
        "stored": stored,
        "for_secrets": for_secrets,
        "for_calls": round(layout["dollars"] - for_secrets, 2),
        "for_comparing": layout["calls"] - counted,
    }


class SettingsView(AdminView):
    """Shows what is set: a line for each page of settings that the user may open, then what the environment sets."""

    template_name = "admin/migration/settings.html"
    is_of_site = True
    permission_required = VIEW_CHECKS

    @property
    def title(self) -> str:
        return _("Settings")

    def get(self, request: HttpRequest) -> HttpResponse:
        states = {
            "migration_run_notices": _describe_notices,
            "credentials_columnmapping_changelist": _describe_tables,
            "migration_run_aws_writes": _describe_writes,
            "migration_run_secret_settings": _describe_key_and_regions,
            "migration_run_cost": _describe_cost,
        }
        shown = [
            (place.title, states[place.page](), place.url)
            for place in SETTINGS.places
            if place.page in states and place.may_open(request)
        ]
        return self.render_to_response(
            self.get_context_data(settings=shown, rules=_list_rules(), of_site=_list_of_site())
        )


def _name_switch(is_on: bool) -> str:
    return _("On") if is_on else _("Off")


def _list_rules() -> list[tuple[str, str, str]]:
    """Return what has to be so before a client moves forward: what it is, its value, the setting."""
    return [
        (
            _("Dual read before a cutover"),
            localize(describe_duration(timedelta(hours=settings.NOVA_DUAL_READ_HOURS))),
            "NOVA_DUAL_READ_HOURS",
        ),
        (
            _("Reads by NOVA before a cutover"),
            intcomma(settings.NOVA_MIN_READS),
            "NOVA_MIN_READS",
        ),
        (
            _("Matching comparisons in a row"),
            intcomma(settings.NOVA_CLEAN_STREAK),
            "NOVA_CLEAN_STREAK",
        ),
        (
            _("In AWS before a purge"),
            localize(describe_duration(timedelta(days=settings.NOVA_PURGE_AFTER_DAYS))),
            "NOVA_PURGE_AFTER_DAYS",
        ),
        (
            _("Approval by a second person"),
            _name_switch(settings.NOVA_REQUIRE_APPROVAL),
            "NOVA_REQUIRE_APPROVAL",
        ),
    ]


def _list_of_site() -> list[tuple[str, str, str]]:
    """Return what holds for the site: what it is, its value, the setting."""
    is_by_client = configured_layout() == Layout.CLIENT
    return [
        (_("Secrets are named"), f"{settings.NOVA_SECRET_PREFIX}/…", "NOVA_SECRET_PREFIX"),
        (
            _("Layout of new secrets"),
            _("One secret per client") if is_by_client else _("One secret per service"),
            "NOVA_SECRET_LAYOUT",
        ),
        (
            _("Both stores are compared every"),
            localize(describe_duration(timedelta(minutes=settings.NOVA_SWEEP_MINUTES))),
            "NOVA_SWEEP_MINUTES",
        ),
        (
            _("Second factor required"),
            _name_switch(settings.NOVA_REQUIRE_SECOND_FACTOR),
            "NOVA_REQUIRE_SECOND_FACTOR",
        ),
        (
            _("Unused sessions end after"),
            localize(describe_duration(timedelta(seconds=settings.SESSION_COOKIE_AGE))),
            "SESSION_COOKIE_AGE",
        ),
    ]


def _describe_notices() -> str:
    n = len(list_recipients())
    return (
        ngettext("%(n)s recipient", "%(n)s recipients", n) % {"n": n} if n else _("No recipients")
    )


def _describe_tables() -> str:
    columns = read_nova_columns()
    unknown, _accepted = split_unknown_accepted(list_nova_objects())
    # Roles that are not apart are changed in PostgreSQL: Health tells of them.
    n = len(columns.breaking) + len(columns.unmapped) + len(unknown)
    return (
        ngettext("%(n)s to review", "%(n)s to review", n) % {"n": n}
        if n
        else _("Nothing to review")
    )


def _describe_writes() -> str:
    refusal = find_write_refusal()
    return localize(refusal) if refusal else _("Allowed")


def _describe_key_and_regions() -> str:
    regions = settings.NOVA_REPLICA_REGIONS or {}
    key = settings.NOVA_KMS_KEY_ID or _("AWS managed key")
    return ", ".join([key, *sorted(regions)])


WITHOUT_CENTS = 10


def _describe_cost() -> str:
    cost = estimate_costs()
    dollars = next(each["dollars"] for each in cost["layouts"] if each["in_use"])
    # The cents of a large sum change with each of NOVA's reads.
    shown = intcomma(round(dollars), 0) if dollars >= WITHOUT_CENTS else intcomma(dollars, 2)
    if cost["counted"]["reads_are_rough"]:
        return _("about $%(dollars)s a month, a rough estimate so far") % {"dollars": shown}
    return _("about $%(dollars)s a month") % {"dollars": shown}


add_pages(
    "run",
    ("health/", "health", HealthView),
    ("check-aws/", "check_aws", CheckAwsView),
    ("cost/", "cost", CostView),
    ("settings/", "settings", SettingsView),
)
