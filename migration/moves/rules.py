"""Owns the rules of the gate: of each one condition in SQL over a client's row, what NULL means, and what it says.

The gate (`gates.py`) asks all rules of a move, for one client or many; lists and counts (`readiness.py`) take the first
that keeps a client, by rank. Both ask the same condition.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache, cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.conf import settings
from django.core.signals import setting_changed
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DecimalField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Greatest
from django.db.models.lookups import Exact, GreaterThan, LessThan
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import CREDENTIAL_MODELS, Client, ClientWrite, CountingProof
from credentials.models.clients import LARGEST_ID
from credentials.nova_columns import NovaSchema, read_nova_columns
from credentials.triggers import find_is_counted_by_table, writes_are_counted
from migration.core.aws_writes import (
    describe_who_stopped_writes,
    get_aws_write_state,
    write_guard,
)
from migration.core.clients import GOOD_READS, ClientPhaseQuerySet, all_clients
from migration.core.comparisons import STATUSES, Comparison
from migration.core.kept_statements import AnyModel, KeptStatement
from migration.core.sentences import CLIENT_NOT_THERE, NOT_PUSHED_INACTIVE
from migration.logins.models import LoginStore, LoginTest, attach_row_names
from migration.nova.models import ReaderProcess
from migration.nova.tables import NovaTables, read_nova_tables
from migration.runs.items import RunItem
from migration.runs.models import Run, RunQuerySet
from migration.secrets.models import SearchedClient
from nova_credentials.messages import (
    Message,
    Sentence,
    describe_duration,
    name_moment,
)
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Twice the usual time between two sweeps, as one may be late.
FRESH = timedelta(minutes=30)
# A run on which no worker worked for longer is left.
RUN_IS_LEFT_AFTER = timedelta(hours=1)
ANSWERED_WITHIN = timedelta(days=1)
# NOVA's role can write any numbers: the difference of two may be greater than a bigint.
COUNT = DecimalField(max_digits=40, decimal_places=0)

# The phase after each phase.
NEXT_PHASE = {
    old: new
    for (old, new), kind in MOVES.items()
    if kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
}
PREVIOUS_PHASE = {new: old for old, new in NEXT_PHASE.items()}
EVERY_MOVE = tuple(PREVIOUS_PHASE)
# The first move has no gate of its own: its push says what is wrong.
AFTER_FIRST_PUSH = (Phase.DUAL_READ, Phase.AWS, Phase.PURGED)
# The moves that want evidence.
WANT_EVIDENCE = (Phase.AWS, Phase.PURGED)


def select_write_runs_in_work() -> RunQuerySet:
    """Select the runs that write, and that workers work on."""
    since = timezone.now() - RUN_IS_LEFT_AFTER
    runs: RunQuerySet = Run.objects.started().filter(finished_at=None, worked_at__gt=since)
    return runs.exclude(kind__in=Run.READS_ONLY).exclude(state=Run.State.REQUESTED)


# What is asked

WRITES_NOT_COUNTED = Sentence(
    "writes_not_counted",
    "Writes to this client's rows are not counted: a trigger is missing. Run manage.py migrate: it says what to grant.",
)
PROOF_FAILED = Sentence(
    "proof_failed",
    "A test update of %(tables)s was not counted. Look for a rule or a trigger there.",
)
WERE_UNCOUNTED = Sentence(
    "were_uncounted",
    "Writes were not counted for a time: every client has to be pushed again first.",
)


class SiteFacts:
    """What holds for all clients at once, as of now; not to be kept. Each thing is read when it is first asked."""

    def __init__(self) -> None:
        self._told = dict[str, list[Check]]()

    def tell(self, rule: SiteRule) -> list[Check]:
        """Return the lines of the rule, which are the same for all clients."""
        if rule.code not in self._told:
            self._told[rule.code] = list(rule.say(self))
        return self._told[rule.code]

    @cached_property
    def writes(self) -> tuple[Check, ...]:
        return tuple(check_aws_writes())

    @cached_property
    def counting_problem(self) -> Message | None:
        """Say why not every write to NOVA's tables is known to be counted; None where it is."""
        if writes_are_counted():
            return None
        if not all(find_is_counted_by_table().values()):
            return WRITES_NOT_COUNTED()
        if failed := CountingProof.objects.list_failed_tables():
            return PROOF_FAILED(tables=", ".join(failed))
        return WERE_UNCOUNTED()

    @cached_property
    def nova_tables(self) -> NovaTables:
        return read_nova_tables(self.nova_schema)

    @cached_property
    def nova_schema(self) -> NovaSchema:
        """Return what NOVA's tables have as columns."""
        return read_nova_columns()

    @cached_property
    def processes_seen(self) -> int:
        """Return how many processes of NOVA read in the last hour."""
        return ReaderProcess.objects.seen_in_last_hour().count()


# Stand in kept statements, where each use has ids of clients of its own.
NOBODY, NOBODY_IN_A_RUN, NOBODY_REFUSED = [-1], [-2], [-3]


@cache
def keep_open_items() -> KeptStatement[RunItem]:
    return KeptStatement(RunItem.objects.open_of(NOBODY).order_by("-pk"))


@cache
def keep_aws_login_tests() -> KeptStatement[LoginTest]:
    newest = LoginTest.objects.newest(NOBODY).filter(store=LoginStore.AWS.value)
    return KeptStatement(newest.order_by("pk"))


