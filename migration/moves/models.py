"""Says of each client what keeps it from its next phase, as far as the database alone can tell. Knows no network.

The gate (`gates.py`) decides, one client at a time: it asks AWS too, and what holds for the whole site. This
is for lists and counts over all clients, in one statement. A test compares both.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import CREDENTIAL_MODELS, ClientWrite
from migration.core.clients import GOOD_READS, WRITES_BOTH, ClientPhaseQuerySet, all_clients
from migration.core.comparisons import Comparison
from migration.logins.models import LoginTest
from migration.runs.items import RunItem
from migration.runs.models import Run, RunQuerySet
from migration.secrets.models import SearchedClient
from nova_credentials.phases import Phase

# Twice the usual time between two sweeps, as one may be late.
FRESH = timedelta(minutes=30)
# A run on which no worker worked for longer is left.
RUN_IS_LEFT_AFTER = timedelta(hours=1)
ANSWERED_WITHIN = timedelta(days=1)
COUNT = models.BigIntegerField()

# Of the list's filter: clients that nothing keeps from their next step.
KEPT_BY_NOTHING = "kept_by_nothing"


class Blocker(models.TextChoices):
    """The first thing that keeps a client from its next phase; "" of a client that is ready for it."""

    READY = "", _("Ready for the next phase")
    IN_A_RUN = "in_a_run", _("In a run")
    PUSH_REFUSED = "push_refused", _("Push refused: its data or its secret has to be corrected")
    PUSH_PENDING = "push_pending", _("Waits for a push to AWS")
    NEVER_COMPARED = "never_compared", _("Not compared yet")
    DIFFERS = "differs", _("Stores differ")
    UNCHECKED = "unchecked", _("Could not be checked")
    TOO_OLD = "too_old", _("Newest comparison too old")
    LOGIN_REFUSED = "aws_login_refused", _("A login with AWS's values is refused")
    READER = "reader", _("NOVA's reader met a mismatch or a failure lately")
    INACTIVE = "inactive", _("Inactive: NOVA doesn't read it")
    NO_LOGIN = "no_login", _("No login to push")
    STREAK = "streak", _("Too few matches in a row")
    TIME = "time", _("Not long enough in its phase")
    READS = "reads", _("Too few reads by NOVA")
    COPIES = "copies", _("Secret values elsewhere in NOVA's database: not searched for, or found")
    LAST = "last", _("Last phase reached")

    @property
    def passes_by_itself(self) -> bool:
        """Say whether it passes by the workers, by NOVA's reads or with time: nobody has to do anything but wait."""
        return self in PASSES


PASSES = (
    *(Blocker.IN_A_RUN, Blocker.PUSH_PENDING, Blocker.NEVER_COMPARED, Blocker.TOO_OLD),
    *(Blocker.STREAK, Blocker.TIME, Blocker.READS),
)
# A campaign's step waits for all that passes by itself, and after a mismatch or failure of NOVA's reader until FRESH is
# over. Where the reader meets another one meanwhile, the stop rule counts it.
WAITED_FOR = (*PASSES, Blocker.READER)
# What a client that NOVA reads from AWS lacks for its purge alone: as it is, all is well with it.
BEFORE_PURGE = (
    *(Blocker.NEVER_COMPARED, Blocker.TOO_OLD, Blocker.INACTIVE, Blocker.STREAK),
    *(Blocker.TIME, Blocker.READS, Blocker.COPIES),
)


class Standing(models.TextChoices):
    """How a client stands before its next step: the words of the list, its filter and the dashboard."""

    READY = "ready", _("Ready")
    WAITS = "waits", _("Waits")
    BLOCKED = "blocked", _("Blocked")
    IN_AWS = "in_aws", _("In AWS")
    LAST = "last", _("Last phase reached")


def find_standing(phase: str, blocker: Blocker) -> Standing:
    """Return how a client in the phase stands with this blocker: blocked only where somebody has to act."""
    if blocker == Blocker.READY:
        return Standing.READY
    if blocker == Blocker.LAST:
        return Standing.LAST
    if phase == Phase.AWS and blocker in BEFORE_PURGE:
        return Standing.IN_AWS
    return Standing.WAITS if blocker.passes_by_itself else Standing.BLOCKED


def get_wanted_time(new: Phase) -> timedelta:
    """Return how long a client has to be in its phase before the move to `new`; 0 where that is switched off."""
    if new == Phase.PURGED:
        return timedelta(days=settings.NOVA_PURGE_AFTER_DAYS)
    return timedelta(hours=settings.NOVA_DUAL_READ_HOURS)


