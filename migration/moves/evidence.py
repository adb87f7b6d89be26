"""What a gate asks for: the facts of each client, and the evidence for a cutover or a purge, which can be overridden.

Reads the database alone. What is evidence has to have happened since the client entered its present phase.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from django.conf import settings
from django.utils import timezone

from credentials.models import Client, CountingProof
from credentials.triggers import find_is_counted_by_table, writes_are_counted
from migration.core.clients import GOOD_READS, ClientMigration, ReadCount, ReadsSince
from migration.core.sentences import HOURS, MINUTES
from migration.logins.models import LoginStore, LoginTest
from migration.moves.models import (
    ANSWERED_WITHIN,
    FRESH,
    Blocker,
    get_wanted_time,
    select_write_runs_in_work,
)
from migration.nova.models import ReaderProcess
from migration.nova.tables import NovaTables, read_nova_tables
from migration.runs.items import RunItem
from migration.runs.models import Run
from migration.secrets.models import SearchedClient
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# What the gates of some clients need

WRITES_NOT_COUNTED = Sentence(
    "writes_not_counted",
    "Writes to this client's rows are not counted: a trigger is missing. Run manage.py migrate: it says what to grant.",
)
PROOF_FAILED = Sentence(
    "proof_failed",
    "A test update of %(tables)s was not counted (it was undone): look for a rule or a trigger there.",
)
WERE_UNCOUNTED = Sentence(
    "were_uncounted",
    "Writes were not counted for a time: every client has to be pushed again first.",
)


class GateFacts:
    """What is known of these clients, for gates that are evaluated now; not to be kept.

    Each thing is read once for all of them, when first asked.
    """

    def __init__(self, client_ids: Collection[int], *, run: Run | None = None) -> None:
        """`run` moves the clients itself: its own items keep no gate shut."""
        self._client_ids, self._run = client_ids, run

    def read_all(self, site: GateFacts | None = None) -> None:
        """Read everything now: the same number of queries, whatever the phases of the clients.

        `site`: facts of other clients, from which those are taken that are the same for all.
        """
        for name in ("counting_problem", "nova_tables", "processes_seen"):
            vars(self)[name] = getattr(site or self, name)
        for name in ("client_migrations", "read_counts", "inactive_client_ids", "open_write_items"):
            getattr(self, name)
        for name in ("aws_login_tests", "newest_searches"):
            getattr(self, name)

    @cached_property
    def client_migrations(self) -> dict[int, ClientMigration]:
        """Return client id -> its phase, with its newest comparison."""
        found = ClientMigration.objects.select_related("comparison")
        return {row.pk: row for row in found.filter(pk__in=self._client_ids)}

    @cached_property
    def read_counts(self) -> dict[int, ReadCount]:
        """Return client id -> the counts of its reads."""
        return {row.pk: row for row in ReadCount.objects.filter(pk__in=self._client_ids)}

    @cached_property
    def inactive_client_ids(self) -> set[int]:
        """Return those of the clients that NOVA does not serve: `is_active` is false or not set."""
        served = Client.objects.filter(pk__in=self._client_ids, is_active=True)
        return set(self._client_ids) - set(served.values_list("pk", flat=True))

    @cached_property
    def open_write_items(self) -> dict[int, RunItem]:
        """Return client id -> an open item of a run that writes, and that workers work on."""
        # Their runs in a second look: of one that has just begun PostgreSQL may take it that no item is open, and would
        # read all of them where it can begin with the run.
        items = RunItem.objects.open_of(self._client_ids).exclude(run=self._run).order_by("-pk")
        runs = select_write_runs_in_work().in_bulk({item.run_id for item in items})
        found = {}
        for item in items:
            if run := runs.get(item.run_id):
                item.run = run
                found[item.client_id] = item
        return found

    @cached_property
    def aws_login_tests(self) -> dict[int, list[LoginTest]]:
        """Return client id -> the newest tests of its logins with AWS's values, where there are some."""
        found: dict[int, list[LoginTest]] = {}
        tests = LoginTest.objects.newest(self._client_ids).filter(store=LoginStore.AWS.value)
        for test in tests.order_by("pk"):
            found.setdefault(test.client_id, []).append(test)
        return found

    @cached_property
    def newest_searches(self) -> dict[int, SearchedClient]:
        """Return client id -> its newest search for copies."""
        return SearchedClient.objects.newest_of(self._client_ids)

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
        return read_nova_tables()

    @cached_property
    def processes_seen(self) -> int:
        """Return how many processes of NOVA read in the last hour."""
        return ReaderProcess.objects.seen_in_last_hour().count()


