"""Owns what can be wrong with the site: the registry of problems, what the newest looks found, and since when.

A problem is declared once, above the function that finds it:

    @problem("no_worker", _("Workers"), Area.WORKERS, unready=True, told_as=NoticeEvent.WORKERS_GONE)
    def find_missing_worker(look: Look) -> Iterator[Finding]: ...

The health page, the dashboard's first block, `doctor`, metrics, readiness and notices are made of the registry.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import Error, connection, models, transaction
from django.db.models import Q, TextChoices
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from psycopg import Error as PsycopgError
from psycopg.errors import UndefinedFunction, UndefinedTable

from migration.core.clients import VIEW_CHECKS
from migration.core.fields import MessageField, OwnJSONField, clamped_time_or_null
from migration.core.notices import IS_OVER, OVER_AFTER, ClientCondition, Notice, NoticeEvent
from nova_credentials.messages import Message, Sentence, in_a_row

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
MINUTE = timedelta(minutes=1)
# A page says that a stored look is old when the workers missed so many.
LOOKS_MISSED = 3
NEVER = datetime.min.replace(tzinfo=UTC)
# Workers look again this soon where a look got no answer; for what was wrong, after a twelfth of its usual time.
AGAIN = timedelta(minutes=5)
# Who takes on a slow look has this long. That of a killed process is taken on again after it.
CLAIMED_FOR = timedelta(minutes=10)
MOST_COUNTED = 1_000_000_000


class FindingState(StrEnum):
    """The state of a finding. Only OK means that all is well."""

    OK = "ok"
    FAILED = "failed"
    NOT_LOOKED_AT = "not_looked_at"


WORST_FIRST = (FindingState.FAILED, FindingState.NOT_LOOKED_AT, FindingState.OK)


class Severity(TextChoices):
    """How bad an open problem is, the worst first."""

    CRITICAL = "critical", _("Critical")  # credentials may be lost, or NOVA is without one
    WARNING = "warning", _("Warning")  # it goes on for now
    TODO = "todo", _("To do")  # nothing is wrong: it waits for somebody


class Area(TextChoices):
    """The part of the site that a problem is about, in the order of the health page."""

    WORKERS = "workers", _("Workers")
    AWS = "aws", _("AWS")
    NOVA = "nova", _("NOVA")
    COUNTING = "counting", _("Write counting")
    DATABASE = "database", _("Database")
    SECRETS = "secrets", _("Secrets")
    AUDIT = "audit", _("Audit and keys")
    NOTICES = "notices", _("Notices")
    CLIENTS = "clients", _("Clients")


class Finder(StrEnum):
    """Who looks for a problem, by what that takes."""

    # Each page anew: a read of the database, of a millisecond or two, or from what the page has read anyway.
    PAGE = "page"
    # The workers every minute, and the health page: reads of the database.
    WORKER = "worker"
    # `doctor`, and the workers where the problem says how often: it takes long, or asks AWS, Redis or PostgreSQL anew.
    DOCTOR = "doctor"


@dataclass(frozen=True)
class Action:
    """A link, or a button that posts, which helps with a problem."""

    label: str
    url: str
    permission: str
    posts: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing that a look found: that something is well, is wrong, or could not be looked at."""

    state: FindingState
    message: Message
    remedy: Message | None = None
    statements: tuple[str, ...] = ()  # fit to be pasted, in this order
    # How many things or clients it is about.
    count: int = 1
    since: datetime | None = None
    # The list of these things, and what helps with them: only of problems that pages look for, as neither is stored.
    url: str = ""
    actions: tuple[Action, ...] = ()
    # It could not be looked at, and yet what was wrong is over: nothing is left to look at, or only a part was not.
    is_harmless: bool = False

    @property
    def ok(self) -> bool:
        return self.state == FindingState.OK

    def to_json(self) -> dict[str, Any]:
        """Return what is stored of it: no links, and no statement, as nobody is to paste what another role stored."""
        return {
            "state": self.state.value,
            "message": self.message.to_json(),
            "remedy": self.remedy and self.remedy.to_json(),
            "count": self.count,
        }

    @classmethod
    def from_json(cls, data: Any) -> Finding | None:
        """Read what `to_json` returned; None of what somebody else wrote."""
        try:
            state, count = FindingState(data["state"]), int(data["count"])
            message, remedy = Message.from_json(data["message"]), data["remedy"]
            if not 0 <= count <= MOST_COUNTED:
                return None
            return cls(state, message, remedy and Message.from_json(remedy), count=count)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None


def report_ok(message: Message, remedy: Message | None = None) -> Finding:
    """Report that all is well; `remedy`: what is still to do."""
    return Finding(FindingState.OK, message, remedy)


