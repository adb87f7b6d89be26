"""The site's pages over clients, runs and comparisons. They call operations and show what these answer."""

from django.contrib import admin

from credentials.models import Client, ColumnMapping
from migration.campaigns.admin import CampaignAdmin
from migration.campaigns.models import Campaign
from migration.clients.groups import ClientGroupAdmin
from migration.clients.pages import ClientAdmin
from migration.core.audit import AuditEvent
from migration.core.comparisons import Comparison
from migration.core.groups import ClientGroup
from migration.moves.approval_pages import MoveRequestAdmin
from migration.nova.models import ReaderProcess
from migration.nova.readers import ReaderProcessAdmin
from migration.nova.tables import NovaTablesAdmin
from migration.people import (
    password_pages,  # noqa: F401  # guards the change of the own password
    users,  # noqa: F401  # guards the change of the own password
)
from migration.people.models import WrongPassword
from migration.people.password_pages import WrongPasswordAdmin
from migration.pushes.pages import ComparisonAdmin
from migration.runs.models import Run
from migration.runs.pages import RunAdmin
from migration.runs.requests import MoveRequest
from migration.secrets.copy_pages import CopySearchAdmin
from migration.secrets.models import CopySearch
from migration.site.audit import AuditEventAdmin
from migration.site.dashboard import get_dashboard_context

__all__ = [
    "AuditEventAdmin",
    "CampaignAdmin",
    "ClientAdmin",
    "ClientGroupAdmin",
    "ComparisonAdmin",
    "CopySearchAdmin",
    "MoveRequestAdmin",
    "NovaTablesAdmin",
    "ReaderProcessAdmin",
    "RunAdmin",
    "WrongPasswordAdmin",
    "get_dashboard_context",
]

admin.site.register(Client, ClientAdmin)
admin.site.register(ClientGroup, ClientGroupAdmin)
admin.site.register(Campaign, CampaignAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(Comparison, ComparisonAdmin)
admin.site.register(MoveRequest, MoveRequestAdmin)
admin.site.register(ColumnMapping, NovaTablesAdmin)
admin.site.register(ReaderProcess, ReaderProcessAdmin)
admin.site.register(CopySearch, CopySearchAdmin)
admin.site.register(WrongPassword, WrongPasswordAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
