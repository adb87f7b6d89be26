"""Selects the clients that are ready for their next step, in SQL: those whose checks all pass in `next_steps.py`.

One thing it leaves to that module: what the columns hold that NOVA added and somebody mapped.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import BigIntegerField, Count, Q, Sum, TextField
from django.db.models.functions import Cast, Coalesce, Length

from credentials.models import CREDENTIAL_MODELS
from credentials.nova_columns import read_nova_columns
from credentials.pointers import POINTER
from credentials.secret_names import secret_layout
from migration.models import Blocker, all_clients, select_blocked
from migration.operations.evidence import WANT_EVIDENCE
from migration.operations.gate_facts import GateFacts
from migration.operations.gates import check_aws_writes
from migration.operations.next_steps import NEXT_PHASE, list_first_push_problems
from nova_credentials import document as documents
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from credentials.models import Credential
    from credentials.nova_columns import NovaColumns
    from migration.models import ClientPhaseQuerySet

PREVIOUS_PHASE = {new: old for old, new in NEXT_PHASE.items()}
# Matches a slug that can stand in a secret's name (`document.name_problem`), by PostgreSQL's ~.
LEGAL_SLUG = r"^[A-Za-z0-9_+=.@-]+$"
# The secret of a client whose rows hold more may be too large: such clients are judged one by one.
FEW_CHARACTERS, FEW_ROWS = 2000, 5


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
    clients = select_blocked(clients, Blocker.READY)
    return _select_pushable(clients, site) if new == Phase.DUAL_WRITE else clients


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
    suspects = set[int]()
    for model in CREDENTIAL_MODELS.values():
        suspects |= set(_list_suspects(model))
    if site.nova_columns.allow_unusual_values:
        suspects |= set(named.values_list("pk", flat=True))
    in_postgres = named.filter(pk__in=suspects).values_list("pk", flat=True)
    unfit = list_first_push_problems(list(in_postgres)) if suspects else {}
    fit: ClientPhaseQuerySet = named.exclude(pk__in=unfit.keys())
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