def report_failure(
    message: Message,
    remedy: Message | None = None,
    *,
    statements: tuple[str, ...] = (),
    count: int = 1,
    since: datetime | None = None,
    url: str = "",
    actions: tuple[Action, ...] = (),
) -> Finding:
    return Finding(FindingState.FAILED, message, remedy, statements, count, since, url, actions)


def report_unlooked(
    message: Message,
    remedy: Message | None = None,
    *,
    statements: tuple[str, ...] = (),
    is_harmless: bool = False,
) -> Finding:
    """Report that it could not be looked at."""
    state = FindingState.NOT_LOOKED_AT
    return Finding(state, message, remedy, statements, is_harmless=is_harmless)


class Look:
    """One look at the site: what is read for one problem is there for the next. Not kept."""

    def __init__(self, *, role: str | None = None, briefly: bool = False) -> None:
        # The role by which NOVA connects, if it was named.
        self.role = role
        # No table that somebody has locked holds it up; that takes a transaction a problem.
        self.briefly = briefly
        self._read: dict[Callable[[], Any], Any] = {}
        self._failed: dict[Callable[[], Any], Exception] = {}

    def read(self, load: Callable[[], Found]) -> Found:
        """Return what this function returned first in this look; raises again what it raised."""
        if error := self._failed.get(load):
            raise error
        if load not in self._read:
            try:
                self._read[load] = load()
            except Exception as error:
                self._failed[load] = error
                raise
        found: Found = self._read[load]
        return found

    def give(self, load: Callable[[], Found], found: Found) -> None:
        """Keep what was read already, in place of what the function would return."""
        self._read[load] = found


Find = Callable[[Look], Iterable[Finding]]


@dataclass(frozen=True)
class Problem:
    """One thing that can be wrong with the site, and everything that follows from it."""

    code: str  # its anchor in docs/runbooks.md, too
    title: StrOrPromise
    area: Area
    find: Find = field(repr=False)
    severity: Severity = Severity.WARNING
    found_by: Finder = Finder.WORKER
    # In place of the title while something is wrong, where the title alone names the good state.
    title_of_wrong: StrOrPromise = ""
    # How often workers look for what only `doctor` finds; None: never.
    every: timedelta | None = MINUTE
    # /readyz fails: this process can't do its work, and another may.
    unready: bool = False
    # Nothing is written to AWS meanwhile. What writes asks anew, before each write.
    stops_writes: bool = False
    # No client is moved forward meanwhile. A gate asks anew, under the client's lease.
    shuts_gates: bool = False
    # Says that what somebody began waits for somebody to act: it is told before what goes on by itself.
    stands_still: bool = False
    # The page where something is done about it (of `migration`, or with "admin:"), and who may see that it is wrong.
    page: str = "run_health"
    button: StrOrPromise = ""
    # Who may open that page, unless everybody may who sees the problem.
    page_permission: str = ""
    permission: str = VIEW_CHECKS
    # It is so of this process, perhaps of no other: each looks itself, and nothing is stored.
    of_process: bool = False
    # Notices tell when it begins and when it is over. None: it is told otherwise, or not at all.
    told_as: NoticeEvent | None = NoticeEvent.PROBLEM
    # It is told once it has lasted so long, and over once it was away so long.
    told_after: timedelta = timedelta()
    over_after: timedelta = OVER_AFTER
    # In place of that, clients for which it begins and ends are told by name.
    told_by_client: tuple[ClientCondition, ...] = ()

    @property
    def is_of_site(self) -> bool:
        """Say whether something is wrong with the site itself, and not with some of its clients."""
        return self.area != Area.CLIENTS

    @property
    def looked_for_every(self) -> timedelta | None:
        """Return how often workers look for it; None: never."""
        return self.every if self.found_by == Finder.DOCTOR else MINUTE

    @property
    def ends_after(self) -> timedelta:
        """Return how long it has to be away to be over. Where no worker looks, the next look may be months away."""
        return self.over_after if self.looked_for_every else timedelta()

    @property
    def url(self) -> str:
        return reverse(self.page if ":" in self.page else f"admin:migration_{self.page}")


PROBLEMS: dict[str, Problem] = {}


