"""The page of NOVA's tables: the columns that NOVA added, mapped here, and objects of others, accepted here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES

from credentials.localization import localize
from credentials.models import (
    AcceptedObject,
    ColumnMapping,
    ColumnUse,
)
from credentials.nova_columns import ColumnChange, NovaSchema, read_nova_columns
from credentials.nova_objects import ROLE_KINDS, NovaObject, ObjectKind
from migration.core.audit import ReasonError
from migration.core.pages import (
    AdminView,
    ReadOnlyAdmin,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.nova.tables import (
    AcceptanceRefusedError,
    MappingRefused,
    accept_objects,
    list_nova_objects,
    list_purged_with_values,
    map_column,
    split_unknown_accepted,
)
from nova_credentials.shown_names import escape_name

MAP_PERMISSION = "credentials.map_column"
ACCEPT_PERMISSION = "credentials.accept_object"
MOST_CLIENTS = 50

KIND_LABELS = {
    ObjectKind.TRIGGER: gettext_lazy("Trigger"),
    ObjectKind.RULE: gettext_lazy("Rule"),
    ObjectKind.POLICY: gettext_lazy("Policy"),
    ObjectKind.ROW_SECURITY: gettext_lazy("Row security"),
    ObjectKind.DEFAULT: gettext_lazy("Default"),
    ObjectKind.GENERATED: gettext_lazy("Generated column"),
    ObjectKind.DOMAIN: gettext_lazy("Domain or own type"),
    ObjectKind.CHECK: gettext_lazy("Check"),
    ObjectKind.INDEX: gettext_lazy("Index"),
    ObjectKind.CHILD: gettext_lazy("Child table"),
    ObjectKind.PARENT: gettext_lazy("Parent table"),
    ObjectKind.RELATION: gettext_lazy("Not an ordinary table"),
}


class NovaTablesView(AdminView):
    """The page, for everybody who may view mapped columns. It shows no value and no definition."""

    template_name = "admin/migration/nova_tables.html"

    @property
    def title(self) -> str:
        return _("NOVA's tables")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        columns, objects = read_nova_columns(), list_nova_objects()
        unknown, accepted = split_unknown_accepted(objects)
        digests = [each.digest for each in accepted]
        records = {a.digest: a for a in AcceptedObject.objects.filter(digest__in=digests)}
        context = self.get_context_data(
            breaking=[localize(found.message) for found in columns.breaking],
            notices=[
                localize(found.message)
                for found in columns.changes
                if not found.is_breaking and found.change != ColumnChange.ADDED
            ],
            columns=list(_list_columns(columns)),
            unknown=[_show_object(each) for each in unknown],
            accepted=[_show_object(each, records.get(each.digest)) for each in accepted],
            roles_are_shared=any(each.kind in ROLE_KINDS for each in objects),
            asks=bool(columns.breaking or columns.unmapped or unknown),
            may_view_clients=may("credentials.view_client"),
            may_map=may(MAP_PERMISSION),
            may_accept=may(ACCEPT_PERMISSION),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            select_classes=" ".join(SELECT_CLASSES),
        )
        return self.render_to_response(context)


def _list_columns(columns: NovaSchema) -> Iterator[dict[str, object]]:
    mappings = {(m.table, m.column): m for m in ColumnMapping.objects.all()}
    unmapped = columns.unmapped
    for column in columns.added:
        mapping = mappings.get((column.table, column.name))
        # Purged clients that still have a value in it, though AWS alone should.
        with_values = list_purged_with_values(column)
        can_travel = column.is_text and column.type is not None
        yield {
            "name": column.shown_table_and_name,
            "type": escape_name(column.type or ""),
            "mapping": None if column in unmapped else mapping,
            "purged_with_values": with_values,
            "shown_clients": with_values[:MOST_CLIENTS],
            "more_purged_clients": len(with_values[MOST_CLIENTS:]),
            # The form sends it back.
            "use_value": str(column.use or ""),
            "possible_uses": list(ColumnUse) if can_travel else [ColumnUse.IGNORE],
        }


def _show_object(found: NovaObject, accepted: AcceptedObject | None = None) -> dict[str, object]:
    return {
        "kind": KIND_LABELS[found.kind],
        "name": escape_name(found.name),
        "table": found.table,
        "owner": escape_name(found.owner),
        "digest": found.digest,
        "accepted": accepted,
    }


class MapColumnView(AdminView):
    """Maps one column."""

    permission_required = MAP_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        use = read_raw_form_text(request, "use")
        if use not in ColumnUse.values:
            raise BadRequest
        try:
            mapped = map_column(
                name=read_raw_form_text(request, "column"),
                use=ColumnUse(use),
                by=get_signed_in_user(request),
                seen=read_raw_form_text(request, "seen"),
            )
        except MappingRefused as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, localize(mapped.message))
        return HttpResponseRedirect(get_tables_url())


class AcceptObjectView(AdminView):
    """Accepts one object as it is defined now."""

    permission_required = ACCEPT_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        try:
            accept_objects(
                digests=[read_raw_form_text(request, "digest")],
                reason=get_typed_reason(request),
                by=get_signed_in_user(request),
            )
        except (AcceptanceRefusedError, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("The object is accepted."))
        return HttpResponseRedirect(get_tables_url())


class NovaTablesAdmin(ReadOnlyAdmin):
    """Shows the page of NOVA's tables in place of the list of mappings, and of the page of each."""

    own_views: ClassVar = [
        ("map/", "map", MapColumnView),
        ("accept/", "accept", AcceptObjectView),
    ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        return NovaTablesView.as_view(model_admin=self)(request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponseBase:
        """Show the page of all tables: a mapping has no page of its own."""
        return self.changelist_view(request)


def get_tables_url() -> str:
    """Return the address of the page about NOVA's tables."""
    return reverse("admin:credentials_columnmapping_changelist")
