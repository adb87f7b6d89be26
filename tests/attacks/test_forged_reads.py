"""NOVA's role writes the counts of its reads and the notes of its processes: what it can't do with them."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from migration.core.clients import all_clients
from migration.core.fields import EARLIEST, LATEST
from migration.models import ClientMigration, ReadCount, ReaderProcess
from migration.moves.approvals import start_move_run
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.runs.engine import finish_inline
from nova_credentials.phases import Phase
from tests.factories import count_reads, give_evidence, make_full_client, make_reader_process
from tests.migration.moves.clients import codes, enter_phase

COUNTS, PROCESSES = "nova_admin.migration_readcount", "nova_admin.migration_readerprocess"
COLUMNS = [
    *((COUNTS, f"last_{what}_at") for what in ("read", "mismatch", "failure", "answer")),
    *((PROCESSES, column) for column in ("last_read_at", "aws_error_at", "first_seen_at")),
]
YEAR = timedelta(days=365)


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    count_reads(pk, reads=1, matches=1)
    make_reader_process()
    return pk


def write(table: str, **values: object) -> None:
    assignments = ", ".join(f"{name} = %({name})s" for name in values)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {assignments}", values)


def test_no_time_is_stored_that_no_page_could_show(db):
    count_reads(make_full_client("idom"), reads=1, matches=1)
    make_reader_process()
    for table, column in COLUMNS:
        for when in ("infinity", "-infinity", "200000-01-01", "0044-03-15 BC"):
            with pytest.raises(IntegrityError), transaction.atomic():
                write(table, **{column: when})


@pytest.mark.parametrize("when", [EARLIEST, LATEST])
def test_every_page_shows_the_farthest_times_and_numbers(idom, client, admin_user, when, settings):
    settings.NOVA_MIN_READS = 20
    client.force_login(admin_user)
    ClientMigration.objects.update(reads_at_entry={"reads": -5, "matches": 5})
    for table, column in COLUMNS:
        write(table, **{column: when})
    write(COUNTS, reads=2**63 - 1, matches=-(2**63), mismatches=7, aws_failures=2**62)

    for url in (
        "/admin/",
        "/admin/migration/readerprocess/",
        f"/admin/migration/readerprocess/{ReaderProcess.objects.get().pk}/change/",
        "/admin/credentials/client/",
        f"/admin/credentials/client/{idom}/change/",
        f"/admin/credentials/client/{idom}/change/?tab=comparison",
        f"/admin/credentials/client/act/cutover/?clients={idom}",
        "/admin/migration/comparison/report/",
    ):
        assert client.get(url).status_code == 200, url


# Clocks that were wrong for a while


@pytest.fixture
def proven(idom, settings) -> int:
    settings.NOVA_MIN_READS, settings.NOVA_CLEAN_STREAK = 20, 3
    compare(client_ids=[idom])
    give_evidence(idom)
    return idom


@pytest.mark.parametrize("ahead", [YEAR, timedelta(hours=2)])
def test_a_process_seen_in_time_to_come_is_not_seen(proven, ahead):
    ReaderProcess.objects.update(last_read_at=timezone.now() + ahead)

    assert codes(proven, Phase.AWS) == ["no_reader_process"]
    assert ReaderProcess.objects.summarize().seen == 0
    assert not ReaderProcess.objects.first().is_seen


def test_a_clock_some_minutes_ahead_does_no_harm(proven):
    ReaderProcess.objects.update(last_read_at=timezone.now() + timedelta(minutes=5))

    move(client_id=proven, new=Phase.AWS)


@pytest.mark.parametrize(
    "numbers", [{"matches": -(2**63)}, {"matches": 2**63 - 1, "reads": 2**63 - 1}]
)
def test_the_farthest_numbers_of_one_client_keep_no_other_of_its_run(idom, numbers):
    other = make_full_client("other")
    enter_phase(other, Phase.DUAL_READ)
    compare(client_ids=[idom, other])
    ClientMigration.objects.update(reads_at_entry={"reads": 1, "matches": 1})
    ReadCount.objects.filter(pk=idom).update(**numbers)
    run = start_move_run(chosen=all_clients(), old=Phase.DUAL_READ, new=Phase.AWS)

    finish_inline(run)

    assert {item.outcome for item in run.items.all()} == {"moved"}


def test_an_answer_in_time_to_come_is_none(proven):
    move(client_id=proven, new=Phase.AWS)
    compare(client_ids=[proven])
    give_evidence(proven)
    ReadCount.objects.update(last_answer_at=timezone.now() + YEAR)

    assert codes(proven, Phase.PURGED) == ["not_answered_by_aws"]


def test_a_comparison_in_time_to_come_is_not_fresh(proven):
    ClientMigration.objects.update(compared_at=timezone.now() + YEAR)

    assert codes(proven, Phase.AWS) == ["comparison_too_old"]