def with_blocker(clients: ClientPhaseQuerySet) -> ClientPhaseQuerySet:
    """Annotate `blocker`, a `Blocker`, with `phase` and the revisions that it is made of.

    What holds for all clients at once is left out: stopped writes, uncounted writes, NOVA's tables and its processes.
    """
    conditions = [
        (Blocker.LAST, models.Q(phase=Phase.PURGED.value)),
        (Blocker.IN_A_RUN, _is_in_a_run()),
        (Blocker.PUSH_REFUSED, _is_push_refused()),
        (Blocker.INACTIVE, models.Q(phase=Phase.POSTGRES.value) & _is_inactive()),
        (Blocker.NO_LOGIN, models.Q(phase=Phase.POSTGRES.value) & _has_no_login()),
        # Nothing else is asked before dual write, as its push asks it.
        (Blocker.READY, models.Q(phase=Phase.POSTGRES.value)),
        (Blocker.PUSH_PENDING, _is_push_pending()),
        *_list_comparison_conditions(),
        # Before dual read nothing more is asked.
        (Blocker.READY, models.Q(phase=Phase.DUAL_WRITE.value)),
        (Blocker.READER, _has_met_trouble()),
        (
            Blocker.LOGIN_REFUSED,
            models.Q(pk__in=LoginTest.objects.refused_in_aws().order_by().values("client_id")),
        ),
        *_list_evidence_conditions(),
    ]
    blocker = models.Case(
        *(models.When(condition, then=models.Value(code.value)) for code, condition in conditions),
        default=models.Value(Blocker.READY.value),
        output_field=models.CharField(),
    )
    found: ClientPhaseQuerySet = clients.with_phase().with_revision().annotate(blocker=blocker)
    return found


def select_with_blocker(clients: ClientPhaseQuerySet, code: Blocker) -> ClientPhaseQuerySet:
    """Select the clients with this blocker; `Blocker.READY`: those that are ready for their next phase."""
    found: ClientPhaseQuerySet = with_blocker(clients).filter(blocker=code.value)
    return found


def select_standing(
    clients: ClientPhaseQuerySet,
    *standings: Standing,
    blockers: Collection[Blocker] = tuple(Blocker),
) -> ClientPhaseQuerySet:
    """Select the clients of these standings that one of `blockers` keeps; annotates `blocker`."""

    def list_codes(phase: Phase) -> list[str]:
        return [code.value for code in blockers if find_standing(phase, code) in standings]

    in_aws, elsewhere = list_codes(Phase.AWS), list_codes(Phase.POSTGRES)
    found: ClientPhaseQuerySet = with_blocker(clients).filter(
        models.Q(phase=Phase.AWS.value, blocker__in=in_aws)
        | (~models.Q(phase=Phase.AWS.value) & models.Q(blocker__in=elsewhere))
    )
    return found


def count_awaited_by_blocker(clients: ClientPhaseQuerySet) -> dict[Blocker, int]:
    """Count these clients by what keeps each from its next phase; only by blockers that a campaign waits for.

    In two queries: where one query joins the clients to others and filters by what keeps them, PostgreSQL may find that
    out for each pair of rows.
    """
    ids = list(clients.order_by().values_list("pk", flat=True))
    counted = with_blocker(all_clients().with_ids(ids)).order_by()
    numbers = counted.values_list("blocker").annotate(number=models.Count("pk"))
    found = {Blocker(code): number for code, number in numbers}
    return {code: number for code, number in found.items() if code in WAITED_FOR}


def select_write_runs_in_work() -> RunQuerySet:
    """Select the runs that write, and that workers work on."""
    since = timezone.now() - RUN_IS_LEFT_AFTER
    runs: RunQuerySet = Run.objects.started().filter(finished_at=None, worked_at__gt=since)
    return runs.exclude(kind__in=Run.READS_ONLY).exclude(state=Run.State.REQUESTED)


def _is_in_a_run() -> models.Q:
    # One look at the open items, of which there are few, and not one for each client.
    items = RunItem.objects.open().filter(finished_at=None, run__in=select_write_runs_in_work())
    return models.Q(pk__in=items.order_by().values("client_id"))


def _is_push_refused() -> models.Q:
    refused = "client_migration__refused_revision"
    # The revision costs a look at each client's writes: it is asked only of those with a refusal.
    return models.Q(**{f"{refused}__isnull": False}) & models.Q(**{refused: models.F("revision")})