class Ask:
    """What rules are asked: of which clients, at which moment, by which run; not to be kept.

    What other tables say of these clients is read once for all of them, when first asked. Of all clients it is part of
    the one statement instead.
    """

    def __init__(
        self,
        client_ids: Collection[int] | None = None,
        *,
        run: Run | None = None,
        site: SiteFacts | None = None,
    ) -> None:
        """`client_ids` None: all clients. `run` moves the clients itself: its own items keep no gate shut."""
        self.client_ids, self.run, self.site = client_ids, run, site or SiteFacts()
        self.now = timezone.now()

    @cached_property
    def ids(self) -> list[int]:
        """Return the ids of the clients asked about that a client can have."""
        return [pk for pk in self.client_ids or () if abs(pk) <= LARGEST_ID]

    def _fetch(self, kept: KeptStatement[AnyModel]) -> list[AnyModel]:
        """Return the rows of a statement that was made for NOBODY, of the clients asked about."""
        return kept.fetch(lambda param: self.ids if param == NOBODY else param) if self.ids else []

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the ids of the clients of these rows, as a part of a statement: of all clients, or of those asked."""
        if self.client_ids is not None:
            rows = rows.filter(client_id__in=self.client_ids)
        return rows.order_by().values("client_id")

    @cached_property
    def open_write_items(self) -> dict[int, RunItem]:
        """Return client id -> an open item of a run that writes, and that workers work on."""
        # Their runs in a second look: of one that has just begun PostgreSQL may take it that no item is open, and would
        # read all of them where it can begin with the run.
        own = self.run.pk if self.run else None
        items = [item for item in self._fetch(keep_open_items()) if item.run_id != own]
        runs = select_write_runs_in_work().in_bulk({item.run_id for item in items})
        found = {}
        for item in items:
            if run := runs.get(item.run_id):
                item.run = run
                found[item.client_id] = item
        return found

    @property
    def in_a_run(self) -> Collection[int] | QuerySet[Any]:
        """Return the ids of the clients with an open item of a run that writes."""
        if self.client_ids is not None:
            return list(self.open_write_items)
        # One look at the open items, of which there are few, and not one for each client.
        items = RunItem.objects.open().filter(finished_at=None, run__in=select_write_runs_in_work())
        return items.order_by().values("client_id")

    @cached_property
    def aws_login_tests(self) -> dict[int, list[LoginTest]]:
        """Return client id -> the newest tests of its logins with AWS's values, where there are some."""
        found: dict[int, list[LoginTest]] = {}
        tests = self._fetch(keep_aws_login_tests())
        attach_row_names([test for test in tests if test.is_proven_wrong])  # those that are told
        for test in tests:
            found.setdefault(test.client_id, []).append(test)
        return found

    @property
    def refused_in_aws(self) -> Collection[int] | QuerySet[Any]:
        """Return the ids of the clients with a login of AWS's copy that its newest test refused."""
        if self.client_ids is None:
            return LoginTest.objects.refused_in_aws().order_by().values("client_id")
        return [
            pk
            for pk, tests in self.aws_login_tests.items()
            if any(test.is_proven_wrong for test in tests)
        ]


# What a rule says


class CheckFix(StrEnum):
    """The action that can make a failed check pass: pages lead there (`checklists.py`)."""

    PUSH = "push"
    COMPARE = "compare"
    COMPARISON = "comparison"  # look at the comparison `Check.about`
    RUN = "run"  # look at the run `Check.about`
    READS = "reads"
    NOVA_TABLES = "nova_tables"  # map columns, accept objects
    READERS = "readers"
    COPIES = "copies"
    SLUG = "slug"  # change it
    LOGINS = "logins"  # add or change one
    LOGIN_TESTS = "login_tests"  # correct the login, and test it again
    ADOPT = "adopt"  # take over a secret that this site did not make
    AWS_WRITES = "aws_writes"  # claim the database, let writes go on
    CHECK_NOVA = "check_nova"  # it says what to run or to grant
    NONE = "none"  # the text says what to do outside this site


@dataclass(frozen=True)
class Check:
    """One line of a gate: whether it is met now, in words, and what would help."""

    code: str  # usually the key of its text where it failed, the code of its rule where it passed
    passed: bool
    text: Message
    fix: CheckFix = CheckFix.NONE
    about: int | None = None
    evidence: str = ""  # its kind; "": a fact, which nobody can override
    is_off: bool = False  # a setting switches it off
    error_class: str = ""  # of the store that did not answer

    @property
    def may_be_overridden(self) -> bool:
        return bool(self.evidence) and not self.passed


@dataclass(frozen=True)
class Awaited:
    """How many clients wait for one thing; where that is an amount, the least and the average that they have."""

    number: int
    least: int = 0
    mean: int = 0

    def describe(self, sentence: Sentence, alike: Sentence, wanted: int) -> Message:
        """Say how much of what is wanted they have; by `alike` where the average is the least."""
        if self.mean == self.least:
            return alike(n=self.number, least=self.least, wanted=wanted)
        return sentence(n=self.number, mean=self.mean, least=self.least, wanted=wanted)


@dataclass(frozen=True, eq=False)  # each is one object: its label is another text in each language
class Blocker:
    """What keeps a client from its next phase, as lists, counts and campaigns call it."""

    code: str
    label: StrOrPromise
    # In a row of the list of clients: five words at most.
    short: StrOrPromise
    # By the workers, by NOVA's reads or with time: nobody has to do anything but wait.
    passes_by_itself: bool = False
    # A client that NOVA reads from AWS lacks it for its purge alone: as it is, all is well with it.
    before_purge: bool = False
    # A campaign's step waits for it, and says this of so many clients; and how long it usually takes.
    awaited: Callable[[int], Message] | None = None
    # Where it is an amount that comes by and by: an expression of a client's, and how far so many have come.
    counted: Callable[[], Any] | None = None
    awaited_so_far: Callable[[Awaited], Message] | None = None
    usual: Callable[[], Message] | None = None
    # A comparison brings it.
    by_comparison: bool = False
    # How much the gate to a phase wants of what is too little, where it is an amount.
    wanted: Callable[[Phase], int | Message] | None = None


Conditions = Mapping[Blocker, Q]
SWITCHED_OFF = Sentence("switched_off", "Switched off (%(setting)s=0): %(what)s.")


class AnyRule:
    """What all rules declare: a rule about the site as a whole is a `SiteRule`, one about each client a `Rule`."""

    code: ClassVar[str]
    # The moves that ask it, by the phase that they lead to.
    moves_to: ClassVar[Collection[Phase]]
    # Of evidence, which can be overridden by its code: what it is called. None: a fact.
    evidence: ClassVar[Sentence | None] = None
    # What it says where evidence is missing: overrides are counted by these.
    missing: ClassVar[Collection[Sentence]] = ()
    fix: ClassVar[CheckFix] = CheckFix.NONE
    # Where it is 0, evidence is not asked.
    setting: ClassVar[str] = ""

    def find_setting(self, new: Phase) -> str:
        """Return the setting that switches it off before this move; "" where none does."""
        return self.setting

    def is_off(self, new: Phase) -> bool:
        setting = self.find_setting(new)
        return bool(setting) and not getattr(settings, setting)

    def say_off(self, new: Phase) -> Check:
        """Return the line of a rule that is switched off, which counts as met."""
        what = self.evidence() if self.evidence else ""
        text = SWITCHED_OFF(setting=self.find_setting(new), what=what)
        return Check(self.code, True, text, self.fix, evidence=self._kind, is_off=True)

    def met(self, text: Message, about: int | None = None) -> Check:
        return Check(self.code, True, text, self.fix, about, self._kind)

    def unmet(
        self, text: Message, about: int | None = None, *, fix: CheckFix | None = None
    ) -> Check:
        return Check(text.key, False, text, fix or self.fix, about, self._kind)

    @property
    def _kind(self) -> str:
        return self.code if self.evidence else ""