def problem(code: str, title: StrOrPromise, area: Area, **how: Any) -> Callable[[Find], Find]:
    """Declare what the function finds as a problem; `how`: the other fields of `Problem`."""

    def declare(find: Find) -> Find:
        if code in PROBLEMS:
            raise ValueError(f"two problems have the code {code}")
        PROBLEMS[code] = Problem(code, title, area, find, **how)
        return find

    return declare


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems as every surface lists them.

    The worst come first, of these what stands still; then it goes by area, and in an area as they were declared.
    """
    severities, areas = list(Severity), list(Area)
    return sorted(
        problems,
        key=lambda each: (
            severities.index(each.severity),
            not each.stands_still,
            areas.index(each.area),
        ),
    )


@dataclass(frozen=True)
class Result:
    """The findings of the newest look for a problem."""

    problem: Problem
    findings: tuple[Finding, ...]
    looked_at: datetime | None  # None: nobody has looked yet
    # Since when it is wrong, as far as looks tell.
    began_at: datetime | None = None

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.state == FindingState.FAILED)

    @property
    def is_open(self) -> bool:
        return bool(self.failed)

    @property
    def is_away(self) -> bool:
        """Say whether nothing is wrong. That nobody could look doesn't say so."""
        return bool(self.findings) and all(each.ok or each.is_harmless for each in self.findings)

    @property
    def count(self) -> int:
        """Return the number of what is wrong, as every surface has it; 0 where nothing is."""
        return sum(each.count for each in self.failed)

    @property
    def state(self) -> FindingState:
        """Return the worst state of its findings."""
        states = {each.state for each in self.findings}
        return next((each for each in WORST_FIRST if each in states), FindingState.NOT_LOOKED_AT)

    @property
    def message(self) -> Message | None:
        """Return what is wrong, in a row; None where nothing is."""
        return in_a_row(*(each.message for each in self.failed))

    @property
    def is_old(self) -> bool:
        """Say whether those who look for it have missed some looks."""
        every = self.problem.looked_for_every
        if self.problem.found_by == Finder.PAGE or every is None or self.looked_at is None:
            return False
        return timezone.now() - self.looked_at > LOOKS_MISSED * every

    @property
    def is_due_after(self) -> timedelta | None:
        """Return how long after this look workers look again; None: they never do."""
        every = self.problem.looked_for_every
        if every is None or every <= AGAIN or not self.findings or self.is_away:
            return every
        return max(AGAIN, every / 12) if self.is_open else AGAIN


@contextmanager
def read_briefly() -> Iterator[None]:
    """Limit each statement of the block to 5 s and its wait for a lock to 1 s; past it, `db.Error`.

    A table that somebody has locked must not hold a page up.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'")
        yield


MIGRATE_FIRST = Sentence(
    "migrate_first",
    "Run: python manage.py migrate. It says what to grant, if something is lacking.",
)
COULD_NOT_ASK = Sentence("could_not_ask", "PostgreSQL gave no answer to this check (%(code)s).")
SEE_THE_LOG = Sentence("see_the_log", "PostgreSQL's log says why. Correct it, then check again.")
LOOK_FAILED = Sentence(
    "look_failed", "This check ended with an error of the site's own (%(code)s)."
)
REPORT_THE_ERROR = Sentence(
    "report_the_error", "The other checks go on. Report this one to whoever maintains the site."
)


def look_for(each: Problem, look: Look) -> Result:
    """Look for one problem now. One that PostgreSQL doesn't answer, or whose finder fails, was not looked at."""
    try:
        is_brief = each.found_by == Finder.WORKER or (each.found_by == Finder.PAGE and look.briefly)
        with read_briefly() if is_brief else nullcontext():
            findings = tuple(each.find(look))
    except Error as error:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        cause = error.__cause__
        code = cause.sqlstate if isinstance(cause, PsycopgError) else None
        message = COULD_NOT_ASK(code=code or type(error).__name__)
        is_missing = isinstance(cause, UndefinedTable | UndefinedFunction)
        findings = (report_unlooked(message, MIGRATE_FIRST() if is_missing else SEE_THE_LOG()),)
    except Exception as error:  # noqa: BLE001  # a defect of one finder hides no other problem
        # An error's text can hold a value.
        logger.error("%s was not looked for: %s", each.code, type(error).__name__)  # noqa: TRY400
        message = LOOK_FAILED(code=type(error).__name__)
        findings = (report_unlooked(message, REPORT_THE_ERROR()),)
    return Result(each, findings, timezone.now())


def list_results(
    look: Look, *, anew: Collection[Finder] = (Finder.PAGE,), only: Collection[str] = ()
) -> list[Result]:
    """Return the newest result of each problem, in the order of `sort_problems`.

    Those of the finders `anew` are looked for now, the others as they were stored: in one query. `only`: these codes.
    """
    records = ProblemRecord.objects.filter(code__in=PROBLEMS).in_bulk()
    results = []
    for each in sort_problems(PROBLEMS.values()):
        if only and each.code not in only:
            continue
        record = records.get(each.code)
        if each.found_by in anew:
            result = look_for(each, look)
            began_at = record.began_at if record and result.is_open else None
            began_at = min(
                (found.since for found in result.failed if found.since), default=began_at
            )
            results.append(Result(each, result.findings, result.looked_at, began_at))
        else:
            results.append(record.to_result(each) if record else Result(each, (), None))
    return results


