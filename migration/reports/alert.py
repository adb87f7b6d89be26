"""Holds what an alert of the dashboard is: a sentence, a number, the address of a list and actions that help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse

if TYPE_CHECKING:
    from datetime import datetime

    from migration.clients.counts import ClientCounts, NewestComparisonCounts
    from migration.models.work_facts import BackgroundFacts
    from migration.nova.models import ReaderSummary
    from migration.nova.tables import NovaTables
    from migration.runs.failures import SiteFailureCounts


@dataclass(frozen=True)
class Action:
    """A link, or a button that posts, which helps with an alert."""

    label: str
    url: str
    permission: str
    posts: bool = False


@dataclass(frozen=True)
class Alert:
    """Something that a user has to look at: how many, a sentence, and the address of their list."""

    sentence: str
    url: str
    permission: str
    count: int | None = None
    since: datetime | None = None
    command: str = ""
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True)
class AlertData:
    """Numbers that the dashboard has read already."""

    clients: ClientCounts
    comparisons: NewestComparisonCounts
    tables: NovaTables
    work: BackgroundFacts
    readers: ReaderSummary
    failures: SiteFailureCounts
    clients_to_rotate: int = 0


def get_clients_url() -> str:
    return reverse("admin:credentials_client_changelist")