class SiteRule(AnyRule):
    """A rule that is the same for every client."""

    def say(self, site: SiteFacts) -> Iterator[Check]:
        """Yield its lines."""
        raise NotImplementedError


class Rule(AnyRule):
    """A rule about each client by itself."""

    # Lists tell the first of the rules that keep a client, by rank: what somebody has to act on, and what costs little,
    # comes first.
    rank: ClassVar[int]
    # What can keep a client.
    blockers: ClassVar[tuple[Blocker, ...]]
    # What it means that a condition is neither true nor false, as something it asks isn't known; None: none can be.
    null_is_unmet: ClassVar[bool | None]
    # Its conditions are others before each move.
    asks_by_move: ClassVar[bool] = False

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        """Return the condition of the clients that each of its blockers keeps; where several hold, the first counts."""
        raise NotImplementedError

    def get_facts(self) -> dict[str, Any]:
        """Return what its lines say of a client beside the columns of its row, as expressions by name."""
        return {}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        """Yield its lines about a client with its row and facts; `kept_by` is what keeps it, None where it is met."""
        raise NotImplementedError

    def list_conditions(self, ask: Ask, new: Phase) -> list[tuple[Blocker, Q]]:
        """Return its conditions before the move, each of which is true or false: NULL counts as it says."""
        if self.is_off(new):
            return []
        conditions = self.find_unmet(ask, new).items()
        if not self.null_is_unmet:  # a CASE and a WHERE take NULL for false
            return list(conditions)
        return [
            (blocker, Q(Coalesce(ExpressionWrapper(each, BooleanField()), Value(True))))
            for blocker, each in conditions
        ]


# Nothing keeps a client, or no phase is left.
READY = Blocker("", _("Ready for the next phase"), _("Ready"))
LAST = Blocker("last", _("Last phase reached"), _("Done"))


# Rules about the client's push, beside its gate: lists tell them, and the push itself refuses

LAST_PUSH_REFUSED = Sentence("last_push_refused", "The last push was refused.")
PUSH_REFUSED = Blocker(
    "push_refused",
    _("Push refused"),
    _("Push refused"),
)


class LastPushRefused(Rule):
    """Its present rows were refused by a push."""

    code = "last_push_refused"
    moves_to, rank = EVERY_MOVE, 20
    blockers = (PUSH_REFUSED,)
    null_is_unmet = None

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        refused = "client_migration__refused_revision"
        # The revision costs a look at each client's writes: it is asked only of those with a refusal.
        return {PUSH_REFUSED: Q(**{f"{refused}__isnull": False}) & Q(**{refused: F("revision")})}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            yield self.unmet(LAST_PUSH_REFUSED())


INACTIVE = Blocker("inactive", _("Inactive"), _("Activate or offboard it"), before_purge=True)


class ActiveForFirstPush(Rule):
    """An inactive client is not pushed without being asked for."""

    code = "active"
    moves_to, rank = (Phase.DUAL_WRITE,), 30
    blockers = (INACTIVE,)
    null_is_unmet = True  # NOVA reads no such client

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {INACTIVE: Q(is_active=False)}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            yield self.unmet(NOT_PUSHED_INACTIVE())


NO_LOGIN = Sentence("no_login", "No login yet. Add one.")
WITHOUT_LOGIN = Blocker("no_login", _("No login to push"), _("Add a login"))


class HasLogin(Rule):
    """Without any login there is nothing to push."""

    code = "no_login"
    moves_to, rank = (Phase.DUAL_WRITE,), 40
    blockers = (WITHOUT_LOGIN,)
    null_is_unmet = None
    fix = CheckFix.LOGINS

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        tables = [ask.narrow(model._default_manager.all()) for model in CREDENTIAL_MODELS.values()]
        condition = Q()
        for rows in tables:
            condition &= ~Q(pk__in=rows)
        return {WITHOUT_LOGIN: condition}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            yield self.unmet(NO_LOGIN())


# Facts

WRITES_NOT_STOPPED = Sentence("writes_not_stopped", "AWS writes are not stopped.")
IS_NO_COPY = Sentence("is_no_copy", "This database is the one that writes to AWS.")


class MayWriteToAws(SiteRule):
    """The host may write on this database, and writes are not stopped."""

    code = "writes_stopped"
    moves_to = EVERY_MOVE

    def say(self, site: SiteFacts) -> Iterator[Check]:
        yield from site.writes


def check_aws_writes() -> Iterator[Check]:
    """Yield the checks that this host may write on this database, and that writes are not stopped, a second ago."""
    state = get_aws_write_state()
    copy, stopped = write_guard().explain_refusal(state), describe_who_stopped_writes(state)
    for code, refusal, passed in (
        ("database_is_copy", copy, IS_NO_COPY()),
        ("writes_stopped", stopped, WRITES_NOT_STOPPED()),
    ):
        found = refusal.key if refusal else code
        yield Check(found, refusal is None, refusal or passed, CheckFix.AWS_WRITES)


PUSH_PENDING = Sentence("push_pending", "A push is pending: the latest values are not in AWS yet.")
NO_PUSH_PENDING = Sentence("no_push_pending", "No push is pending.")
KEPT_PUSH_PENDING = Sentence("kept_push_pending", "%(n)s with a pending push")
USUAL_PUSH = Sentence("usual_push", "Usually a push is made within a minute.")
WAITS_FOR_PUSH = Blocker(
    "push_pending",
    _("Waits for a push to AWS"),
    _("Push pending"),
    passes_by_itself=True,
    awaited=lambda n: KEPT_PUSH_PENDING(n=n),
    usual=USUAL_PUSH,
)


class Pushed(Rule):
    """AWS has the newest values."""

    code = "push_pending"
    moves_to, rank, fix = AFTER_FIRST_PUSH, 50, CheckFix.PUSH
    blockers = (WAITS_FOR_PUSH,)
    null_is_unmet = True  # never pushed

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        pushed = F("pushed_revision")
        # `written` is there for speed: few clients have writes that are not folded, and only theirs are counted.
        written = Q(pk__in=ask.narrow(ClientWrite.objects.all()))
        behind = Q(client_revision__revision__gt=pushed)
        return {WAITS_FOR_PUSH: behind | (written & Q(revision__gt=pushed))}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        yield self.unmet(PUSH_PENDING()) if kept_by else self.met(NO_PUSH_PENDING())


