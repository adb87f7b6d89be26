"""Registers the pages of every drawer with Django's admin."""

from django.contrib import admin

from credentials.models import Client, ColumnMapping
from migration.campaigns.admin import CampaignAdmin
from migration.campaigns.models import Campaign
from migration.clients.admin import ClientAdmin
from migration.clients.groups import ClientGroupAdmin
from migration.core.audit import AuditEvent
from migration.core.comparisons import Comparison
from migration.core.groups import ClientGroup
from migration.nova.models import ReaderProcess
from migration.nova.readers import ReaderProcessAdmin
from migration.nova.table_pages import NovaTablesAdmin
from migration.pushes.pages import ComparisonAdmin
from migration.runs.models import Run
from migration.runs.pages import RunAdmin
from migration.secrets.copy_pages import CopySearchAdmin
from migration.secrets.models import CopySearch
from migration.site.audit import AuditEventAdmin

admin.site.register(Client, ClientAdmin)
admin.site.register(ClientGroup, ClientGroupAdmin)
admin.site.register(Campaign, CampaignAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(Comparison, ComparisonAdmin)
admin.site.register(ColumnMapping, NovaTablesAdmin)
admin.site.register(ReaderProcess, ReaderProcessAdmin)
admin.site.register(CopySearch, CopySearchAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
