"""Selects the clients that are ready for their next step, in SQL: those whose checks all pass in `next_steps.py`.

One thing it leaves to that module: what the columns hold that NOVA added and somebody mapped.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import BigIntegerField, Count, F, Q, Sum, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Greatest, Length
from django.utils import timezone

from credentials.models import CREDENTIAL_MODELS
from credentials.nova_columns import read_nova_columns
from credentials.pointers import POINTER
from credentials.secret_names import secret_layout
from migration.models import Comparison, ReadCount, SearchedClient, all_clients
from migration.models.reads import COUNTED
from migration.operations.evidence import ANSWERED_WITHIN, WANT_EVIDENCE, get_wanted_time
from migration.operations.gate_facts import GateFacts, select_open_items
from migration.operations.gates import FRESH, check_aws_writes
from migration.operations.next_steps import NEXT_PHASE, list_first_push_problems
from nova_credentials import document as documents
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from credentials.models import Credential
    from credentials.nova_columns import NovaColumns
    from migration.models import ClientPhaseQuerySet

PREVIOUS_PHASE = {new: old for old, new in NEXT_PHASE.items()}
# What PostgreSQL's ~ takes for a slug that can stand in a secret's name (`document.name_problem`).
LEGAL_SLUG = r"^[A-Za-z0-9_+=.@-]+$"
# The secret of a client whose rows hold more may be too large: such clients are judged one by one.
FEW_CHARACTERS, FEW_ROWS = 2000, 5
# When the client of a row entered its phase.
ENTERED = "client__client_migration__phase_changed_at"


class SiteFacts(GateFacts):
    """What the gates of all clients have in common, read once."""

    def __init__(self) -> None:
        super().__init__([])

    @cached_property
    def writes_allowed(self) -> bool:
        return all(check.passed for check in check_aws_writes())

    @cached_property
    def nova_columns(self) -> NovaColumns:
        return read_nova_columns()


def is_ready(site: SiteFacts | None = None) -> Q:
    """Return the condition that a client is ready for its next step, whichever that is."""
    ready, site = Q(), site or SiteFacts()
    for new in PREVIOUS_PHASE:
        ready |= Q(pk__in=select_ready(new, site).order_by().values("pk"))
    return ready


def has_next_step() -> Q:
    """Return the condition that a client is not in the last phase."""
    return Q(client_migration=None) | ~Q(client_migration__phase=Phase.PURGED)


def select_ready(new: Phase, site: SiteFacts | None = None) -> ClientPhaseQuerySet:
    """Select the clients of the phase before `new` for which every check that the database can make passes."""
    site = site or SiteFacts()
    clients = all_clients().in_phases(PREVIOUS_PHASE[new])
    if not _is_site_ready(new, site):
        return clients.none()
    clients = clients.exclude(pk__in=select_open_items().order_by().values("client_id"))
    refused = Q(client_migration__refused_revision=F("revision"))
    clients = clients.with_revision().exclude(refused)
    if new == Phase.DUAL_WRITE:
        return _select_pushable(clients, site)
    now = timezone.now()
    clients = clients.filter(
        client_migration__comparison_status=Comparison.Status.MATCH,
        client_migration__compared_at__range=(now - FRESH, now + FRESH),
    ).exclude(pk__in=all_clients().push_pending().order_by().values("pk"))
    return _select_with_evidence(clients, new, now) if new in WANT_EVIDENCE else clients


def _is_site_ready(new: Phase, site: SiteFacts) -> bool:
    """Say whether the checks pass that are the same for all clients."""
    if not site.writes_allowed:
        return False
    if new == Phase.DUAL_WRITE:
        return not site.nova_columns.problem
    if site.counting_problem:
        return False
    if new not in WANT_EVIDENCE:
        return True
    was_seen = not settings.NOVA_MIN_READS or site.processes_seen > 0
    return was_seen and all(passed for passed, _text in site.nova_tables.list_findings())


def _select_pushable(clients: ClientPhaseQuerySet, site: SiteFacts) -> ClientPhaseQuerySet:
    """Select those whose rows make a secret."""
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    if documents.name_problem("x", prefix=prefix, layout=layout):
        return clients.none()
    longest = max(map(len, documents.secret_names("", prefix=prefix, layout=layout).values()))
    named = clients.annotate(slug_length=Length("slug")).filter(
        slug__regex=LEGAL_SLUG, slug_length__lte=documents.MAX_NAME - longest
    )
    has_login, suspects = Q(), set[int]()
    for model in CREDENTIAL_MODELS.values():
        rows = model._default_manager.order_by()
        has_login |= Q(pk__in=rows.values("client_id"))  # type: ignore[misc]  # each model has it
        suspects |= set(_list_suspects(model))
    if site.nova_columns.allow_unusual_values:
        suspects |= set(named.values_list("pk", flat=True))
    in_postgres = named.filter(pk__in=suspects).values_list("pk", flat=True)
    unfit = list_first_push_problems(list(in_postgres)) if suspects else {}
    fit: ClientPhaseQuerySet = named.filter(has_login).exclude(pk__in=unfit.keys())
    return fit


def _list_suspects(model: type[Credential]) -> Iterable[int]:
    """Return the clients whose rows in this table may make no secret: pointers, two primary rows, or much text."""
    texts = [
        Coalesce(Length(Cast(field.attname, TextField())), 0)
        for field in model._meta.concrete_fields
    ]
    (secret,) = model.SECRET_FIELDS
    rows = model._default_manager.order_by()
    counted = rows.values(
        "client_id"
    ).annotate(  # type: ignore[misc]  # each model has it
        rows=Count("pk"),
        primary=Count("pk", filter=Q(is_primary=True)),
        pointers=Count("pk", filter=Q(**{f"{secret}__startswith": POINTER})),
        characters=Sum(sum(texts[1:], texts[0]), output_field=BigIntegerField()),
    )
    much = Q(rows__gt=FEW_ROWS) | Q(characters__gt=FEW_CHARACTERS)
    suspects = counted.filter(much | Q(primary__gt=1) | Q(pointers__gt=0))
    return [row["client_id"] for row in suspects]


def _select_with_evidence(
    clients: ClientPhaseQuerySet, new: Phase, now: datetime
) -> ClientPhaseQuerySet:
    """Select those that nothing speaks against in the reads of NOVA, and that have all evidence."""
    met = Q(last_mismatch_at__gt=now - FRESH) | Q(last_failure_at__gt=now - FRESH)
    clients = clients.exclude(pk__in=ReadCount.objects.filter(met).values("pk")).filter(
        client_migration__clean_streak__gte=settings.NOVA_CLEAN_STREAK
    )
    if wanted := get_wanted_time(new):
        clients = clients.filter(client_migration__phase_changed_at__lte=now - wanted)
    if settings.NOVA_MIN_READS:
        clients = clients.filter(pk__in=_select_read(new, now).values("pk"))
    if new == Phase.PURGED:
        clients = clients.filter(pk__in=_select_searched().values("client_id"))
    return clients


def _select_read(new: Phase, now: datetime) -> QuerySet[ReadCount]:
    """Select the counts of the clients that NOVA read as the move wants it since they entered their phase."""
    counted = ReadCount.objects.annotate(**{f"new_{name}": _count_since(name) for name in COUNTED})
    if new == Phase.AWS:
        enough = Q(new_matches__gte=settings.NOVA_MIN_READS)
        return counted.filter(enough)
    others = F("new_matches") + F("new_mismatches") + F("new_aws_failures")
    answered = Q(new_reads__gt=others)
    lately = Q(last_answer_at__range=(now - ANSWERED_WITHIN, now + ANSWERED_WITHIN))
    return counted.filter(
        Q(**{ENTERED: None}) | Q(last_answer_at__gte=F(ENTERED)), answered, lately
    )


def _count_since(name: str) -> Greatest:
    """Return the number of these reads since the client entered its phase, as `ReadCount.count_since` does."""
    before = KeyTextTransform(name, "client__client_migration__reads_at_entry")
    nothing = Value(0, BigIntegerField())
    new = F(name) - Coalesce(Cast(before, BigIntegerField()), nothing)
    return Greatest(new, nothing, output_field=BigIntegerField())


def _select_searched() -> QuerySet[SearchedClient]:
    """Select the newest searches that found no copy and left nothing out, since the client entered its phase."""
    newest = SearchedClient.objects.newest().values("pk")
    since = Q(**{ENTERED: None}) | Q(searched_at__gte=F(ENTERED))
    return SearchedClient.objects.filter(since, pk__in=newest, rows_found=0, not_looked_at=0)
