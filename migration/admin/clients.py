"""Clients: their list with phase and newest comparison, the actions that start runs, and where one client stands."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db.models import F, Q
from django.http import HttpResponseRedirect
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from credentials.admin import ClientAdmin as CredentialsAdmin
from credentials.localization import localize
from migration.admin import (
    bulk_moves,
    client_page,
    move_confirmation,
    moves,
    reveals,
    secret_versions,
)
from migration.admin.base import RUN_PERMISSION, start_run
from migration.admin.onboarding import OnboardAndMigrateView
from migration.models import Comparison, PhaseChoices, Run, select_clients
from migration.operations.saves import AdminSave, SaveRefusedError
from migration.reports.client_counts import late_before
from migration.reports.client_status import push_pending
from migration.templatetags.migration_pages import badge, label, moment
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

    from migration.models import ClientsByPhase


class PhaseFilter(admin.SimpleListFilter):
    title = _("phase")
    parameter_name = "phase"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(PhaseChoices.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> ClientsByPhase:
        return (
            queryset.in_phases(Phase(value)) if (value := self.value()) in set(Phase) else queryset
        )


class ComparisonFilter(admin.SimpleListFilter):
    title = _("newest comparison")
    parameter_name = "comparison"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Comparison.Status.choices, ("none", _("Not compared yet"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> ClientsByPhase:
        value = self.value()
        if value == "none":
            return queryset.filter(client_migration__comparison=None)
        return queryset.filter(client_migration__comparison_status=value) if value else queryset


class PushFilter(admin.SimpleListFilter):
    title = _("push")
    parameter_name = "push"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("pending", _("Pending")),
            ("late", _("Pending for more than two minutes")),
            ("refused", _("Refused")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> ClientsByPhase:
        match self.value():
            case "pending":
                return queryset.to_push()
            case "late":
                return queryset.push_late(late_before())
            case "refused":
                return queryset.push_refused()
        return queryset


class ActiveFilter(admin.SimpleListFilter):
    """NOVA serves those whose `is_active` is true; where it is NULL it doesn't."""

    title = _("active")
    parameter_name = "active"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Yes")), ("no", _("No, or not set"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> ClientsByPhase:
        match self.value():
            case "yes":
                return queryset.filter(is_active=True)
            case "no":
                return queryset.filter(Q(is_active=False) | Q(is_active=None))
        return queryset


class ClientAdmin(CredentialsAdmin):
    list_display = ("name", "slug", "where", "push", "newest", "compared", "active")
    list_filter = (PhaseFilter, ComparisonFilter, PushFilter, ActiveFilter)
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    list_before_template = "admin/migration/client_actions.html"
    onboard_view = OnboardAndMigrateView
    change_form_outer_before_template = "admin/migration/client_standing.html"
    change_form_outer_after_template = "admin/migration/client_history.html"
    actions: ClassVar = ["push_selected", "compare_selected"]

    def get_queryset(self, request: HttpRequest) -> ClientsByPhase:
        found = select_clients().with_phase().with_revision().order_by("name", "pk")
        return found.annotate(
            newest_status=F("client_migration__comparison_status"),
            newest_compared_at=F("client_migration__compared_at"),
        )

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(RUN_PERMISSION)

    @display(description=_("phase"), ordering="phase")
    def where(self, client: Any) -> str:
        return badge(client.phase)

    @display(description=_("push"))
    def push(self, client: Any) -> str:
        return label(str(_("Pending")), "warning", "schedule") if push_pending(client) else ""

    @display(description=_("newest comparison"), ordering="newest_status")
    def newest(self, client: Any) -> str:
        return badge(client.newest_status) if client.newest_status else ""

    @display(description=_("compared"), ordering="newest_compared_at")
    def compared(self, client: Any) -> SafeString | str:
        return moment(client.newest_compared_at)

    @display(description=_("active"), ordering="is_active", boolean=True)
    def active(self, client: Any) -> bool | None:
        return client.is_active

    @action(
        description=_("Push to Secrets Manager (PostgreSQL → Dual write)"),
        permissions=["run"],
    )
    def push_selected(self, request: HttpRequest, chosen: ClientsByPhase) -> HttpResponseRedirect:
        """Pushes and verifies; takes those that stand in `postgres` on to `dual_write`."""
        return start_run(request, Run.Kind.MIGRATE, chosen)

    @action(description=_("Compare both stores"), permissions=["run"])
    def compare_selected(
        self, request: HttpRequest, chosen: ClientsByPhase
    ) -> HttpResponseRedirect:
        return start_run(request, Run.Kind.COMPARE, chosen)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_run = {"may_run": self.has_run_permission(request)}
        return super().changelist_view(request, (extra_context or {}) | may_run)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # Its secret has the slug in its name.
        return ["slug"] if obj and obj.phase != Phase.POSTGRES else []

    def save_related(
        self, request: HttpRequest, form: Any, formsets: list[Any], change: bool
    ) -> None:
        save = AdminSave(form.instance.pk)
        for formset in formsets:
            for row in formset.forms:
                if row.has_changed():
                    credential_type = formset.model.TYPE
                    save.keep_secrets_out(credential_type, row.instance, row.typed_secrets())
        super().save_related(request, form, formsets, change)
        save.finish(warn=lambda message: messages.warning(request, localize(message)))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except SaveRefusedError as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(request.get_full_path())

    def get_urls(self) -> list[URLPattern]:
        own = [
            module.urls(self)
            for module in (bulk_moves, move_confirmation, moves, reveals, secret_versions)
        ]
        return [*chain.from_iterable(own), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_actions(request)
        return found | bulk_moves.actions(request)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if client := context.get("original"):
            context["may_run"] = self.has_run_permission(request)
            context |= moves.context(request, client) | client_page.context(request, client)
            context |= reveals.context(request, client.pk)
        return super().render_change_form(request, context, *args, **kwargs)
