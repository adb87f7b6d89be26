"""Judges whether clients may take their next step, from the database alone: AWS is asked at the step itself.

First client by client, with every check that fails; then in SQL, for lists and counts, which leaves one thing to the
former: what the columns hold that NOVA added and somebody mapped. A test compares both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import BigIntegerField, Case, Count, Q, QuerySet, Sum, TextField, Value, When
from django.db.models.functions import Cast, Coalesce, Length
from django.db.models.lookups import LessThanOrEqual

from credentials.models import CREDENTIAL_MODELS, Client, Credential
from credentials.nova_columns import NovaSchema, NovaSchemaError, read_nova_columns
from credentials.pointers import POINTER
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.secrets import has_layout
from migration.core.snapshots import ClientSnapshot, read_snapshots_for_page
from migration.moves.evidence import WANT_EVIDENCE, GateFacts
from migration.moves.gates import Check, CheckCode, check_aws_writes, database_checks
from migration.moves.models import (
    Blocker,
    Standing,
    find_standing,
    select_with_blocker,
    with_blocker,
)
from migration.pushes.pushes import NOT_PUSHED_INACTIVE
from nova_credentials import document as documents
from nova_credentials.document import Layout
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import MOVES, Move, Phase
from nova_credentials.tables import is_push_pending

# The phase after each phase.
NEXT_PHASE = {
    old: new
    for (old, new), kind in MOVES.items()
    if kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
}


@dataclass(frozen=True)
class NextStep:
    """The phase that a client enters next, and the checks of that move that fail now."""

    new: Phase | None  # None: it is in the last phase
    shut: tuple[Check, ...] = ()

    @property
    def is_ready(self) -> bool:
        return self.new is not None and not self.shut


@dataclass(frozen=True)
class _Standing:
    """A client as `database_checks` needs it."""

    client_id: int
    push_pending: bool


def judge_next_steps(clients: Sequence[Any], site: GateFacts | None = None) -> dict[int, NextStep]:
    """Return client id -> its next step; the number of queries is the same for any number of clients.

    The clients have their phase and revisions (`with_phase`, `with_revision`, `with_refused_revision`). `site` holds
    what is the same for all clients, where that was read already.
    """
    facts = GateFacts([client.pk for client in clients])
    facts.read_all(site)
    first = [client.pk for client in clients if client.phase == Phase.POSTGRES]
    problems = list_first_push_problems(first) if first else {}
    return {client.pk: _judge_client(client, facts, problems.get(client.pk)) for client in clients}


LAST_PUSH_REFUSED = Sentence(
    "last_push_refused", "These values were refused at the last push: see the last error."
)


def _judge_client(client: Any, facts: GateFacts, problem: Check | None) -> NextStep:
    new = NEXT_PHASE.get(Phase(client.phase))
    if new is None:
        return NextStep(None)
    pending = is_push_pending(revision=client.revision, pushed_revision=client.pushed_revision)
    shut = [
        check
        for check in database_checks(_Standing(client.pk, pending), new, facts)
        if not check.passed
    ]
    if problem:
        shut.insert(0, problem)
    if new == Phase.DUAL_WRITE and not client.is_active:
        text = NOT_PUSHED_INACTIVE()
        shut.insert(0, Check(text.key, False, text))
    if client.refused_revision is not None and client.refused_revision == client.revision:
        text = LAST_PUSH_REFUSED()
        shut.insert(0, Check(text.key, False, text))
    return NextStep(new, tuple(shut))


def list_first_push_problems(client_ids: Collection[int]) -> dict[int, Check]:
    """Return client id -> why its rows can't become a secret, for those for which they can't."""
    try:
        snapshots = read_snapshots_for_page(client_ids)
    except NovaSchemaError as error:
        return {pk: _as_check(error.message) for pk in client_ids}
    found = ((pk, _find_document_problem(snapshot)) for pk, snapshot in snapshots.items())
    return {pk: _as_check(problem) for pk, problem in found if problem}


def _as_check(problem: Message) -> Check:
    return Check(CheckCode.NO_DOCUMENT, False, problem)


NO_LOGIN = Sentence("no_login", "It has no login yet: add one.")


def _find_document_problem(snapshot: ClientSnapshot) -> Message | None:
    if snapshot.document is None:
        return snapshot.problem
    if not snapshot.has_credentials:
        return NO_LOGIN()
    return documents.size_problem(
        snapshot.document,
        snapshot.secret_slug,
        prefix=settings.NOVA_SECRET_PREFIX,
        layout=snapshot.layout,
    )


# In SQL: the clients for which nothing is found

PREVIOUS_PHASE = {new: old for old, new in NEXT_PHASE.items()}
# Matches a slug that can stand in a secret's name (`document.name_problem`), by PostgreSQL's ~.
LEGAL_SLUG = r"^[A-Za-z0-9_+=.@-]+$"
# The secret of a client whose rows hold more may be too large: such clients are judged one by one.
FEW_CHARACTERS, FEW_ROWS = 2000, 5


class SiteFacts(GateFacts):
    """The gate facts that are the same for every client, each read once."""

    def __init__(self) -> None:
        super().__init__([])

    @cached_property
    def writes_allowed(self) -> bool:
        return all(check.passed for check in check_aws_writes())

    @cached_property
    def nova_schema(self) -> NovaSchema:
        """Return what NOVA's tables have as columns, read once."""
        return read_nova_columns()