# The evidence

# The moves that want evidence, by the phase they lead to.
WANT_EVIDENCE = (Phase.AWS, Phase.PURGED)


class Evidence(StrEnum):
    """A kind of evidence; the keys of `EVIDENCE`, which names each."""

    STREAK = "streak"
    TIME = "time"
    READS = "reads"
    PROCESSES = "processes"
    FAILURES = "failures"
    COPIES = "copies"  # nobody has looked for them
    COPIES_FOUND = "copies_found"


EVIDENCE = {
    "streak": Sentence("evidence_streak", "matching comparisons"),
    "time": Sentence("evidence_time", "time in the phase"),
    "reads": Sentence("evidence_reads", "reads by NOVA"),
    "processes": Sentence("evidence_processes", "NOVA processes seen"),
    "failures": Sentence("evidence_failures", "no failure at AWS"),
    "copies": Sentence("evidence_copies", "search for copies"),
    "copies_found": Sentence("evidence_copies_found", "search that finds no copies"),
}


@dataclass(frozen=True)
class EvidenceLine:
    """One kind of evidence as of now. A line that is switched off counts as met."""

    kind: Evidence
    is_met: bool
    text: Message
    is_off: bool = False


@dataclass(frozen=True)
class PhaseEntry:
    """A client's present phase, since when, and what was counted in it."""

    client_id: int
    phase: Phase
    since: datetime | None = None
    clean_streak: int = 0
    reads: ReadsSince = field(default_factory=ReadsSince)
    last_answer_at: datetime | None = None
    counts: ReadCount | None = None


def make_phase_entry(
    client_id: int, client_migration: ClientMigration | None, counts: ReadCount | None
) -> PhaseEntry:
    """Return the phase that the client is in and what was counted since it entered it."""
    if client_migration is None:
        return PhaseEntry(client_id, Phase.POSTGRES)
    reads = counts.count_since(client_migration.reads_at_entry) if counts else ReadsSince()
    return PhaseEntry(
        client_id=client_id,
        phase=Phase(client_migration.phase),
        since=client_migration.phase_changed_at,
        clean_streak=client_migration.clean_streak,
        reads=reads,
        last_answer_at=counts.last_answer_at if counts else None,
        counts=counts,
    )


def list_evidence(entry: PhaseEntry, new: Phase, facts: GateFacts) -> Iterator[EvidenceLine]:
    """Yield every line of the move to `new`; none where it wants no evidence."""
    if new not in WANT_EVIDENCE:
        return
    yield _judge_streak(entry)
    yield _judge_time(entry, new)
    yield _name_inactive(_judge_reads(entry, new), entry, facts)
    yield _judge_processes(facts)
    yield from _judge_failures(entry)
    if new == Phase.PURGED:
        yield _judge_copies(entry, facts)


def find_end_of_purge_wait(since: datetime | None) -> datetime | None:
    """Return from when a client that is in `aws` since then may be purged; None if from now."""
    wanted = get_wanted_time(Phase.PURGED)
    if not wanted:
        return None
    possible_at = (since or timezone.now()) + wanted
    return possible_at if possible_at > timezone.now() else None


CLEAN_STREAK = Sentence(
    "clean_streak",
    "%(n)s comparisons in a row matched since this phase began; needed: %(wanted)s.",
    one="%(n)s comparison in a row matched since this phase began; needed: %(wanted)s.",
)
STREAK_APART = Sentence("streak_apart", "%(n)s, at least %(time)s apart")


def _judge_streak(entry: PhaseEntry) -> EvidenceLine:
    wanted, n = settings.NOVA_CLEAN_STREAK, entry.clean_streak
    if not wanted:
        return _switched_off(Evidence.STREAK, "NOVA_CLEAN_STREAK")
    half_a_sweep = timedelta(minutes=settings.NOVA_SWEEP_MINUTES / 2)
    apart = STREAK_APART(n=wanted, time=describe_duration(half_a_sweep))
    text = CLEAN_STREAK(n=n, wanted=apart if wanted > 1 else wanted)
    return EvidenceLine(Evidence.STREAK, n >= wanted, text)


