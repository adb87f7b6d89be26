"""Says of clients what keeps each from its next step, as far as the database can tell: for lists, filters and counts.

The first rule by rank that isn't met, in one statement over all clients; and for some clients every one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.models import (
    Avg,
    Case,
    CharField,
    Count,
    Min,
    Q,
    QuerySet,
    TextChoices,
    Value,
    When,
)
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.nova_columns import NovaSchema
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.sentences import CLIENT_NOT_THERE
from migration.moves.rules import (
    BEFORE_PUSH,
    BLOCKERS,
    BY_RANK,
    EVERY_MOVE,
    GATE,
    LAST,
    NEXT_PHASE,
    PREVIOUS_PHASE,
    READY,
    Ask,
    Awaited,
    Blocker,
    Check,
    Columns,
    SiteFacts,
    SiteRule,
    fetch_with_rules,
    find_blocker,
    group_moves,
    list_checks,
)
from migration.pushes.pushable import find_push_problems, is_pushable
from nova_credentials.messages import Message
from nova_credentials.phases import Phase

# Of the list's filter: clients that nothing keeps from their next step.
KEPT_BY_NOTHING = "kept_by_nothing"


class Standing(TextChoices):
    """How a client stands before its next step: the words of the list, its filter and the dashboard."""

    READY = "ready", _("Ready")
    WAITS = "waits", _("Waits")
    BLOCKED = "blocked", _("Blocked")
    IN_AWS = "in_aws", _("In AWS")
    LAST = "last", _("Last phase reached")


def find_standing(phase: str, blocker: Blocker) -> Standing:
    """Return how a client in the phase stands with this blocker: blocked only where somebody has to act."""
    if blocker == READY:
        return Standing.READY
    if blocker == LAST:
        return Standing.LAST
    if phase == Phase.AWS and blocker.before_purge:
        return Standing.IN_AWS
    return Standing.WAITS if blocker.passes_by_itself else Standing.BLOCKED


# The first rule that isn't met, in SQL


def with_blocker(clients: ClientPhaseQuerySet) -> ClientPhaseQuerySet:
    """Annotate `blocker`, the code of a `Blocker`, with `phase` and the revisions that it is made of.

    What holds for all clients at once is left out: stopped writes, uncounted writes, NOVA's tables and its processes.
    """
    blocker = Case(
        *(When(condition, then=Value(each.code)) for each, condition in _list_by_rank(Ask())),
        default=Value(READY.code),
        output_field=CharField(),
    )
    found: ClientPhaseQuerySet = clients.with_phase().with_revision().annotate(blocker=blocker)
    return found


def _list_by_rank(ask: Ask) -> Iterable[tuple[Blocker, Q]]:
    """Yield the conditions of all rules as a CASE asks them; after the last rule of a phase its clients are ready."""
    yield LAST, Q(phase=Phase.PURGED.value)
    left = list(EVERY_MOVE)
    for position, rule in enumerate(BY_RANK):
        asked = [new for new in left if new in rule.moves_to]
        for stands, new in group_moves(rule, asked, left) if asked else ():
            for blocker, condition in rule.list_conditions(ask, new):
                yield blocker, stands & condition
        for new in asked:
            if not any(new in later.moves_to for later in BY_RANK[position + 1 :]):
                left.remove(new)
                yield READY, Q(phase=PREVIOUS_PHASE[new].value)


def select_with_blocker(clients: ClientPhaseQuerySet, blocker: Blocker) -> ClientPhaseQuerySet:
    """Select the clients with this blocker; `READY`: those that are ready for their next phase."""
    found: ClientPhaseQuerySet = with_blocker(clients).filter(blocker=blocker.code)
    return found


def select_standing(
    clients: ClientPhaseQuerySet, *standings: Standing, blockers: Collection[Blocker] = ()
) -> ClientPhaseQuerySet:
    """Select the clients of these standings that one of `blockers` keeps, by default any; annotates `blocker`."""

    def list_codes(phase: Phase) -> list[str]:
        chosen = blockers or BLOCKERS.values()
        return [each.code for each in chosen if find_standing(phase, each) in standings]

    in_aws, elsewhere = list_codes(Phase.AWS), list_codes(Phase.POSTGRES)
    found: ClientPhaseQuerySet = with_blocker(clients).filter(
        Q(phase=Phase.AWS.value, blocker__in=in_aws)
        | (~Q(phase=Phase.AWS.value) & Q(blocker__in=elsewhere))
    )
    return found


def count_awaited_by_blocker(clients: ClientPhaseQuerySet) -> dict[Blocker, Awaited]:
    """Count these clients by what keeps each from its next phase; only by blockers that a campaign waits for.

    In two queries: where one query joins the clients to others and filters by what keeps them, PostgreSQL may find that
    out for each pair of rows.
    """
    ids = list(clients.order_by().values_list("pk", flat=True))
    counted = with_blocker(all_clients().with_ids(ids)).order_by()
    so_far: dict[str, Any] = {}
    for each in BLOCKERS.values():
        if each.counted:
            so_far[f"least_{each.code}"] = Min(each.counted())
            so_far[f"mean_{each.code}"] = Avg(each.counted())
    found: dict[Blocker, Awaited] = {}
    for row in counted.values("blocker").annotate(number=Count("pk"), **so_far):
        blocker = BLOCKERS[row["blocker"]]
        if blocker.awaited:
            least, mean = (
                int(row.get(f"{name}_{blocker.code}") or 0) for name in ("least", "mean")
            )
            found[blocker] = Awaited(row["number"], least, mean)
    return found


# Every rule that isn't met, of some clients

# The code of a client whose rows make no secret.
NO_DOCUMENT = "no_document"


@dataclass(frozen=True)
class NextStep:
    """The phase that a client enters next, the lines of that move that fail now, and what lists say keeps it."""

    new: Phase | None  # None: it is in the last phase
    shut: tuple[Check, ...] = ()
    blocker: Blocker = READY

    @property
    def standing(self) -> Standing:
        if self.new is None:
            return Standing.LAST
        if not self.shut and self.blocker == READY:
            return Standing.READY
        standing = find_standing(PREVIOUS_PHASE[self.new], self.blocker)
        # What holds for all clients at once, or for its rows, keeps it.
        return Standing.BLOCKED if standing == Standing.READY else standing


def judge_next_steps(
    client_ids: Collection[int], site: SiteFacts | None = None
) -> dict[int, NextStep]:
    """Return client id -> its next step; the number of queries is the same for any number of clients.

    `site`: what is the same for all clients, where that was read already.
    """
    # One that NOVA has deleted meanwhile goes nowhere.
    gone = NextStep(Phase.DUAL_WRITE, (Check(CLIENT_NOT_THERE.key, False, CLIENT_NOT_THERE()),))
    judged = {row.pk: row.next_step for row in judge_rows(client_ids, site)}
    return dict.fromkeys(client_ids, gone) | judged


def judge_rows(
    client_ids: Collection[int], site: SiteFacts | None = None, columns: Columns | None = None
) -> list[Any]:
    """Return the rows of these clients, in any order, with `next_step` and what `columns` annotates, by one query."""
    ask = Ask(client_ids, site=site)
    rows = fetch_with_rules(ask, BY_RANK, EVERY_MOVE, columns)
    first = [row.pk for row in rows if row.phase == Phase.POSTGRES]
    problems = find_push_problems(first) if first else {}
    for row in rows:
        row.next_step = _judge_client(row, ask, problems.get(row.pk))
    return rows


def _judge_client(client: Any, ask: Ask, problem: Message | None) -> NextStep:
    new = NEXT_PHASE.get(Phase(client.phase))
    if new is None:
        return NextStep(None, blocker=LAST)
    checks = [
        *list_checks(client, ask, new, BEFORE_PUSH, only_unmet=True),
        *([Check(NO_DOCUMENT, False, problem)] if problem and not client.unmet_no_login else []),
        *list_checks(client, ask, new, GATE, only_unmet=True),
    ]
    keeping = (find_blocker(client, rule) for rule in BY_RANK if new in rule.moves_to)
    blocker = next(filter(None, keeping), READY)
    return NextStep(new, tuple(check for check in checks if not check.passed), blocker)


# In SQL: the clients for which nothing is found


def is_ready(site: SiteFacts | None = None) -> Q:
    """Return the condition that a client is ready for its next step, whichever that is."""
    ready = _select_ready(list(PREVIOUS_PHASE), site or SiteFacts())
    return Q(pk__in=ready.order_by().values("pk"))


def has_next_phase() -> Q:
    """Return the condition that a client is not in the last phase."""
    return Q(client_migration=None) | ~Q(client_migration__phase=Phase.PURGED)


# Phase, code of the blocker, whether its rows make a secret (asked of clients in PostgreSQL), and how many there are.
CountedRow: TypeAlias = tuple[str, str, bool, int]


def count_blockers(clients: QuerySet[Client] | None, schema: NovaSchema) -> list[CountedRow]:
    """Count the clients, None: all, by what keeps them, whatever holds for all clients at once."""
    counted = (
        all_clients() if clients is None else all_clients().filter(pk__in=clients.values("pk"))
    )
    first = Q(phase=Phase.POSTGRES.value)
    fits = Case(When(first & is_pushable(schema), then=Value(True)), default=Value(False))
    rows = with_blocker(counted).order_by().annotate(fits=fits)
    return list(rows.values_list("phase", "blocker", "fits").annotate(n=Count("pk")))


def add_up_standings(
    rows: Iterable[CountedRow], site: SiteFacts
) -> Counter[tuple[str, Standing, Blocker]]:
    """Return how many clients there are by phase, standing and blocker, with what holds for all of them now."""
    open_phases = [old for new, old in PREVIOUS_PHASE.items() if _is_site_ready(new, site)]
    numbers: Counter[tuple[str, Standing, Blocker]] = Counter()
    for phase, code, is_fit, number in rows:
        standing = find_standing(phase, BLOCKERS[code])
        may_move = phase in open_phases and (is_fit or phase != Phase.POSTGRES)
        if standing == Standing.READY and not may_move:
            standing = Standing.BLOCKED
        numbers[phase, standing, BLOCKERS[code]] += number
    return numbers


def _select_ready(news: Iterable[Phase], site: SiteFacts) -> ClientPhaseQuerySet:
    """Select them for several phases at once: what keeps a client is a long condition, and made once."""
    open_phases = [PREVIOUS_PHASE[new] for new in news if _is_site_ready(new, site)]
    if not open_phases:
        return all_clients().none()
    ready = select_with_blocker(all_clients().in_phases(*open_phases), READY)
    if Phase.POSTGRES in open_phases:
        ready = ready.filter(~Q(phase=Phase.POSTGRES.value) | is_pushable(site.nova_schema))
    return ready


def _is_site_ready(new: Phase, site: SiteFacts) -> bool:
    """Say whether the rules are met that are the same for all clients."""
    if new == Phase.DUAL_WRITE and site.nova_schema.problem:
        return False
    asked = (rule for rule in GATE if isinstance(rule, SiteRule) and new in rule.moves_to)
    lines = (line for rule in asked if not rule.is_off(new) for line in site.tell(rule))
    return all(line.passed for line in lines)
