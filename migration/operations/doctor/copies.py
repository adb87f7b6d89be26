"""Examines what the newest search for copies of each client found elsewhere in NOVA's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Min, Q

from credentials.models import Client
from migration.models.copies import SearchedClient
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


def examine_copy_searches(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the newest search of each client: copies that were found, and what was left unlooked at."""
    clients = Client.objects.count()
    newest = SearchedClient.objects.newest_of_each_client().values("pk")
    searched = SearchedClient.objects.filter(pk__in=newest, client__in=Client.objects.all())
    numbers = searched.aggregate(
        all=Count("pk"),
        with_copies=Count("pk", filter=Q(rows_found__gt=0)),
        in_part=Count("pk", filter=Q(not_looked_at__gt=0)),
        oldest=Min("searched_at"),
    )
    if not numbers["all"]:
        yield report_unlooked(
            CheckName.COPIES, sentences.COPIES_NOT_LOOKED_FOR(), sentences.LOOK_FOR_COPIES()
        )
        return
    if with_copies := numbers["with_copies"]:
        yield report_failure(
            CheckName.COPIES,
            sentences.COPIES_WERE_FOUND(n=with_copies, ago=numbers["oldest"]),
            sentences.LIST_THE_COPIES(),
        )
    if left := clients - numbers["all"] + numbers["in_part"]:
        message = sentences.COPIES_SOUGHT_IN_PART(n=left)
        yield report_unlooked(CheckName.COPIES, message, sentences.LOOK_FOR_COPIES())
    if not (with_copies or left):
        yield report_ok(
            CheckName.COPIES, sentences.NO_COPIES(n=numbers["all"], ago=numbers["oldest"])
        )