TIME_IN_PHASE = Sentence("time_in_phase", "In the phase %(phase)s for %(age)s; needed: %(wanted)s.")


def _judge_time(entry: PhaseEntry, new: Phase) -> EvidenceLine:
    wanted = get_wanted_time(new)
    if not wanted:
        setting = "NOVA_PURGE_AFTER_DAYS" if new == Phase.PURGED else "NOVA_DUAL_READ_HOURS"
        return _switched_off(Evidence.TIME, setting)
    age = timezone.now() - entry.since if entry.since else timedelta(0)
    text = TIME_IN_PHASE(
        phase=entry.phase.label, age=describe_duration(age), wanted=describe_duration(wanted)
    )
    return EvidenceLine(Evidence.TIME, entry.since is not None and age >= wanted, text)


TOO_FEW_READS = Sentence(
    "too_few_reads", "NOVA's reader: %(n)s of %(wanted)s reads since dual read began."
)
READS_IN_DUAL_READ = Sentence(
    "reads_in_dual_read",
    "NOVA's reader: %(n)s reads since dual read began found both stores equal.",
    one="NOVA's reader: %(n)s read since dual read began found both stores equal.",
)


def _judge_reads(entry: PhaseEntry, new: Phase) -> EvidenceLine:
    wanted = settings.NOVA_MIN_READS
    if not wanted:
        return _switched_off(Evidence.READS, "NOVA_MIN_READS")
    if new == Phase.PURGED:
        return _judge_answers(entry)
    n = entry.reads.matches
    text = READS_IN_DUAL_READ(n=n) if n >= wanted else None
    few = TOO_FEW_READS(n=n, wanted=wanted)
    return EvidenceLine(Evidence.READS, text is not None, text or few)


INACTIVE_CLIENT = Sentence(
    "inactive_client",
    "%(reads)s NOVA reads no inactive client: make it active, or have this line overridden with a reason.",
)


def _name_inactive(line: EvidenceLine, entry: PhaseEntry, facts: GateFacts) -> EvidenceLine:
    """Say of missing reads that they can't come, where the client is inactive: NOVA's reader refuses it."""
    if line.is_met or entry.client_id not in facts.inactive_client_ids:
        return line
    return replace(line, text=INACTIVE_CLIENT(reads=line.text))


NOT_ANSWERED_BY_AWS = Sentence(
    "not_answered_by_aws",
    "NOVA's reader: no read in the last day was answered by AWS since this phase began.",
)
ANSWERED_BY_AWS = Sentence(
    "answered_by_aws", "NOVA's reader: its last read answered by AWS was %(ago)s ago."
)


def _judge_answers(entry: PhaseEntry) -> EvidenceLine:
    """Judge whether AWS alone answered a read in the last day and since the client entered its phase."""
    now, last = timezone.now(), entry.last_answer_at
    since = max(now - ANSWERED_WITHIN, entry.since or now - ANSWERED_WITHIN)
    # A time far ahead is of a clock that was wrong: it says nothing.
    if last and since <= last <= now + ANSWERED_WITHIN and entry.reads.answered_by_aws_alone > 0:
        return EvidenceLine(Evidence.READS, True, ANSWERED_BY_AWS(ago=last))
    return EvidenceLine(Evidence.READS, False, NOT_ANSWERED_BY_AWS())


NO_READER_PROCESS = Sentence(
    "no_reader_process",
    "No NOVA process that reads with this package was seen in the last hour.",
)
READER_PROCESSES = Sentence(
    "reader_processes",
    "%(n)s NOVA processes that read with this package were seen in the last hour.",
    one="%(n)s NOVA process that reads with this package was seen in the last hour.",
)


def _judge_processes(facts: GateFacts) -> EvidenceLine:
    if not settings.NOVA_MIN_READS:
        return _switched_off(Evidence.PROCESSES, "NOVA_MIN_READS")
    n = facts.processes_seen
    text = READER_PROCESSES(n=n) if n else NO_READER_PROCESS()
    return EvidenceLine(Evidence.PROCESSES, n > 0, text)


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
    "failure_cause_unknown", "an earlier release of the package doesn't say why"
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


