"""Clients in every phase: one each that is ready for its next step, and one each that lacks one thing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from credentials.models import ClientRevision, ClientWrite
from migration.models import ClientMigration, Comparison, ReadCount
from migration.runs.models import Run
from tests.factories import (
    count_reads,
    make_client,
    make_comparison,
    make_copy_search,
    make_database,
    make_full_client,
    make_reader_process,
)
from tests.migration.pages import login


@pytest.fixture
def operator(transactional_db, client):
    """Somebody with the role, logged in."""
    from django.contrib.auth.models import Group

    user = login(client, "olga")
    user.groups.add(Group.objects.get(name="Operator"))
    return client


@pytest.fixture(autouse=True)
def copies_are_not_looked_for() -> None:
    """They are, here."""


@pytest.fixture
def wanted(settings) -> None:
    """The evidence that production wants; other tests have it switched off."""
    settings.NOVA_CLEAN_STREAK = 3
    settings.NOVA_DUAL_READ_HOURS = 24.0
    settings.NOVA_PURGE_AFTER_DAYS = 7.0
    settings.NOVA_MIN_READS = 20


def put_in_phase(slug: str, phase: str, status: str = "match", **fields) -> int:
    """Make a client in the phase for a month, pushed and compared just now, whose last three comparisons matched."""
    pk = make_full_client(slug)
    make_comparison(pk, status, slug=slug)
    month_ago = timezone.now() - timedelta(days=30)
    given = {"phase": phase, "phase_changed_at": month_ago, "clean_streak": 3} | fields
    ClientMigration.objects.filter(pk=pk).update(**given)
    count_writes_as_pushed(pk)
    return pk


def count_writes_as_pushed(pk: int) -> None:
    written = ClientWrite.objects.filter(client_id=pk).count()
    ClientRevision.objects.update_or_create(
        client_id=pk, defaults={"pushed_revision": written, "revision": 0}
    )


@pytest.fixture
def clients(transactional_db, wanted) -> set[str]:
    """The slugs of those that are ready; every other client of the database lacks one thing."""
    now = timezone.now()
    make_full_client("first")
    make_client("no-login"), make_full_client("not ok")
    two = make_full_client("two-primary")
    make_database(two)
    large = make_client("large")
    make_database(large, db_password_encrypted="a" * 66_000)
    medium = make_client("medium")
    make_database(medium, db_password_encrypted="a" * 6_000)
    make_database(make_client("pointer"), db_password_encrypted="aws-secretsmanager:nova/x")
    refused = make_full_client("refused")
    written = ClientWrite.objects.filter(client_id=refused).count()
    ClientMigration.objects.create(client_id=refused, phase="postgres", refused_revision=written)

    put_in_phase("written", "dual_write")
    put_in_phase("differs", "dual_write", "mismatch")
    make_database(put_in_phase("pending", "dual_write"), is_primary=False)
    hour_ago = now - timedelta(hours=1)
    old = put_in_phase("old", "dual_write", compared_at=hour_ago)
    Comparison.objects.filter(client_id=old).update(compared_at=hour_ago)
    run = Run.objects.create(kind=Run.Kind.PUSH, worked_at=now)
    run.add_items([(put_in_phase("in-run", "dual_write"), "in-run")])

    make_reader_process()
    count_reads(put_in_phase("read", "dual_read"), reads=20, matches=20)
    count_reads(put_in_phase("few-reads", "dual_read"), reads=20, matches=19)
    before = {"reads": 10, "matches": 10}
    count_reads(put_in_phase("old-reads", "dual_read", reads_at_entry=before), reads=25, matches=25)
    count_reads(
        put_in_phase("enough-new", "dual_read", reads_at_entry=before), reads=30, matches=30
    )
    count_reads(put_in_phase("streak", "dual_read", clean_streak=2), reads=20, matches=20)
    soon = put_in_phase("soon", "dual_read", phase_changed_at=now - timedelta(hours=23))
    count_reads(soon, reads=20, matches=20)
    met = put_in_phase("met", "dual_read")
    count_reads(met, reads=21, matches=20)
    ReadCount.objects.filter(pk=met).update(last_mismatch_at=now - timedelta(minutes=5))

    for slug in ("answered", "unsearched", "copies", "searched-before", "unanswered"):
        pk = put_in_phase(slug, "aws")
        count_reads(pk, reads=1)
        ReadCount.objects.filter(pk=pk).update(last_answer_at=now)
        if slug == "unanswered":
            ReadCount.objects.filter(pk=pk).update(last_answer_at=now - timedelta(days=2))
        if slug == "searched-before":
            make_copy_search(pk, searched_at=now - timedelta(days=31))
        elif slug != "unsearched":
            make_copy_search(pk, rows_found=int(slug == "copies"))
    put_in_phase("gone", "purged")
    return {"first", "medium", "written", "read", "enough-new", "answered"}
