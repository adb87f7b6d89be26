"""The filters of the client list."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, cast

from django.contrib import admin
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.admin.base import read_number
from migration.models import (
    Act,
    Blocker,
    ClientGroup,
    Comparison,
    PhaseChoices,
    all_clients,
    select_blocked,
)
from migration.reports.client_counts import READY, late_push_threshold
from migration.reports.failures import select_failures
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client
    from migration.models import ClientPhaseQuerySet

    Options = list[tuple[str, StrOrPromise]]


# In these, NOVA's reader counts its reads of a client.
PHASES_WITH_READS = [phase for phase in Phase if phase.reads_aws]


class ClientFilter(admin.SimpleListFilter):
    """A filter with a list of values. A subclass says in `filter_clients` which clients each value is for."""

    options: ClassVar[Options]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> ClientPhaseQuerySet:
        return self.filter_clients(cast("ClientPhaseQuerySet", queryset), self.value())

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        raise NotImplementedError


class PhaseFilter(ClientFilter):
    title = _("phase")
    parameter_name = "phase"
    options: ClassVar[Options] = [*PhaseChoices.choices]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        return found.in_phases(Phase(value)) if value in set(Phase) else found


class NextStepFilter(ClientFilter):
    """Filters by what keeps a client from its next phase, as far as the database can tell."""

    title = _("next step")
    parameter_name = "next"
    options: ClassVar[Options] = [(code.value or READY, code.label) for code in Blocker]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        if value not in dict(self.options):
            return found
        code = Blocker.READY if value == READY else Blocker(value)
        return found.filter(pk__in=select_blocked(all_clients(), code).values("pk"))


class GroupFilter(ClientFilter):
    title = _("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return the groups there are; no filter is shown where there is none."""
        groups = [(str(group.pk), str(group)) for group in ClientGroup.objects.all()]
        return [*groups, ("none", _("In no group"))] if groups else []

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        if value == "none":
            return found.in_no_group()
        number = read_number(value or "")
        return found if number is None else found.in_group(number)


class ComparisonFilter(ClientFilter):
    title = _("newest comparison")
    parameter_name = "comparison"
    options: ClassVar[Options] = [*Comparison.Status.choices, ("none", _("Not compared yet"))]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        if value == "none":
            return found.filter(client_migration__comparison=None)
        return found.filter(client_migration__comparison_status=value) if value else found


class PushFilter(ClientFilter):
    title = _("push")
    parameter_name = "push"
    options: ClassVar[Options] = [
        ("pending", _("Pending")),
        ("late", _("Pending for more than two minutes")),
        ("refused", _("Refused")),
    ]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        match value:
            case "pending":
                return found.to_push()
            case "late":
                return found.push_late(late_push_threshold())
            case "refused":
                return found.push_refused()
        return found


class FailureFilter(ClientFilter):
    """Filters by what failed when it was last tried, in whichever run, and was not done since."""

    title = _("failed")
    parameter_name = "failed"
    options: ClassVar[Options] = [*Act.choices]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        if value not in set(Act):
            return found
        return found.filter(pk__in=select_failures(Act(value)).order_by().values("client_id"))


class ReadFilter(ClientFilter):
    """Filters by when NOVA last read the client through the package. Reads are counted from dual read on."""

    title = _("NOVA's last read")
    parameter_name = "read"
    options: ClassVar[Options] = [
        ("day", _("In the last day")),
        ("not", _("Not in the last day, though in dual read or later")),
        ("never", _("Never, though in dual read or later")),
    ]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        day, now = timedelta(days=1), timezone.now()
        # A time further ahead is of a clock that was wrong: it proves no read.
        lately = Q(read_count__last_read_at__range=(now - day, now + day))
        counted = found.in_phases(*PHASES_WITH_READS)
        match value:
            case "day":
                return found.filter(lately)
            case "not":
                return counted.exclude(lately)
            case "never":
                return counted.filter(read_count__last_read_at=None)
        return found


class ActiveFilter(ClientFilter):
    """NOVA serves a client only if its `is_active` is true, and not if it is NULL."""

    title = _("active")
    parameter_name = "active"
    options: ClassVar[Options] = [("yes", _("Yes")), ("no", _("No, or not set"))]

    def filter_clients(self, found: ClientPhaseQuerySet, value: str | None) -> ClientPhaseQuerySet:
        match value:
            case "yes":
                return found.filter(is_active=True)
            case "no":
                return found.filter(Q(is_active=False) | Q(is_active=None))
        return found