def _judge_failures(entry: PhaseEntry) -> Iterator[EvidenceLine]:
    """Yield whether NOVA's reader failed at AWS lately; nothing where it did not read lately, as that says nothing.

    It can't be switched off.
    """
    since, counts = timezone.now() - FRESH, entry.counts
    if counts is None or not counts.has_read_after(since):
        return
    failed_at, unknown = counts.find_failure(since=since), FAILURE_CAUSE_UNKNOWN
    text = READER_FAILED_NEVER()
    if failed_at:
        cause = FAILURE_CAUSES.get(counts.last_failure_class, unknown)()
        text = READER_FAILED_AT_AWS(ago=failed_at, cause=cause, n=GOOD_READS)
    yield EvidenceLine(Evidence.FAILURES, failed_at is None, text)


COPIES_NOT_SEARCHED = Sentence(
    "copies_not_searched",
    "Nobody has looked for copies of its secret values in NOVA's database since this phase began.",
)
COPIES_FOUND = Sentence(
    "copies_found",
    "On %(when)s rows with a copy of its secret values: %(n)s; places that were not looked at: %(places)s.",
)
NO_COPIES_FOUND = Sentence(
    "no_copies_found",
    "NOVA's database held no copy of its secret values %(ago)s ago, and nothing was left unlooked at.",
)


def _judge_copies(entry: PhaseEntry, facts: GateFacts) -> EvidenceLine:
    """Judge the newest search for copies that began since the client entered its phase. It can't be switched off.

    What it found is a kind of its own: who does without a search has not seen the copies.
    """
    found = facts.newest_searches.get(entry.client_id)
    if found is None or (entry.since is not None and found.searched_at < entry.since):
        return EvidenceLine(Evidence.COPIES, False, COPIES_NOT_SEARCHED())
    if found.proves_no_copies:
        text = NO_COPIES_FOUND(ago=found.searched_at)
        return EvidenceLine(Evidence.COPIES, True, text)
    # Local, as the sentence is stored.
    when = timezone.localtime(found.searched_at).strftime("%Y-%m-%d %H:%M")
    text = COPIES_FOUND(n=found.rows_found, places=found.not_looked_at, when=when)
    return EvidenceLine(Evidence.COPIES_FOUND, False, text)


SWITCHED_OFF = Sentence("switched_off", "Switched off (%(setting)s=0): %(what)s.")


def _switched_off(kind: Evidence, setting: str) -> EvidenceLine:
    text = SWITCHED_OFF(setting=setting, what=EVIDENCE[kind]())
    return EvidenceLine(kind, True, text, is_off=True)


# The sentences that say that evidence is missing, by their keys.
KINDS_BY_KEY = {
    CLEAN_STREAK.key: Evidence.STREAK,
    TIME_IN_PHASE.key: Evidence.TIME,
    TOO_FEW_READS.key: Evidence.READS,
    NOT_ANSWERED_BY_AWS.key: Evidence.READS,
    INACTIVE_CLIENT.key: Evidence.READS,
    NO_READER_PROCESS.key: Evidence.PROCESSES,
    READER_FAILED_AT_AWS.key: Evidence.FAILURES,
    COPIES_NOT_SEARCHED.key: Evidence.COPIES,
    COPIES_FOUND.key: Evidence.COPIES_FOUND,
}

SECONDS = Sentence("seconds", "%(n)s seconds", one="%(n)s second")
DAYS = Sentence("days", "%(n)s days", one="%(n)s day")


def describe_duration(length: timedelta) -> Message:
    """Return the time in its largest unit of which it has two at least, never rounded up, as part of a sentence."""
    seconds = int(length.total_seconds())
    for unit, size in ((DAYS, 86_400), (HOURS, 3_600), (MINUTES, 60)):
        if seconds >= 2 * size:
            n = seconds * 10 // size / 10
            return unit(n=int(n) if n == int(n) else n)
    return SECONDS(n=seconds)


def describe_wanted(blocker: Blocker, new: Phase) -> int | Message | None:
    """Return how much the gate to `new` wants of what the blocker says is too little; None where it is no amount."""
    match blocker:
        case Blocker.STREAK:
            return int(settings.NOVA_CLEAN_STREAK)
        case Blocker.TIME:
            return describe_duration(get_wanted_time(new))
        case Blocker.READS:
            # Before a purge, one in the last day that AWS answered.
            return int(settings.NOVA_MIN_READS) if new == Phase.AWS else 1
    return None
