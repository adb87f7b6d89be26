"""The filters of the client list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from django.contrib.admin import ModelAdmin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.campaigns.pages import NO_CAMPAIGN, CampaignFilter
from migration.clients.counts import IN_AWS_ALREADY
from migration.clients.import_pages import ImportFilter
from migration.clients.models import late_push_threshold
from migration.core.clients import (
    ClientPhaseQuerySet,
    Offboarding,
    OffboardingState,
    PhaseChoices,
    all_clients,
)
from migration.core.comparisons import Comparison
from migration.core.groups import ClientGroup, ClientOwner, GroupMember
from migration.core.pages import ClientListFilter, read_number
from migration.logins.models import Rotation, client_rotation_is_overdue
from migration.moves.readiness import (
    KEPT_BY_NOTHING,
    Standing,
    has_next_phase,
    is_ready,
    select_standing,
)
from migration.moves.rules import BLOCKERS, READY, Blocker, SiteFacts
from migration.pushes.models import TO_ROTATE, KnownValue
from migration.runs.act_pages import get_act_url_for_list
from migration.runs.failures import select_current_failures
from migration.runs.items import Act
from migration.secrets.pages import SettingsFilter
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from migration.core.pages import Options


def get_site_gate_facts(request: HttpRequest) -> SiteFacts:
    """Return what the gates of all clients have in common, read once a request."""
    facts: SiteFacts | None = getattr(request, "site_facts", None)
    if facts is None:
        facts = SiteFacts()
        request.site_facts = facts  # type: ignore[attr-defined]
    return facts


# Of the dashboard: who is blocked by what the database can tell. The list looks at the rows of each client too.
NEEDS_SOMEBODY = "needs_somebody"
# Nobody has to do anything for these: what they lack comes by itself, or is wanted for a purge alone.
WAITING = "waiting"
WAITING_STANDINGS = {
    WAITING: (Standing.WAITS, Standing.IN_AWS),
    Standing.WAITS.value: (Standing.WAITS,),
    Standing.IN_AWS.value: (Standing.IN_AWS,),
}


class NextStepFilter(ClientListFilter):
    """Filters by how a client stands before its next step, as the list's column says, or by what keeps it."""

    title = _("next step")
    parameter_name = "next"
    options: ClassVar[Options] = [
        (Standing.READY.value, Standing.READY.label),
        (WAITING, _("Waiting")),
        (Standing.BLOCKED.value, Standing.BLOCKED.label),
        (Standing.LAST.value, _("Done")),
    ]
    chip_values = tuple(dict(options))

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return these choices, and of the reasons, which the dashboard counts, the one that is chosen."""
        value = self.value() or ""
        if value in self.chip_values:
            return self.options
        reason = read_blocker(value)
        if value == KEPT_BY_NOTHING:
            return [*self.options, (value, _("Ready"))]
        if value == NEEDS_SOMEBODY:
            return [*self.options, (value, _("Blocked"))]
        if value in (Standing.WAITS, Standing.IN_AWS):
            return [*self.options, (value, Standing(value).label)]
        return [*self.options, (value, reason[1].label)] if reason else self.options

    def find_condition(self, value: str) -> Q | None:
        if value == Standing.LAST:
            return ~has_next_phase()
        if reason := read_blocker(value):
            standings, blocker = reason
            return _is_one_of(select_standing(all_clients(), *standings, blockers=[blocker]))
        if value == NEEDS_SOMEBODY:
            return _is_one_of(select_standing(all_clients(), Standing.BLOCKED))
        if value in WAITING_STANDINGS:
            return _is_one_of(select_standing(all_clients(), *WAITING_STANDINGS[value]))
        if value not in dict(self.options):
            return None
        ready = is_ready(get_site_gate_facts(self.request))
        others = select_standing(all_clients(), Standing.WAITS, Standing.IN_AWS)
        return ready if value == Standing.READY else has_next_phase() & ~ready & ~_is_one_of(others)


def covers_standing(value: str, standing: Standing, blocker: Blocker) -> bool:
    """Say whether this value of the filter by next step selects clients with this standing and this blocker."""
    if reason := read_blocker(value):
        standings, wanted = reason
        return standing in standings and blocker == wanted
    if value == NEEDS_SOMEBODY:
        return standing == Standing.BLOCKED and blocker != READY
    return standing in WAITING_STANDINGS.get(value, (value,))


def read_blocker(value: str) -> tuple[tuple[Standing, ...], Blocker] | None:
    """Return the standings and the blocker that a filter's value selects; None where it names no blocker."""
    if value == KEPT_BY_NOTHING:
        # While AWS writes are stopped nobody can go on, and the list shows these clients as blocked.
        return (Standing.READY, Standing.BLOCKED), READY
    # A code of its own may begin as those of clients in AWS do.
    code = value if value in BLOCKERS else value.removeprefix(IN_AWS_ALREADY)
    if not code or code not in BLOCKERS:
        return None
    others = (Standing.WAITS, Standing.BLOCKED, Standing.LAST)
    return ((Standing.IN_AWS,) if code != value else others), BLOCKERS[code]


