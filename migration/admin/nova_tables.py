"""The page of NOVA's tables: the columns that NOVA added, mapped here, and objects of others, accepted here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES

from credentials.localization import localize
from credentials.models import AcceptedObject, ColumnMapping, ColumnUse
from credentials.nova_columns import ColumnChange, read_nova_columns
from credentials.nova_objects import ROLE_KINDS, ObjectKind
from credentials.shown_names import escape_name
from migration.admin.base import (
    AdminView,
    ReadOnlyAdmin,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.models.reasons import ReasonError
from migration.operations.nova_tables import (
    AcceptanceRefusedError,
    MappingRefused,
    accept_objects,
    list_nova_objects,
    map_column,
    split_unknown_accepted,
)
from migration.operations.values_after_purge import PurgedClientWithValue, list_purged_with_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from credentials.models import NovaColumn
    from credentials.nova_columns import NovaSchema
    from credentials.nova_objects import NovaObject

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
    ObjectKind.SHARED_ROLE: gettext_lazy("NOVA and this site share one role"),
    ObjectKind.OWNER_IS_SUPERUSER: gettext_lazy("The table's owner is a superuser"),
    ObjectKind.SITE_IS_SUPERUSER: gettext_lazy("This site's role is a superuser"),
    ObjectKind.OWNER_IS_MEMBER: gettext_lazy("The table's owner may act as this site's role"),
}


@dataclass(frozen=True)
class ColumnRow:
    """One added column as the page shows it."""

    column: NovaColumn
    mapping: ColumnMapping | None
    # Purged clients that still have a value in it, though AWS alone should.
    purged_with_values: list[PurgedClientWithValue]

    @property
    def name(self) -> str:
        return self.column.shown_table_and_name

    @property
    def type(self) -> str:
        return escape_name(self.column.type or "")

    @property
    def shown_clients(self) -> list[PurgedClientWithValue]:
        """Return the first MOST_CLIENTS of the purged clients that still have a value in the column."""
        return self.purged_with_values[:MOST_CLIENTS]

    @property
    def more_purged_clients(self) -> int:
        return len(self.purged_with_values) - len(self.shown_clients)

    @property
    def use_value(self) -> str:
        """Return the use that is shown, which the form sends back."""
        return str(self.column.use or "")

    @property
    def possible_uses(self) -> list[ColumnUse]:
        """Return the uses that the column can have."""
        can_travel = self.column.is_text and self.column.type is not None
        return list(ColumnUse) if can_travel else [ColumnUse.IGNORE]


@dataclass(frozen=True)
class ObjectRow:
    """One object as the page shows it."""

    found: NovaObject
    accepted: AcceptedObject | None = None

    @property
    def kind(self) -> str:
        return str(KIND_LABELS[self.found.kind])

    @property
    def name(self) -> str:
        return escape_name(self.found.name)

    @property
    def table(self) -> str:
        return self.found.table

    @property
    def owner(self) -> str:
        return escape_name(self.found.owner)


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
            unknown=[ObjectRow(each) for each in unknown],
            accepted=[ObjectRow(each, records.get(each.digest)) for each in accepted],
            roles=[ObjectRow(each) for each in objects if each.kind in ROLE_KINDS],
            may_view_clients=may("credentials.view_client"),
            may_map=may(MAP_PERMISSION),
            may_accept=may(ACCEPT_PERMISSION),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            select_classes=" ".join(SELECT_CLASSES),
        )
        return self.render_to_response(context)


def _list_columns(columns: NovaSchema) -> Iterator[ColumnRow]:
    mappings = {(m.table, m.column): m for m in ColumnMapping.objects.all()}
    unmapped = columns.unmapped
    for column in columns.added:
        mapping = mappings.get((column.table, column.name))
        yield ColumnRow(
            column, None if column in unmapped else mapping, list_purged_with_values(column)
        )


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
            messages.success(request, _("The object is accepted as it is now."))
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

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, object] | None = None,
        form_url: str = "",
    ) -> HttpResponseBase:
        """Show the page of all tables: a mapping has no page of its own."""
        return self.changelist_view(request)


def get_tables_url() -> str:
    """Return the address of the page about NOVA's tables."""
    return reverse("admin:credentials_columnmapping_changelist")
