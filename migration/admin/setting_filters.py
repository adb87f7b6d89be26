"""The filter of the client list to which the dashboard's number of clients with other keys and regions leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext_lazy as _

from migration.admin.counted_filters import ClientListFilter
from migration.models.secrets import client_has_settings_drift

if TYPE_CHECKING:
    from django.db.models import Q

    from migration.admin.counted_filters import Options


class SettingsFilter(ClientListFilter):
    """Filters by whether tags, description, KMS key and replicas of a client's secrets are as the settings say."""

    title = _("key and regions")
    parameter_name = "settings"
    options: ClassVar[Options] = [("differ", _("Differ from the settings"))]

    def find_condition(self, value: str) -> Q | None:
        return client_has_settings_drift() if value == "differ" else None