def is_ready(site: SiteFacts | None = None) -> Q:
    """Return the condition that a client is ready for its next step, whichever that is."""
    ready = _select_ready(list(PREVIOUS_PHASE), site or SiteFacts())
    return Q(pk__in=ready.order_by().values("pk"))


def has_next_phase() -> Q:
    """Return the condition that a client is not in the last phase."""
    return Q(client_migration=None) | ~Q(client_migration__phase=Phase.PURGED)


def count_standings(
    clients: QuerySet[Client], site: SiteFacts
) -> Counter[tuple[Standing, Blocker]]:
    """Count the clients by how they stand before their next step and by what keeps them."""
    open_phases = [old for new, old in PREVIOUS_PHASE.items() if _is_site_ready(new, site)]
    pushable = _is_pushable(site) if Phase.POSTGRES in open_phases else Q(pk__in=[])
    counted = with_blocker(all_clients().filter(pk__in=clients.values("pk"))).order_by()
    fits = Case(When(pushable, then=Value(True)), default=Value(False))
    rows = (
        counted.annotate(fits=fits).values_list("phase", "blocker", "fits").annotate(n=Count("pk"))
    )
    numbers: Counter[tuple[Standing, Blocker]] = Counter()
    for phase, code, is_fit, number in rows:
        standing = find_standing(phase, Blocker(code))
        may_move = phase in open_phases and (is_fit or phase != Phase.POSTGRES)
        if standing == Standing.READY and not may_move:
            standing = Standing.BLOCKED
        numbers[standing, Blocker(code)] += number
    return numbers


def select_ready(new: Phase, site: SiteFacts | None = None) -> ClientPhaseQuerySet:
    """Select the clients of the phase before `new` for which every check that the database can make passes."""
    return _select_ready([new], site or SiteFacts())


def select_unpushable() -> ClientPhaseQuerySet:
    """Select the clients in PostgreSQL alone of whose rows no secret can be made: their first push would be refused."""
    return all_clients().in_phases(Phase.POSTGRES).exclude(_is_pushable(SiteFacts()))


def _select_ready(news: Iterable[Phase], site: SiteFacts) -> ClientPhaseQuerySet:
    """Select them for several phases at once: what keeps a client is a long condition, and made once."""
    open_phases = [PREVIOUS_PHASE[new] for new in news if _is_site_ready(new, site)]
    if not open_phases:
        return all_clients().none()
    ready = select_with_blocker(all_clients().in_phases(*open_phases), Blocker.READY)
    if Phase.POSTGRES in open_phases:
        ready = ready.filter(~Q(phase=Phase.POSTGRES.value) | _is_pushable(site))
    return ready


def _is_site_ready(new: Phase, site: SiteFacts) -> bool:
    """Say whether the checks pass that are the same for all clients."""
    if not site.writes_allowed:
        return False
    if new == Phase.DUAL_WRITE:
        return not site.nova_schema.problem
    if site.counting_problem:
        return False
    if new not in WANT_EVIDENCE:
        return True
    was_seen = not settings.NOVA_MIN_READS or site.processes_seen > 0
    return was_seen and all(each.passed for each in site.nova_tables.list_gate_verdicts())


def _is_pushable(site: SiteFacts) -> Q:
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
    if not site.nova_schema.has_loosened_columns:
        suspects = {pk for model in CREDENTIAL_MODELS.values() for pk in _list_suspects(model)}
        in_postgres = in_postgres.filter(pk__in=suspects)
    judged = list(in_postgres.values_list("pk", flat=True))
    unfit = list_first_push_problems(judged) if judged else {}
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