NEVER_COMPARED = Sentence("never_compared", "Not compared yet. Compare it first.")
NEWEST_COMPARISON = Sentence("newest_comparison", "Newest comparison: %(result)s, %(ago)s ago.")
COMPARISON_TOO_OLD = Sentence(
    "comparison_too_old", "The newest comparison is older than %(n)s minutes: compare again."
)
KEPT_NEVER_COMPARED = Sentence("kept_never_compared", "%(n)s not compared yet")
KEPT_TOO_OLD = Sentence("kept_too_old", "%(n)s with an outdated comparison")
USUAL_COMPARISON = Sentence(
    "usual_comparison",
    "Usually takes minutes: workers compare every client every %(n)s minutes.",
    one="Usually takes minutes: workers compare every client each minute.",
)


def tell_usual_comparison() -> Message:
    return USUAL_COMPARISON(n=settings.NOVA_SWEEP_MINUTES)


NOT_COMPARED = Blocker(
    "never_compared",
    _("Not compared yet"),
    _("Not compared yet"),
    passes_by_itself=True,
    before_purge=True,
    awaited=lambda n: KEPT_NEVER_COMPARED(n=n),
    usual=tell_usual_comparison,
    by_comparison=True,
)
DIFFERS = Blocker("differs", _("Stores differ"), _("Resolve the mismatch"))
UNCHECKED = Blocker("unchecked", _("Could not be checked"), _("Not checked"))
TOO_OLD = Blocker(
    "too_old",
    _("Newest comparison too old"),
    _("Comparison too old"),
    passes_by_itself=True,
    before_purge=True,
    awaited=lambda n: KEPT_TOO_OLD(n=n),
    usual=tell_usual_comparison,
    by_comparison=True,
)


