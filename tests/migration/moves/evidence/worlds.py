"""Clients that have all that their next phase wants, and what spoils each rule, in rows."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import F
from django.utils import timezone

from credentials.models import ClientRevision
from migration.core.clients import all_clients
from migration.models import (
    ClientMigration,
    Comparison,
    CopySearch,
    LoginTest,
    ReadCount,
    ReaderProcess,
    SearchedClient,
)
from migration.moves import rules
from migration.moves.rules import PREVIOUS_PHASE, WANT_EVIDENCE, Blocker
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_copy_search, make_many, make_reader_process

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def make_ready(new: Phase, number: int = 2) -> list[int]:
    """Makes so many clients that are ready for the move to `new`; return their ids."""
    before = set(all_clients().values_list("pk", flat=True))
    make_many(number, phase=PREVIOUS_PHASE[new])
    made = all_clients().exclude(pk__in=before).order_by("pk")
    ids = list(made.values_list("pk", flat=True))
    if not ReaderProcess.objects.exists():
        make_reader_process()
    now = timezone.now()
    ClientMigration.objects.filter(pk__in=ids).update(
        phase_changed_at=now - 8 * DAY,
        clean_streak=3,
        reads_at_entry={"reads": 100, "matches": 100},
        compared_at=now - timedelta(minutes=1),
    )
    revisions = made.with_revision().values_list("pk", "revision")
    ClientRevision.objects.record_pushed([*revisions])
    search = CopySearch.objects.create()
    SearchedClient.objects.bulk_create(
        SearchedClient(search=search, client_id=pk, slug=f"c{pk}", searched_at=now) for pk in ids
    )
    ReadCount.objects.bulk_create(
        ReadCount(client_id=pk, reads=125, matches=120, last_read_at=now) for pk in ids
    )
    # A trigger of the table notes these itself when it is inserted.
    ReadCount.objects.filter(pk__in=ids).update(last_answer_at=now)
    return ids


class Spoilt(NamedTuple):
    """What is done to one client, and what its gate and lists then say."""

    rule: str
    name: str
    spoil: Callable[[int], object]
    says: tuple[str, ...] = ()  # the codes of the lines that fail; (): it is met all the same
    blocker: Blocker = rules.READY
    # The moves that ask it.
    moves: tuple[Phase, ...] = WANT_EVIDENCE

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


def stands(**columns: object) -> Callable[[int], object]:
    return lambda pk: ClientMigration.objects.filter(pk=pk).update(**columns)


def counted(**columns: object) -> Callable[[int], object]:
    return lambda pk: ReadCount.objects.filter(pk=pk).update(**columns)


def is_active(value: bool | None) -> Callable[[int], object]:
    return lambda pk: all_clients().filter(pk=pk).update(is_active=value)


def run_sql(statement: str) -> Callable[[int], object]:
    def execute(pk: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, [pk])

    return execute


def take_into_run(pk: int) -> None:
    Run.objects.create(kind=Run.Kind.MIGRATE).add_items([(pk, "x")])


def take_into_left_run(pk: int) -> None:
    run = Run.objects.create(kind=Run.Kind.MIGRATE, worked_at=timezone.now() - 2 * HOUR)
    run.add_items([(pk, "x")])


def compare_in_run(pk: int) -> None:
    Run.objects.create(kind=Run.Kind.COMPARE).add_items([(pk, "x")])


def refuse_present_rows(pk: int) -> None:
    revision = all_clients().with_revision().get(pk=pk).revision
    ClientMigration.objects.record_refused([(pk, revision)])


def refuse_former_rows(pk: int) -> None:
    refuse_present_rows(pk)
    write_row(pk)
    push_present_rows(pk)


def push_present_rows(pk: int) -> None:
    revision = all_clients().with_revision().get(pk=pk).revision
    ClientRevision.objects.record_pushed([(pk, revision)])


write_row = run_sql(
    "UPDATE public.client_database_credentials SET db_user = 'other' WHERE client_id = %s"
)


def refuse_login(store: str, outcome: str = "refused") -> Callable[[int], object]:
    return lambda pk: LoginTest.objects.create(
        client_id=pk, kind="database", store=store, outcome=outcome
    )


def forget_search(pk: int) -> None:
    SearchedClient.objects.filter(client_id=pk).delete()


def search_anew(**found: object) -> Callable[[int], object]:
    return lambda pk: make_copy_search(pk, **found)


def change_search(**columns: object) -> Callable[[int], object]:
    return lambda pk: SearchedClient.objects.filter(client_id=pk).update(**columns)


EVERY = rules.EVERY_MOVE
AFTER = rules.AFTER_FIRST_PUSH
FIRST, CUTOVER, PURGE = (Phase.DUAL_WRITE,), (Phase.AWS,), (Phase.PURGED,)


def list_spoilt() -> list[Spoilt]:
    """Return what spoils each rule, and what comes near it: as of now."""
    now = timezone.now()
    lately = now - timedelta(minutes=1)
    return [
        Spoilt("in_a_run", "a run", take_into_run, ("in_a_run",), rules.TAKEN_BY_RUN, EVERY),
        Spoilt("in_a_run", "one that is left", take_into_left_run, moves=EVERY),
        Spoilt("in_a_run", "one that reads", compare_in_run, moves=EVERY),
        Spoilt(
            "last_push_refused",
            "refused",
            refuse_present_rows,
            ("last_push_refused",),
            rules.PUSH_REFUSED,
            EVERY,
        ),
        Spoilt("last_push_refused", "former rows", refuse_former_rows, moves=EVERY),
        Spoilt(
            "active", "inactive", is_active(False), ("not_pushed_inactive",), rules.INACTIVE, FIRST
        ),
        Spoilt("active", "NULL", is_active(None), ("not_pushed_inactive",), rules.INACTIVE, FIRST),
        Spoilt(
            "no_login",
            "none",
            run_sql("DELETE FROM public.client_database_credentials WHERE client_id = %s"),
            ("no_login",),
            rules.WITHOUT_LOGIN,
            FIRST,
        ),
        Spoilt(
            "push_pending", "written", write_row, ("push_pending",), rules.WAITS_FOR_PUSH, AFTER
        ),
        Spoilt(
            "push_pending",
            "NULL",
            lambda pk: ClientRevision.objects.filter(pk=pk).update(pushed_revision=None),
            ("push_pending",),
            rules.WAITS_FOR_PUSH,
            AFTER,
        ),
        Spoilt(
            "push_pending",
            "no row",
            lambda pk: ClientRevision.objects.filter(pk=pk).delete(),
            ("push_pending",),
            rules.WAITS_FOR_PUSH,
            AFTER,
        ),
        *(
            Spoilt(
                "newest_comparison",
                status,
                stands(comparison_status=status),
                ("newest_comparison",),
                rules.UNCHECKED if status == "unchecked" else rules.DIFFERS,
                AFTER,
            )
            for status in Comparison.Status.values
            if status != "match"
        ),
        Spoilt(
            "newest_comparison",
            "never",
            stands(comparison=None, comparison_status=None, compared_at=None),
            ("never_compared",),
            rules.NOT_COMPARED,
            AFTER,
        ),
        *(
            Spoilt(
                "newest_comparison",
                name,
                stands(compared_at=at),
                ("comparison_too_old",),
                rules.TOO_OLD,
                AFTER,
            )
            for name, at in {
                "old": now - timedelta(minutes=31),
                "ahead": now + timedelta(minutes=31),
                "NULL": None,
            }.items()
        ),
        Spoilt(
            "reader_met_mismatch",
            "lately",
            counted(last_mismatch_at=lately),
            ("reader_met_mismatch",),
            rules.READER_MET_TROUBLE,
        ),
        Spoilt("reader_met_mismatch", "once", counted(last_mismatch_at=now - HOUR)),
        Spoilt("reader_met_mismatch", "NULL", counted(last_mismatch_at=None)),
        Spoilt(
            "aws_login_refused",
            "refused",
            refuse_login("aws"),
            ("aws_login_refused",),
            rules.LOGIN_REFUSED,
        ),
        Spoilt("aws_login_refused", "in PostgreSQL", refuse_login("postgres")),
        Spoilt("aws_login_refused", "unreachable", refuse_login("aws", "unreachable")),
        Spoilt("streak", "two", stands(clean_streak=2), ("clean_streak",), rules.FEW_MATCHES),
        Spoilt(
            "time",
            "an hour",
            stands(phase_changed_at=now - HOUR),
            ("time_in_phase",),
            rules.SHORT_TIME,
        ),
        Spoilt("time", "NULL", stands(phase_changed_at=None), ("time_in_phase",), rules.SHORT_TIME),
        Spoilt(
            "time",
            "two days",
            stands(phase_changed_at=now - 2 * DAY),
            ("time_in_phase",),
            rules.SHORT_TIME,
            PURGE,
        ),
        Spoilt(
            "time", "two days are enough", stands(phase_changed_at=now - 2 * DAY), moves=CUTOVER
        ),
        Spoilt("reads", "few", counted(matches=119), ("too_few_reads",), rules.FEW_READS, CUTOVER),
        Spoilt(
            "reads",
            "NULL",
            lambda pk: ReadCount.objects.filter(pk=pk).delete(),
            ("too_few_reads",),
            rules.FEW_READS,
            CUTOVER,
        ),
        Spoilt(
            "reads",
            "inactive",
            lambda pk: (counted(matches=119)(pk), is_active(None)(pk), push_present_rows(pk)),
            ("inactive_client",),
            rules.INACTIVE,
            CUTOVER,
        ),
        *(
            Spoilt("reads", name, spoil, ("not_answered_by_aws",), rules.FEW_READS, PURGE)
            for name, spoil in {
                "not by AWS": counted(matches=F("reads")),
                "mismatches": counted(mismatches=5),
                # A trigger notes when it failed.
                "failures": lambda pk: (
                    counted(aws_failures=5)(pk),
                    counted(last_failure_at=None)(pk),
                ),
                "long ago": counted(last_answer_at=now - 2 * DAY),
                "ahead": counted(last_answer_at=now + 2 * DAY),
                "NULL answer": counted(last_answer_at=None),
                "NULL row": lambda pk: ReadCount.objects.filter(pk=pk).delete(),
            }.items()
        ),
        Spoilt(
            "failures",
            "lately",
            counted(last_failure_at=lately, good_reads_since_failure=2),
            ("reader_failed_at_aws",),
            rules.READER_MET_TROUBLE,
        ),
        Spoilt("failures", "over", counted(last_failure_at=lately, good_reads_since_failure=3)),
        Spoilt("failures", "once", counted(last_failure_at=now - HOUR)),
        Spoilt("failures", "NULL", counted(last_failure_at=None, good_reads_since_failure=0)),
        Spoilt("copies", "NULL", forget_search, ("copies_not_searched",), rules.COPIES, PURGE),
        Spoilt(
            "copies",
            "before its phase",
            change_search(searched_at=now - 9 * DAY),
            ("copies_not_searched",),
            rules.COPIES,
            PURGE,
        ),
        Spoilt(
            "copies_found",
            "found",
            search_anew(rows_found=1),
            ("copies_found",),
            rules.COPIES,
            PURGE,
        ),
        Spoilt(
            "copies_found",
            "not looked at",
            search_anew(not_looked_at=1),
            ("copies_found",),
            rules.COPIES,
            PURGE,
        ),
        Spoilt(
            "copies_found",
            "NULL",
            forget_search,
            ("copies_not_searched",),
            rules.COPIES,
            PURGE,
        ),
        Spoilt(
            "copies_found",
            "cleared since",
            lambda pk: (change_search(rows_found=1)(pk), search_anew()(pk)),
            moves=PURGE,
        ),
    ]