class PhaseFilter(ClientListFilter):
    title = _("phase")
    parameter_name = "phase"
    options: ClassVar[Options] = [*PhaseChoices.choices]
    chip_values = tuple(PhaseChoices.values)

    def find_condition(self, value: str) -> Q | None:
        if value not in set(Phase):
            return None
        stands = Q(client_migration__phase=value)
        return stands | Q(client_migration=None) if value == Phase.POSTGRES else stands


class GroupFilter(ClientListFilter):
    title = _("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return the groups there are; no filter is shown where there is none."""
        groups = [(str(group.pk), str(group)) for group in ClientGroup.objects.all()]
        return [*groups, ("none", _("In no group"))] if groups else []

    def find_condition(self, value: str) -> Q | None:
        members = GroupMember.objects.all()
        if value == "none":
            return ~Q(pk__in=members.values("client_id"))
        number = read_number(value)
        return (
            None if number is None else Q(pk__in=members.filter(group=number).values("client_id"))
        )


class OwnerFilter(ClientListFilter):
    """Filters by who looks after a client; "mine" is an address that everybody can use."""

    title = _("owner")
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return the owners there are; no filter is shown where there is none."""
        rows = ClientOwner.objects.order_by("owner__username")
        owners = [
            (str(pk), name) for pk, name in rows.values_list("owner", "owner__username").distinct()
        ]
        mine: Options = [("mine", _("Mine"))]
        return [*mine, *owners, ("none", _("Nobody"))] if owners or self.value() else []

    def find_condition(self, value: str) -> Q | None:
        match value:
            case "mine":
                return Q(client_owner__owner=self.request.user.pk)
            case "none":
                return Q(client_owner=None)
        number = read_number(value)
        return None if number is None else Q(client_owner__owner=number)


class ComparisonFilter(ClientListFilter):
    title = _("newest comparison")
    parameter_name = "comparison"
    options: ClassVar[Options] = [*Comparison.Status.choices, ("none", _("Not compared yet"))]

    def find_condition(self, value: str) -> Q | None:
        if value == "none":
            return Q(client_migration__comparison=None)
        return Q(client_migration__comparison_status=value) if value else None


class PushFilter(ClientListFilter):
    title = _("push")
    parameter_name = "push"
    options: ClassVar[Options] = [
        ("pending", _("Pending")),
        ("late", _("Pending for more than two minutes")),
        ("refused", _("Refused")),
    ]
    # What the dashboard counts, which names a first push that was refused as a failed migration.
    of_dashboard = ("refused_again", _("Refused, of clients that write both stores"))

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return these choices, and the dashboard's where it is chosen."""
        is_chosen = self.value() == self.of_dashboard[0]
        return [*self.options, self.of_dashboard] if is_chosen else self.options

    def find_condition(self, value: str) -> Q | None:
        match value:
            case "pending":
                return _is_one_of(all_clients().push_due())
            case "late":
                return _is_one_of(all_clients().push_late(late_push_threshold()))
            case "refused":
                return _is_one_of(all_clients().with_rows_refused_by_push())
            case "refused_again":
                return _is_one_of(all_clients().push_refused())
        return None


def _is_one_of(clients: ClientPhaseQuerySet) -> Q:
    return Q(pk__in=clients.order_by().values("pk"))


class FailureFilter(ClientListFilter):
    """Filters by what failed when it was last tried, in whichever run, and was not done since."""

    title = _("failed")
    parameter_name = "failed"
    options: ClassVar[Options] = [*Act.choices]

    def find_condition(self, value: str) -> Q | None:
        if value not in set(Act):
            return None
        return Q(pk__in=select_current_failures(Act(value)).order_by().values("client_id"))

    def count_in_own_query(self, clients: QuerySet[Client]) -> Mapping[str, int]:
        failures = select_current_failures().filter(client__in=clients.values("pk")).order_by()
        return dict(failures.values_list("act").annotate(Count("pk")))


class RotationFilter(ClientListFilter):
    """Filters by what became of the client's newest rotation, and by its schedule."""

    title = _("rotation")
    parameter_name = "rotation"
    options: ClassVar[Options] = [
        ("overdue", _("Overdue")),
        ("unfinished", _("Not finished")),
        ("stopped", _("Stopped: somebody has to look")),
    ]

    def find_condition(self, value: str) -> Q | None:
        match value:
            case "overdue":
                return client_rotation_is_overdue()
            case "unfinished":
                return Q(pk__in=Rotation.objects.unfinished().order_by().values("client_id"))
            case "stopped":
                return Q(pk__in=Rotation.objects.stopped_newest_of_client().values("client_id"))
        return None


class ReadFilter(ClientListFilter):
    """Filters by when NOVA last read the client through the package. Reads are counted from dual read on."""

    title = _("NOVA's last read")
    parameter_name = "read"
    options: ClassVar[Options] = [
        ("day", _("In the last day")),
        ("not", _("Not in the last day, though in dual read or later")),
        ("never", _("Never, though in dual read or later")),
    ]

    def find_condition(self, value: str) -> Q | None:
        day, now = timedelta(days=1), timezone.now()
        # A time further ahead is of a clock that was wrong: it proves no read.
        lately = Q(read_count__last_read_at__range=(now - day, now + day))
        lately &= Q(read_count__isnull=False)
        counted = Q(client_migration__phase__in=[phase for phase in Phase if phase.reads_aws])
        match value:
            case "day":
                return lately
            case "not":
                return counted & ~lately
            case "never":
                return counted & Q(read_count__last_read_at=None)
        return None


class PlainTextToRotateFilter(ClientListFilter):
    """Filters by whether a value of the client stood in clear and was not rotated since."""

    title = _("stood in plain text")
    parameter_name = "plain_text"
    options: ClassVar[Options] = [("rotate", _("To be rotated"))]

    def find_condition(self, value: str) -> Q | None:
        if value != "rotate":
            return None
        return Q(pk__in=KnownValue.objects.filter(TO_ROTATE).values("client_id"))


class ActiveFilter(ClientListFilter):
    """NOVA serves a client only if its `is_active` is true, and not if it is NULL. Some of the others have left."""

    title = _("active")
    parameter_name = "active"
    options: ClassVar[Options] = [
        ("yes", _("Yes")),
        ("no", _("No, or not set")),
        ("left", _("Offboarded")),
        ("interrupted", _("Offboarding or return not finished")),
    ]

    def find_condition(self, value: str) -> Q | None:
        match value:
            case "yes":
                return Q(is_active=True)
            case "no":
                return Q(is_active=False) | Q(is_active=None)
            case "left":
                return Q(offboarding__state=OffboardingState.OFFBOARDED)
            case "interrupted":
                return Q(pk__in=Offboarding.objects.unfinished().values("pk"))
        return None


CLIENT_FILTERS = (
    NextStepFilter,
    PhaseFilter,
    OwnerFilter,
    GroupFilter,
    ComparisonFilter,
    PushFilter,
    FailureFilter,
    RotationFilter,
    SettingsFilter,
    ReadFilter,
    PlainTextToRotateFilter,
    ActiveFilter,
    CampaignFilter,
    ImportFilter,
)


def get_ready_url(code: str, old: Phase) -> str:
    """Return the address of the act's page for the clients of the phase that nothing of their own keeps from the next.

    Those that a campaign is to take there are left to it.
    """
    filters = QueryDict(mutable=True)
    filters.update({"phase": old.value, "next": KEPT_BY_NOTHING, "campaign": NO_CAMPAIGN})
    return get_act_url_for_list(code, filters)
