"""The filter of the client list to which an import leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from migration.admin.counted_filters import ClientListFilter
from migration.audit_sentences import CLIENT_ADDED
from migration.correlation import read_or_make_correlation
from migration.models.audit_events import AuditEvent

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

    from credentials.models import Client
    from migration.admin.counted_filters import Options


class ImportFilter(ClientListFilter):
    """Shows the clients that one import added. An import leads to it; without its name there is no such filter."""

    title = _("import")
    parameter_name = "import"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        value = self.value()
        if not value:
            return []
        first = AuditEvent.objects.of_import(read_or_make_correlation(value)).last()
        when = first and date_format(timezone.localtime(first.at), "DATETIME_FORMAT")
        known = gettext("New in the import of %(when)s") % {"when": when}
        return [(value, known if when else _("An import that the audit does not have"))]

    def find_condition(self, value: str) -> Q | None:
        if not value:
            return None
        added = AuditEvent.objects.of_import(read_or_make_correlation(value)).telling(CLIENT_ADDED)
        return Q(pk__in=added.order_by().values("client_id"))