class ProblemRecordQuerySet(models.QuerySet["ProblemRecord"]):
    @transaction.atomic
    def store(self, result: Result) -> None:
        """Store what a look found; record a notice of a problem that has begun, or is over.

        Nothing is stored of a problem that is only this process' own.
        """
        each, now = result.problem, timezone.now()
        if each.of_process:
            return
        self.get_or_create(code=each.code)
        # Two looks at once wait for each other.
        row = self.select_for_update().get(code=each.code)
        row.forget_impossible_times(now)
        row.findings = [found.to_json() for found in result.findings]
        row.looked_at = now
        if each.found_by == Finder.DOCTOR:
            row.claimed_until = None
        event = None if each.told_by_client else each.told_as
        # Not by when it began: with the same moment it may begin anew, as where NOVA has not read since.
        key = f"{each.code}:{now.isoformat()}"
        if message := result.message:
            since = min((found.since for found in result.failed if found.since), default=now)
            row.began_at, row.failed_at = row.began_at or min(since, now), now
            if event and not row.told and now - row.began_at >= each.told_after:
                row.told, row.facts = True, message
                Notice.objects.record(event, message, key=key)
        elif (
            result.is_away
            and row.began_at
            and now - (row.failed_at or row.began_at) >= each.ends_after
        ):
            if row.told and row.facts and event:
                over = IS_OVER(ago=row.began_at, what=row.facts)
                Notice.objects.record(event, over, key=f"{key}:over", is_over=True)
            row.began_at, row.told, row.facts = None, False, None
        row.save()

    def claim(self, code: str, *, lasts: timedelta = CLAIMED_FOR) -> bool:
        """Say whether this process may look now: nobody else does so meanwhile, until it has stored what it found."""
        now = timezone.now()
        self.bulk_create([ProblemRecord(code=code)], ignore_conflicts=True)
        # A time that is far ahead is none of ours; that of another host, whose clock is ahead, is.
        is_free = Q(claimed_until=None) | ~Q(claimed_until__range=(now, now + 2 * lasts))
        return bool(self.filter(is_free, code=code).update(claimed_until=now + lasts))


class ProblemRecord(models.Model):
    """The findings of the newest look for a problem as they are stored, and since when something is wrong."""

    # Of a problem that a later release knows, too.
    code = models.CharField(max_length=50, primary_key=True)
    findings = OwnJSONField(default=list)
    looked_at = clamped_time_or_null()
    # Until then a process looks that takes long.
    claimed_until = clamped_time_or_null()
    # NULL: nothing is wrong.
    began_at = clamped_time_or_null()
    failed_at = clamped_time_or_null()
    # Whether a notice told that it began, and what that said.
    told = models.BooleanField(default=False, db_default=False)
    facts = MessageField(null=True)

    objects = ProblemRecordQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.code

    def forget_impossible_times(self, now: datetime) -> None:
        """Correct what somebody else wrote, or a clock that was ahead: it would keep a problem from being told."""
        self.began_at = self.began_at and min(self.began_at, now)
        self.failed_at = self.failed_at and min(self.failed_at, now)
        self.told = self.told and self.began_at is not None

    def to_result(self, each: Problem) -> Result:
        """Return what was stored as the result of this problem."""
        found = self.findings if isinstance(self.findings, list) else []
        findings = tuple(filter(None, map(Finding.from_json, found)))
        return Result(each, findings, self.looked_at, self.began_at)


def look_at_problems(
    look: Look | None = None,
    *,
    only: Callable[[Problem], bool] = lambda _each: True,
    seconds: float = math.inf,
) -> None:
    """Look for what is due and store it: for workers, each minute. One that fails doesn't keep the others from it.

    A slow one is looked for by one process at a time. Those that are due most often come first, and of these those that
    nobody has looked for longest, as no look is begun after so many seconds. `only`: such problems.
    """
    look, now, began = look or Look(briefly=True), timezone.now(), time.monotonic()
    records = ProblemRecord.objects.in_bulk()
    due = []
    for each in sort_problems(PROBLEMS.values()):
        record = records.get(each.code)
        newest = record.to_result(each) if record else Result(each, (), None)
        before, every = newest.looked_at or NEVER, newest.is_due_after
        if every is None or each.of_process or not only(each):
            continue
        # A little early, as a look takes time. A time that is yet to come is none of ours.
        if not timedelta() <= now - before < every - MINUTE / 2:
            due.append((every, before, each))
    for every, _before, each in sorted(due, key=lambda row: row[:2]):
        if time.monotonic() - began >= seconds:
            logger.warning("%s was not looked for yet: others took long", each.code)
            return
        try:
            lasts = max(CLAIMED_FOR, every / 24)  # what is looked for once a day takes longest
            is_slow = each.found_by == Finder.DOCTOR
            if not is_slow or ProblemRecord.objects.claim(each.code, lasts=lasts):
                ProblemRecord.objects.store(look_for(each, look))
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # An error's text can hold a value.
            logger.error("%s was not looked for: %s", each.code, type(error).__name__)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()
