"""Says of clients that were never pushed whether their rows make a secret, from the database alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.conf import settings
from django.db.models import BigIntegerField, Count, Q, Sum, TextField
from django.db.models.functions import Cast, Coalesce, Length
from django.db.models.lookups import LessThanOrEqual

from credentials.models import CREDENTIAL_MODELS, Credential
from credentials.nova_columns import NovaSchema, NovaSchemaError, read_nova_columns
from credentials.values import POINTER
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.secrets import has_layout
from migration.core.snapshots import ClientSnapshot, read_snapshots_for_page
from nova_credentials import document as documents
from nova_credentials.document import Layout
from nova_credentials.messages import Message
from nova_credentials.phases import Phase

# Matches a slug that can stand in a secret's name (`document.name_problem`), by PostgreSQL's ~.
LEGAL_SLUG = r"^[A-Za-z0-9_+=.@-]+$"
# The secret of a client whose rows hold more may be too large: such clients are judged one by one.
FEW_CHARACTERS, FEW_ROWS = 2000, 5


def find_push_problems(client_ids: Collection[int]) -> dict[int, Message]:
    """Return client id -> why its rows can't become a secret, for those for which they can't."""
    try:
        snapshots = read_snapshots_for_page(client_ids)
    except NovaSchemaError as error:
        return dict.fromkeys(client_ids, error.message)
    found = ((pk, _find_document_problem(snapshot)) for pk, snapshot in snapshots.items())
    return {pk: problem for pk, problem in found if problem}


def _find_document_problem(snapshot: ClientSnapshot) -> Message | None:
    if snapshot.document is None:
        return snapshot.problem
    return documents.size_problem(
        snapshot.document,
        snapshot.secret_slug,
        prefix=settings.NOVA_SECRET_PREFIX,
        layout=snapshot.layout,
    )


def select_unpushable() -> ClientPhaseQuerySet:
    """Select the clients in PostgreSQL alone of whose rows no secret can be made: their first push would be refused."""
    return all_clients().in_phases(Phase.POSTGRES).exclude(is_pushable(read_nova_columns()))


def is_pushable(schema: NovaSchema) -> Q:
    """Return the condition that the rows of a client that is in PostgreSQL alone make a secret."""
    fits = Q(pk__in=[])
    for layout in Layout:
        prefix = settings.NOVA_SECRET_PREFIX
        if not documents.name_problem("x", prefix=prefix, layout=layout):
            names = documents.secret_names("", prefix=prefix, layout=layout)
            longest = max(map(len, names.values()))
            is_short = LessThanOrEqual(Length("slug"), documents.MAX_NAME - longest)
            fits |= has_layout(layout) & Q(is_short)
    is_named = Q(slug__regex=LEGAL_SLUG) & fits
    in_postgres = all_clients().in_phases(Phase.POSTGRES).filter(is_named)
    if not schema.has_loosened_columns:
        suspects = {pk for model in CREDENTIAL_MODELS.values() for pk in _list_suspects(model)}
        in_postgres = in_postgres.filter(pk__in=suspects)
    judged = list(in_postgres.values_list("pk", flat=True))
    unfit = find_push_problems(judged) if judged else {}
    return is_named & ~Q(pk__in=unfit.keys())


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