def _is_push_pending() -> models.Q:
    """Return the condition of `ClientPhaseQuerySet.push_pending`, as one that a CASE can ask."""
    pushed = models.F("pushed_revision")
    written = models.Q(pk__in=ClientWrite.objects.order_by().values("client_id"))
    behind = models.Q(pushed_revision=None) | models.Q(client_revision__revision__gt=pushed)
    return models.Q(phase__in=[phase.value for phase in WRITES_BOTH]) & (
        behind | (written & models.Q(revision__gt=pushed))
    )


def _is_inactive() -> models.Q:
    return models.Q(is_active=False) | models.Q(is_active=None)


def _has_no_login() -> models.Q:
    condition = models.Q()
    for model in CREDENTIAL_MODELS.values():
        condition &= ~models.Q(pk__in=model._default_manager.order_by().values("client_id"))  # type: ignore[misc]  # each model has it
    return condition


def _list_comparison_conditions() -> list[tuple[Blocker, models.Q]]:
    status, at = "client_migration__comparison_status", "client_migration__compared_at"
    now = timezone.now()
    # A time ahead is of a clock that was wrong: it would be fresh until then.
    fresh = models.Q(**{f"{at}__range": (now - FRESH, now + FRESH)})
    return [
        (Blocker.NEVER_COMPARED, models.Q(**{status: None})),
        (Blocker.DIFFERS, models.Q(**{f"{status}__in": Comparison.DIFFERS})),
        (Blocker.UNCHECKED, models.Q(**{status: Comparison.Status.UNCHECKED})),
        (Blocker.TOO_OLD, ~fresh),
    ]


def _has_met_trouble() -> models.Q:
    since = timezone.now() - FRESH
    return models.Q(read_count__last_mismatch_at__gt=since) | models.Q(
        read_count__last_failure_at__gt=since,
        read_count__good_reads_since_failure__lt=GOOD_READS,
    )


def _list_evidence_conditions() -> list[tuple[Blocker, models.Q]]:
    """Return what `evidence.py` judges, without what is switched off."""
    now, since = timezone.now(), "client_migration__phase_changed_at"
    before_cutover = models.Q(phase=Phase.DUAL_READ.value)
    found: list[tuple[Blocker, models.Q]] = []
    if wanted := settings.NOVA_CLEAN_STREAK:
        found.append((Blocker.STREAK, models.Q(client_migration__clean_streak__lt=wanted)))
    for new in (Phase.AWS, Phase.PURGED):
        if time := get_wanted_time(new):
            early = models.Q(**{since: None}) | models.Q(**{f"{since}__gt": now - time})
            leaves = before_cutover if new == Phase.AWS else ~before_cutover
            found.append((Blocker.TIME, leaves & early))
    if wanted := settings.NOVA_MIN_READS:
        few = models.Q(models.lookups.LessThan(_count_since("matches"), wanted))
        answers = models.lookups.GreaterThan(
            _count_since("reads")
            - _count_since("matches")
            - _count_since("mismatches")
            - _count_since("aws_failures"),
            0,
        )
        answered = models.Q(answers) & models.Q(
            read_count__last_answer_at__range=(
                Greatest(models.Value(now - ANSWERED_WITHIN), models.F(since)),
                now + ANSWERED_WITHIN,
            )
        )
        lacks = (before_cutover & few) | (~before_cutover & ~answered)
        found += [(Blocker.INACTIVE, lacks & _is_inactive()), (Blocker.READS, lacks)]
    clean = (
        SearchedClient.objects.filter(client_id=models.OuterRef("pk"))
        .filter(searched_at__gte=Coalesce(models.OuterRef(since), "searched_at"))
        .order_by("-searched_at", "-pk")
        .values(is_clean=models.Q(rows_found=0, not_looked_at=0))[:1]
    )
    nothing_found = Coalesce(models.Subquery(clean), models.Value(False))
    unsearched = models.lookups.Exact(nothing_found, models.Value(False))
    found.append((Blocker.COPIES, ~before_cutover & models.Q(unsearched)))
    return found


def _count_since(name: str) -> models.Func:
    """Return what NOVA's reader counted since the client entered its phase; never below 0."""
    before = Cast(KeyTextTransform(name, "client_migration__reads_at_entry"), COUNT)
    counted = Coalesce(models.F(f"read_count__{name}"), 0, output_field=COUNT)
    return Greatest(counted - Coalesce(before, 0, output_field=COUNT), 0, output_field=COUNT)