class FreshMatch(Rule):
    """The newest comparison is a match, and fresh."""

    code = "newest_comparison"
    moves_to, rank, fix = AFTER_FIRST_PUSH, 60, CheckFix.COMPARISON
    blockers = (NOT_COMPARED, UNCHECKED, DIFFERS, TOO_OLD)
    null_is_unmet = True  # of a comparison without a time nobody knows how old it is

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        status, at = "client_migration__comparison_status", "client_migration__compared_at"
        # A time ahead is of a clock that was wrong: it would be fresh until then.
        oldest, newest = ask.now - FRESH, ask.now + FRESH
        return {
            NOT_COMPARED: Q(client_migration__comparison=None) | Q(**{status: None}),
            UNCHECKED: Q(**{status: Comparison.Status.UNCHECKED}),
            DIFFERS: ~Q(**{status: Comparison.Status.MATCH}),
            TOO_OLD: Q(**{f"{at}__lt": oldest}) | Q(**{f"{at}__gt": newest}),
        }

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by == NOT_COMPARED:
            yield self.unmet(NEVER_COMPARED(), fix=CheckFix.COMPARE)
            return
        row = client.client_migration
        # A status that this release doesn't know says nothing.
        result = STATUSES.get(row.comparison_status, STATUSES["unchecked"])()
        text = NEWEST_COMPARISON(result=result, ago=row.compared_at or ask.now)
        say = self.unmet if kept_by in (DIFFERS, UNCHECKED) else self.met
        yield say(text, row.comparison_id)
        if kept_by == TOO_OLD:
            old = COMPARISON_TOO_OLD(n=FRESH // timedelta(minutes=1))
            yield self.unmet(old, fix=CheckFix.COMPARE)


IN_A_RUN = Sentence("in_a_run", "This client is still waiting in %(run)s.")
IN_NO_RUN = Sentence("in_no_run", "No run is working on this client.")
KEPT_IN_A_RUN = Sentence("kept_in_a_run", "%(n)s in a run")
USUAL_RUN = Sentence("usual_run", "A run usually takes a few minutes.")
TAKEN_BY_RUN = Blocker(
    "in_a_run",
    _("In a run"),
    _("In a run"),
    passes_by_itself=True,
    awaited=lambda n: KEPT_IN_A_RUN(n=n),
    usual=USUAL_RUN,
)


class InNoRun(Rule):
    """No other run that writes has the client."""

    code = "in_a_run"
    moves_to, rank, fix = EVERY_MOVE, 10, CheckFix.RUN
    blockers = (TAKEN_BY_RUN,)
    null_is_unmet = None

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {TAKEN_BY_RUN: Q(pk__in=ask.in_a_run)}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            item = ask.open_write_items[client.pk]
            yield self.unmet(IN_A_RUN(run=item.run.name_message), item.run_id)
        else:
            yield self.met(IN_NO_RUN())


WRITES_COUNTED = Sentence("writes_counted", "Every write to this client's rows is counted.")


class WritesCounted(SiteRule):
    """Every write to NOVA's tables is counted."""

    code = "writes_not_counted"
    moves_to, fix = AFTER_FIRST_PUSH, CheckFix.CHECK_NOVA

    def say(self, site: SiteFacts) -> Iterator[Check]:
        problem = site.counting_problem
        yield self.unmet(problem) if problem else self.met(WRITES_COUNTED())


class NovaTablesKnown(SiteRule):
    """No column is unmapped, and no object of others is unknown, on NOVA's tables."""

    code = "nova_tables"
    moves_to, fix = WANT_EVIDENCE, CheckFix.NOVA_TABLES

    def say(self, site: SiteFacts) -> Iterator[Check]:
        for verdict in site.nova_tables.list_gate_verdicts():
            yield Check(verdict.text.key, verdict.passed, verdict.text, self.fix)


READER_MET_MISMATCH = Sentence(
    # The 30 minutes are FRESH; a test fails where they differ.
    "reader_met_mismatch",
    "NOVA's reader found a mismatch %(ago)s ago; this passes 30 minutes after the last one.",
)
READER_MET_NONE = Sentence("reader_met_none", "NOVA's reader found no mismatch recently.")
KEPT_BY_READER = Sentence(
    "kept_by_reader",
    "%(n)s with a mismatch or a failed read in the last %(wanted)s",
)
USUAL_READER = Sentence(
    "usual_reader",
    "After a mismatch or failed read, wait %(wanted)s without another one. After a failure, a few good reads "
    "also suffice.",
)
# A campaign's step waits until FRESH is over. Where the reader meets another one meanwhile, the stop rule counts it.
READER_MET_TROUBLE = Blocker(
    "reader",
    _("NOVA's reader met a mismatch or a failure lately"),
    _("NOVA had read problems"),
    awaited=lambda n: KEPT_BY_READER(n=n, wanted=describe_duration(FRESH)),
    usual=lambda: USUAL_READER(wanted=describe_duration(FRESH)),
)


def find_reads_lately(client: Any, ask: Ask) -> Any:
    """Return what NOVA's reader counted of the client; None where it did not read lately, as that says nothing."""
    counts = getattr(client, "read_count", None)
    return counts if counts and counts.has_read_after(ask.now - FRESH) else None


class NoMismatchMet(Rule):
    """NOVA's reader met no mismatch lately."""

    code = "reader_met_mismatch"
    moves_to, rank, fix = WANT_EVIDENCE, 70, CheckFix.READS
    blockers = (READER_MET_TROUBLE,)
    null_is_unmet = False  # it never met one

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {READER_MET_TROUBLE: Q(read_count__last_mismatch_at__gt=ask.now - FRESH)}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            yield self.unmet(READER_MET_MISMATCH(ago=client.read_count.last_mismatch_at))
        elif find_reads_lately(client, ask):
            yield self.met(READER_MET_NONE())


AWS_LOGIN_REFUSED = Sentence(
    "aws_login_refused",
    "A login with AWS's values was refused %(ago)s ago: %(logins)s. Fix it and test it again.",
    glue=", ",
)
AWS_LOGIN_NOT_REFUSED = Sentence(
    "aws_login_not_refused", "No login with AWS's values was refused in its newest test."
)
LOGIN_REFUSED = Blocker(
    "aws_login_refused", _("Login with AWS's values refused"), _("Login from AWS refused")
)


class NoLoginRefused(Rule):
    """The newest test refused no login of AWS's copy; it says nothing where none was ever tested."""

    code = "aws_login_refused"
    moves_to, rank, fix = WANT_EVIDENCE, 80, CheckFix.LOGIN_TESTS
    blockers = (LOGIN_REFUSED,)
    null_is_unmet = None

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {LOGIN_REFUSED: Q(pk__in=ask.refused_in_aws)}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        tests = ask.aws_login_tests.get(client.pk, [])
        if kept_by:
            refused = [test for test in tests if test.is_proven_wrong]
            names = tuple(test.login_name_message for test in refused)
            yield self.unmet(AWS_LOGIN_REFUSED(ago=refused[0].tested_at, logins=names))
        elif tests:
            yield self.met(AWS_LOGIN_NOT_REFUSED())


# Evidence: it has to have happened since the client entered its phase, and can be overridden

CLEAN_STREAK = Sentence(
    "clean_streak",
    "Matching comparisons in a row in this phase: %(n)s of %(wanted)s.",
)
STREAK_APART = Sentence("streak_apart", "%(n)s, at least %(time)s apart")
KEPT_FEW_MATCHES = Sentence(
    "kept_few_matches", "%(n)s with too few matches in a row (needed: %(wanted)s)"
)
KEPT_FEW_MATCHES_SO_FAR = Sentence(
    "kept_few_matches_so_far",
    "%(n)s with too few matches in a row: %(mean)s of %(wanted)s on average, fewest %(least)s",
    one="%(n)s with too few matches in a row: %(mean)s of %(wanted)s",
)
# Said where all have the same, so that an average tells nothing more.
KEPT_FEW_MATCHES_ALIKE = Sentence(
    "kept_few_matches_alike",
    "%(n)s with too few matches in a row: at least %(least)s of %(wanted)s each",
    one="%(n)s with too few matches in a row: %(least)s of %(wanted)s",
)
USUAL_STREAK = Sentence(
    "usual_streak",
    "Workers compare every %(n)s minutes.",
    one="Workers compare every minute.",
)
FEW_MATCHES = Blocker(
    "streak",
    _("Too few matches in a row"),
    _("Too few matches"),
    passes_by_itself=True,
    before_purge=True,
    awaited=lambda n: KEPT_FEW_MATCHES(n=n, wanted=int(settings.NOVA_CLEAN_STREAK)),
    counted=lambda: Coalesce(F("client_migration__clean_streak"), 0),
    awaited_so_far=lambda found: found.describe(
        KEPT_FEW_MATCHES_SO_FAR, KEPT_FEW_MATCHES_ALIKE, int(settings.NOVA_CLEAN_STREAK)
    ),
    usual=lambda: USUAL_STREAK(n=settings.NOVA_SWEEP_MINUTES),
    by_comparison=True,
    wanted=lambda _new: int(settings.NOVA_CLEAN_STREAK),
)


class CleanStreak(Rule):
    """So many comparisons in a row matched."""

    code, evidence = "streak", Sentence("evidence_streak", "matching comparisons")
    missing = (CLEAN_STREAK,)
    moves_to, rank, fix = WANT_EVIDENCE, 90, CheckFix.COMPARE
    setting = "NOVA_CLEAN_STREAK"
    MATCHES = Coalesce(F("client_migration__clean_streak"), 0)
    blockers = (FEW_MATCHES,)
    null_is_unmet = None

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {FEW_MATCHES: Q(LessThan(self.MATCHES, settings.NOVA_CLEAN_STREAK))}

    def get_facts(self) -> dict[str, Any]:
        return {"matches_in_a_row": self.MATCHES}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        wanted = settings.NOVA_CLEAN_STREAK
        half_a_sweep = timedelta(minutes=settings.NOVA_SWEEP_MINUTES / 2)
        apart = STREAK_APART(n=wanted, time=describe_duration(half_a_sweep))
        text = CLEAN_STREAK(n=client.matches_in_a_row, wanted=apart if wanted > 1 else wanted)
        yield self.unmet(text) if kept_by else self.met(text)


TIME_IN_PHASE = Sentence("time_in_phase", "In %(phase)s for %(age)s; needed: %(wanted)s.")
TIME_TO_GO = Sentence("time_to_go", "%(wanted)s (%(left)s to go)")


def get_wanted_time(new: Phase) -> timedelta:
    """Return how long a client has to be in its phase before the move to `new`; 0 where that is switched off."""
    if new == Phase.PURGED:
        return timedelta(days=settings.NOVA_PURGE_AFTER_DAYS)
    return timedelta(hours=settings.NOVA_DUAL_READ_HOURS)


def find_end_of_purge_wait(since: datetime | None) -> datetime | None:
    """Return from when a client that is in `aws` since then may be purged; None if from now."""
    wanted = get_wanted_time(Phase.PURGED)
    if not wanted:
        return None
    possible_at = (since or timezone.now()) + wanted
    return possible_at if possible_at > timezone.now() else None


KEPT_SHORT_TIME = Sentence(
    "kept_short_time", "%(n)s not long enough in the phase yet (needed: %(wanted)s)"
)
SHORT_TIME = Blocker(
    "time",
    _("Not long enough in its phase"),
    _("Waiting time"),
    passes_by_itself=True,
    before_purge=True,
    awaited=lambda n: KEPT_SHORT_TIME(n=n, wanted=describe_duration(get_wanted_time(Phase.AWS))),
    wanted=lambda new: describe_duration(get_wanted_time(new)),
)


class TimeInPhase(Rule):
    """The client is in its phase for so long."""

    code, evidence = "time", Sentence("evidence_time", "time in the phase")
    missing = (TIME_IN_PHASE,)
    moves_to, rank = WANT_EVIDENCE, 100
    blockers = (SHORT_TIME,)
    null_is_unmet = True  # nobody knows since when
    asks_by_move = True

    def find_setting(self, new: Phase) -> str:
        return "NOVA_PURGE_AFTER_DAYS" if new == Phase.PURGED else "NOVA_DUAL_READ_HOURS"

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        latest = ask.now - get_wanted_time(new)
        return {SHORT_TIME: Q(client_migration__phase_changed_at__gt=latest)}

    def get_facts(self) -> dict[str, Any]:
        return {"in_phase_from": F("client_migration__phase_changed_at")}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        since, needed = client.in_phase_from, get_wanted_time(new)
        age = ask.now - since if since else timedelta(0)
        wanted = describe_duration(needed)
        if kept_by:
            left = timedelta(seconds=max(1, ceil((needed - age).total_seconds())))
            wanted = TIME_TO_GO(wanted=wanted, left=describe_duration(left))
        # Both in the same units: that it is enough, or not yet, is to be seen.
        text = TIME_IN_PHASE(
            phase=Phase(client.phase).label, age=describe_duration(age), wanted=wanted
        )
        yield self.unmet(text) if kept_by else self.met(text)


TOO_FEW_READS = Sentence(
    "too_few_reads", "NOVA's reader: %(n)s of %(wanted)s reads since dual read began."
)
READS_IN_DUAL_READ = Sentence(
    "reads_in_dual_read",
    "NOVA's reader: %(n)s reads since dual read began found both stores equal.",
    one="NOVA's reader: %(n)s read since dual read began found both stores equal.",
)
NOT_ANSWERED_BY_AWS = Sentence(
    "not_answered_by_aws",
    "NOVA's reader: no read in this phase was answered by AWS in the last day.",
)
ANSWERED_BY_AWS = Sentence(
    "answered_by_aws", "NOVA's reader: its last read answered by AWS was %(ago)s ago."
)
INACTIVE_CLIENT = Sentence(
    "inactive_client",
    "%(reads)s NOVA doesn't read inactive clients: activate it, or override this check with a reason.",
)
KEPT_FEW_READS = Sentence("kept_few_reads", "%(n)s with too few reads by NOVA (needed: %(wanted)s)")
KEPT_FEW_READS_SO_FAR = Sentence(
    "kept_few_reads_so_far",
    "%(n)s with too few reads by NOVA: %(mean)s of %(wanted)s on average, fewest %(least)s",
    one="%(n)s with too few reads by NOVA: %(mean)s of %(wanted)s",
)
KEPT_FEW_READS_ALIKE = Sentence(
    "kept_few_reads_alike",
    "%(n)s with too few reads by NOVA: at least %(least)s of %(wanted)s each",
    one="%(n)s with too few reads by NOVA: %(least)s of %(wanted)s",
)
USUAL_READS = Sentence("usual_reads", "NOVA's reads are counted as NOVA serves these clients.")
FEW_READS = Blocker(
    "reads",
    _("Too few reads by NOVA"),
    _("Too few reads"),
    passes_by_itself=True,
    before_purge=True,
    awaited=lambda n: KEPT_FEW_READS(n=n, wanted=int(settings.NOVA_MIN_READS)),
    counted=lambda: count_since_entry("matches"),
    awaited_so_far=lambda found: found.describe(
        KEPT_FEW_READS_SO_FAR, KEPT_FEW_READS_ALIKE, int(settings.NOVA_MIN_READS)
    ),
    usual=USUAL_READS,
    # Before a purge, one in the last day that AWS answered.
    wanted=lambda new: int(settings.NOVA_MIN_READS) if new == Phase.AWS else 1,
)


class ReadByNova(Rule):
    """NOVA read the client: before a cutover so often that both stores were equal, before a purge lately from AWS."""

    code, evidence = "reads", Sentence("evidence_reads", "reads by NOVA")
    missing = (TOO_FEW_READS, NOT_ANSWERED_BY_AWS, INACTIVE_CLIENT)
    moves_to, rank, fix = WANT_EVIDENCE, 110, CheckFix.READS
    setting = "NOVA_MIN_READS"
    blockers = (INACTIVE, FEW_READS)
    null_is_unmet = None  # `~` of a column that is NULL is true
    asks_by_move = True

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        lacks = Q(LessThan(count_since_entry("matches"), settings.NOVA_MIN_READS))
        if new == Phase.PURGED:
            others = ("matches", "mismatches", "aws_failures")
            by_aws_alone: Any = count_since_entry("reads")
            for name in others:
                by_aws_alone = by_aws_alone - count_since_entry(name)
            since = Greatest(
                Value(ask.now - ANSWERED_WITHIN), F("client_migration__phase_changed_at")
            )
            # A time far ahead is of a clock that was wrong: it says nothing.
            lately = Q(read_count__last_answer_at__range=(since, ask.now + ANSWERED_WITHIN))
            lacks = ~(Q(GreaterThan(by_aws_alone, 0)) & lately)
        # NOVA's reader refuses an inactive client: no more reads will come.
        return {INACTIVE: lacks & (Q(is_active=False) | Q(is_active=None)), FEW_READS: lacks}

    def get_facts(self) -> dict[str, Any]:
        return {"matches_since_entry": count_since_entry("matches")}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        n, wanted = int(client.matches_since_entry), settings.NOVA_MIN_READS
        if not kept_by:
            answered = new == Phase.PURGED
            yield self.met(
                ANSWERED_BY_AWS(ago=client.read_count.last_answer_at)
                if answered
                else READS_IN_DUAL_READ(n=n)
            )
            return
        few = NOT_ANSWERED_BY_AWS() if new == Phase.PURGED else TOO_FEW_READS(n=n, wanted=wanted)
        yield self.unmet(INACTIVE_CLIENT(reads=few) if kept_by == INACTIVE else few)


def count_since_entry(name: str) -> Func:
    """Return what NOVA's reader counted since the client entered its phase; never below 0."""
    before = Cast(KeyTextTransform(name, "client_migration__reads_at_entry"), COUNT)
    counted = Cast(F(f"read_count__{name}"), COUNT)
    return Greatest(Coalesce(counted, 0) - Coalesce(before, 0), 0, output_field=COUNT)


NO_READER_PROCESS = Sentence(
    "no_reader_process",
    "No NOVA process has used the reader in the last hour.",
)
READER_PROCESSES = Sentence(
    "reader_processes",
    "%(n)s NOVA processes have used the reader in the last hour.",
    one="%(n)s NOVA process has used the reader in the last hour.",
)


class ProcessSeen(SiteRule):
    """A process of NOVA read with the package lately."""

    code, evidence = "processes", Sentence("evidence_processes", "NOVA processes seen")
    missing = (NO_READER_PROCESS,)
    moves_to, fix = WANT_EVIDENCE, CheckFix.READERS
    setting = "NOVA_MIN_READS"

    def say(self, site: SiteFacts) -> Iterator[Check]:
        n = site.processes_seen
        yield self.met(READER_PROCESSES(n=n)) if n else self.unmet(NO_READER_PROCESS())


# By `AwsFailure`.
FAILURE_CAUSES = {
    "permission": Sentence("failure_permission", "No permission, or no AWS credentials"),
    "throttled": Sentence("failure_throttled", "AWS limits the rate"),
    "unavailable": Sentence("failure_unavailable", "AWS gave no usable answer"),
    "conflict": Sentence("failure_conflict", "The secret is missing, or its state forbids reading"),
    "data": Sentence("failure_data", "AWS refuses the request"),
    "late": Sentence("failure_late", "AWS answered too late"),
    "no_document": Sentence("failure_no_document", "The secret holds no valid document"),
    "unexpected": Sentence("failure_unexpected", "Unexpected error: NOVA's log shows which"),
}
FAILURE_CAUSE_UNKNOWN = Sentence(
    "failure_cause_unknown", "an earlier release of the reader doesn't say why"
)
READER_FAILED_AT_AWS = Sentence(
    # The 30 minutes are FRESH; a test fails where they differ.
    "reader_failed_at_aws",
    "NOVA's reader could not read it from AWS %(ago)s ago (%(cause)s); this passes 30 minutes after the last failure,"
    " or after %(n)s good reads.",
)
READER_FAILED_NEVER = Sentence(
    "reader_failed_never", "NOVA's reader had no failure at AWS recently."
)


class NoFailureAtAws(Rule):
    """NOVA's reader had no failure at AWS lately that no good reads followed. It can't be switched off."""

    code, evidence = "failures", Sentence("evidence_failures", "no failure at AWS")
    missing = (READER_FAILED_AT_AWS,)
    moves_to, rank, fix = WANT_EVIDENCE, 75, CheckFix.READS
    blockers = (READER_MET_TROUBLE,)
    null_is_unmet = False  # it never failed

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        lately = Q(read_count__last_failure_at__gt=ask.now - FRESH)
        few = Q(read_count__good_reads_since_failure__lt=GOOD_READS)
        return {READER_MET_TROUBLE: lately & few}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            counts = client.read_count
            cause = FAILURE_CAUSES.get(counts.last_failure_class, FAILURE_CAUSE_UNKNOWN)()
            ago = counts.last_failure_at
            yield self.unmet(READER_FAILED_AT_AWS(ago=ago, cause=cause, n=GOOD_READS))
        elif find_reads_lately(client, ask):
            yield self.met(READER_FAILED_NEVER())


COPIES_NOT_SEARCHED = Sentence(
    "copies_not_searched",
    "Not searched for copies since this phase began.",
)
COPIES_FOUND = Sentence(
    "copies_found",
    "On %(when)s rows with a copy of its secret values: %(n)s; places that were not looked at: %(places)s.",
)
NO_COPIES_FOUND = Sentence(
    "no_copies_found",
    "NOVA's database held no copy of its secret values %(ago)s ago, and nothing was left unlooked at.",
)
COPIES = Blocker(
    "copies",
    _("Secret values elsewhere in NOVA's database: not searched for, or found"),
    _("Search for copies"),
    before_purge=True,
)


def select_newest_search() -> QuerySet[SearchedClient]:
    """Select the newest search for copies of a client that began since it entered its phase, for a subquery."""
    since = Coalesce(OuterRef("client_migration__phase_changed_at"), "searched_at")
    searches = SearchedClient.objects.filter(client_id=OuterRef("pk"), searched_at__gte=since)
    return searches.order_by("-searched_at", "-pk")


class CopiesSearched(Rule):
    """Somebody looked for copies of its secret values. It can't be switched off."""

    code, evidence = "copies", Sentence("evidence_copies", "search for copies")
    missing = (COPIES_NOT_SEARCHED,)
    moves_to, rank, fix = (Phase.PURGED,), 120, CheckFix.COPIES
    blockers = (COPIES,)
    null_is_unmet = None

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        return {COPIES: ~Q(Exists(select_newest_search()))}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        if kept_by:
            yield self.unmet(COPIES_NOT_SEARCHED())


class NoCopiesFound(Rule):
    """The newest search found no copy, and looked everywhere.

    It is a kind of its own: who does without a search has not seen the copies.
    """

    code, evidence = (
        "copies_found",
        Sentence("evidence_copies_found", "search that finds no copies"),
    )
    missing = (COPIES_FOUND,)
    moves_to, rank, fix = (Phase.PURGED,), 121, CheckFix.COPIES
    blockers = (COPIES,)
    null_is_unmet = False  # nobody searched, which is the rule before it

    def find_unmet(self, ask: Ask, new: Phase) -> Conditions:
        clean = select_newest_search().values(is_clean=Q(rows_found=0, not_looked_at=0))[:1]
        return {COPIES: Q(Exact(Subquery(clean), Value(False)))}

    def get_facts(self) -> dict[str, Any]:
        newest = select_newest_search()
        names = ("searched_at", "rows_found", "not_looked_at")
        return {f"search_{name}": Subquery(newest.values(name)[:1]) for name in names}

    def say(self, client: Any, kept_by: Blocker | None, new: Phase, ask: Ask) -> Iterator[Check]:
        at = client.search_searched_at
        if kept_by:
            when = name_moment(at)
            n, places = client.search_rows_found, client.search_not_looked_at
            yield self.unmet(COPIES_FOUND(n=n, places=places, when=when))
        elif at:
            yield self.met(NO_COPIES_FOUND(ago=at))


# All of them, in the order in which a gate tells them

GATE: tuple[Rule | SiteRule, ...] = (
    MayWriteToAws(),
    Pushed(),
    FreshMatch(),
    InNoRun(),
    WritesCounted(),
    NovaTablesKnown(),
    NoMismatchMet(),
    NoLoginRefused(),
    CleanStreak(),
    TimeInPhase(),
    ReadByNova(),
    ProcessSeen(),
    NoFailureAtAws(),
    CopiesSearched(),
    NoCopiesFound(),
)
# A push asks these itself.
BEFORE_PUSH = (LastPushRefused(), ActiveForFirstPush(), HasLogin())

# All about clients, the first that lists tell first, and what can keep a client.
BY_RANK = sorted(
    (rule for rule in (*BEFORE_PUSH, *GATE) if isinstance(rule, Rule)), key=lambda rule: rule.rank
)
BLOCKERS = {
    each.code: each for each in (READY, *(b for rule in BY_RANK for b in rule.blockers), LAST)
}

# Kind of evidence -> what it is called.
EVIDENCE: dict[str, Sentence] = {rule.code: rule.evidence for rule in GATE if rule.evidence}
# The sentences that say that evidence is missing, by their keys.
KINDS_BY_KEY = {text.key: rule.code for rule in GATE if rule.evidence for text in rule.missing}


# What they say of some clients, each with all rules


def annotate_rules(
    clients: ClientPhaseQuerySet,
    ask: Ask,
    rules: Iterable[Rule],
    moves: Sequence[Phase],
) -> ClientPhaseQuerySet:
    """Annotate of each rule the code of what keeps the client (`unmet_…`, "": it is met), and the facts of its lines.

    `moves`: by the phase that they lead to. Of several, each client is asked those of the phase that it is in.
    """
    found = clients.with_phase().with_revision().select_related("client_migration", "read_count")
    annotations = dict[str, Any]()
    for rule in rules:
        asked = [new for new in moves if new in rule.moves_to]
        if not asked:
            continue
        annotations |= rule.get_facts()
        cases = [
            When(stands & condition, then=Value(blocker.code))
            for stands, new in group_moves(rule, asked, moves)
            for blocker, condition in rule.list_conditions(ask, new)
        ]
        unmet = Case(*cases, default=Value(READY.code), output_field=CharField())
        annotations[f"unmet_{rule.code}"] = unmet
    annotated: ClientPhaseQuerySet = found.annotate(**annotations)
    return annotated


def group_moves(
    rule: Rule, asked: Sequence[Phase], every: Sequence[Phase]
) -> Iterator[tuple[Q, Phase]]:
    """Yield the moves before which the rule's conditions are to be asked, and which of all clients these are about.

    `asked`, those that ask it of `every` move, share one where its conditions are the same before each.
    """
    groups = [[new] for new in asked] if rule.asks_by_move else [list(asked)]
    for group in groups:
        phases = [PREVIOUS_PHASE[new].value for new in group]
        yield (Q(phase__in=phases) if len(group) < len(every) else Q()), group[0]


Columns: TypeAlias = Callable[[ClientPhaseQuerySet], ClientPhaseQuerySet]


class _AnyAsk(Ask):
    """Stands in a kept statement for whoever asks, with ids that no client has and a time that no clock tells."""

    in_a_run, refused_in_aws = NOBODY_IN_A_RUN, NOBODY_REFUSED

    def __init__(self) -> None:
        super().__init__(NOBODY)
        self.now = datetime(6000, 1, 1, tzinfo=UTC)


ANY_ASK = _AnyAsk()


@cache
def keep_statement(
    rules: tuple[Rule, ...], moves: tuple[Phase, ...], columns: Columns | None
) -> KeptStatement[Client]:
    clients = all_clients().with_ids(NOBODY)
    annotated = annotate_rules(columns(clients) if columns else clients, ANY_ASK, rules, moves)
    kept = KeptStatement(annotated.order_by())
    for param in kept.params:
        if isinstance(param, datetime) and param.year < 5000:
            raise ValueError("a rule asks the clock, and not its ask: it would ask it only once")
    return kept


# In tests alone they change.
setting_changed.connect(lambda **_: keep_statement.cache_clear(), weak=False)


def fetch_with_rules(
    ask: Ask, rules: Iterable[Rule], moves: Iterable[Phase], columns: Columns | None = None
) -> list[Any]:
    """Return the clients asked about, in any order, with what `annotate_rules` annotates, and `columns`."""
    if not ask.ids:
        return []

    def take_for(param: Any) -> Any:
        if isinstance(param, datetime):
            return ask.now + (param - ANY_ASK.now)
        if param == NOBODY:
            return ask.ids
        if param == NOBODY_IN_A_RUN:
            return ask.in_a_run
        return ask.refused_in_aws if param == NOBODY_REFUSED else param

    return keep_statement(tuple(rules), tuple(moves), columns).fetch(take_for)


def list_checks(
    client: Any,
    ask: Ask,
    new: Phase,
    rules: Iterable[Rule | SiteRule],
    *,
    only_unmet: bool = False,
) -> list[Check]:
    """Return the lines of the rules of the move to `new` about a client with what `annotate_rules` annotates.

    `only_unmet`: a rule about the client that is met says nothing, where nobody reads it.
    """
    found = list[Check]()
    for rule in rules:
        if new not in rule.moves_to:
            continue
        if rule.is_off(new):
            found.append(rule.say_off(new))
        elif isinstance(rule, SiteRule):
            found += ask.site.tell(rule)
        else:
            kept_by = find_blocker(client, rule)
            if only_unmet and not kept_by:
                continue
            lines = [*rule.say(client, kept_by, new, ask)]
            # Whoever reads the lines takes what isn't there for met.
            if bool(kept_by) == all(line.passed for line in lines):
                raise ValueError(f"{rule.code} doesn't say whether it is met")
            found += lines
    return found


def find_blocker(client: Any, rule: Rule) -> Blocker | None:
    """Return what keeps the client, of what the rule may find; None where it is met."""
    code = getattr(client, f"unmet_{rule.code}")
    return BLOCKERS[code] if code else None


def judge_gates(
    ask: Ask, new: Phase, rules: Collection[Rule | SiteRule] = GATE
) -> dict[int, list[Check]]:
    """Return client id -> the lines of its gate to `new`, made now, in as many queries for one client as for many.

    One that NOVA has deleted meanwhile has a shut gate too.
    """
    asked = [rule for rule in rules if isinstance(rule, Rule) and new in rule.moves_to]
    gone = [Check(CLIENT_NOT_THERE.key, False, CLIENT_NOT_THERE())]
    found = dict.fromkeys(ask.client_ids or (), gone)
    for client in fetch_with_rules(ask, asked, [new]):
        found[client.pk] = list_checks(client, ask, new, rules)
    return found
