"""What `doctor` says of NOVA's processes."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from migration.core.problems import PROBLEMS, Look, look_for
from migration.models import ClientMigration, OtherStatement
from migration.nova import readers
from migration.nova.readers import (
    find_failing_readers,
    find_gone_readers,
    find_reads_past_package,
    note_other_statements,
)
from tests.factories import make_many, make_reader_process
from tests.migration.nova.readers import statistics
from tests.migration.nova.readers.test_other_statements import HELPER

pytestmark = pytest.mark.django_db


def found() -> list[tuple[str, str]]:
    look = Look()
    return [
        (str(finding.state), finding.message.key)
        for find in (find_gone_readers, find_failing_readers)
        for finding in find(look)
    ]


def test_a_process_that_was_never_seen_is_not_ok():
    assert found() == [("not_looked_at", "reader_never_read"), ("ok", "no_reader_fails")]


def test_a_process_that_read_in_the_last_hour_is_ok():
    make_reader_process(last_read_at=timezone.now() - timedelta(minutes=59))
    assert found() == [("ok", "reader_read"), ("ok", "no_reader_fails")]


def test_a_process_that_aws_fails_is_a_failure():
    make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    assert found() == [("ok", "reader_read"), ("failed", "readers_fail")]


# Who reads past the package


@pytest.fixture
def counted(db):
    """An extension that counts statements, as far as the site can see, and a client that is read from AWS."""
    statistics.install()
    make_many(1, phase="aws")


def others() -> list[tuple[str, str]]:
    return [(str(each.state), each.message.key) for each in find_reads_past_package(Look())]


def age(**minutes: int) -> None:
    OtherStatement.objects.update(
        **{name: timezone.now() - timedelta(minutes=n) for name, n in minutes.items()}
    )


def test_without_the_extension_nobody_knows_who_reads_past_the_package():
    (found,) = find_reads_past_package(Look())

    assert (found.state, found.message.key) == ("not_looked_at", "other_reads_not_counted")
    assert found.statements == ("CREATE EXTENSION pg_stat_statements;",)


def test_where_postgresql_counts_already_only_the_extension_is_asked_for(monkeypatch):
    monkeypatch.setattr(readers, "FIND_LIBRARY", "SELECT")

    (found,) = find_reads_past_package(Look())

    assert found.remedy.key == "create_statistics"
    assert found.statements == ("CREATE EXTENSION pg_stat_statements;",)


def test_where_only_the_package_and_the_site_read_all_is_well(counted):
    assert others() == [("ok", "no_other_reads")]


def test_a_statement_of_the_old_helper_is_named_and_failed_once_it_is_seen_to_be_called(counted):
    statistics.count(HELPER, calls=7)
    assert others() == [("not_looked_at", "other_has_read")]

    note_other_statements()
    assert others() == [("not_looked_at", "other_has_read")]
    OtherStatement.objects.update(calls=6)
    (found,) = find_reads_past_package(Look())

    assert (found.state, found.message.key) == ("failed", "other_reads")
    told = str(found.message)
    assert "postgres reads client_database_credentials past the package" in told
    assert "7 times" in told
    assert "db_host" not in told


def test_before_a_client_is_read_from_aws_novas_old_helper_is_no_failure(counted):
    statistics.count(HELPER)
    note_other_statements()
    OtherStatement.objects.update(called_at=timezone.now())
    ClientMigration.objects.update(phase="dual_write")

    assert others() == [("ok", "other_reads")]


def test_a_statement_that_was_not_called_for_an_hour_is_no_failure(counted):
    """pg_stat_statements never forgets it."""
    statistics.count(HELPER)
    note_other_statements()
    OtherStatement.objects.update(called_at=timezone.now())
    assert others() == [("failed", "other_reads")]

    age(called_at=61, first_noticed_at=90)

    assert others() == [("ok", "others_have_stopped")]


def test_many_statements_are_cut_short(counted):
    for number in range(23):
        statistics.count(HELPER, queryid=number)

    found = others()

    assert len(found) == 21
    assert found[-1] == ("not_looked_at", "more_other_reads")


def test_statements_that_are_hidden_are_not_looked_at_whatever_else_is_seen(counted):
    statistics.count("<insufficient privilege>", queryid=None)

    (found,) = find_reads_past_package(Look())

    assert (found.state, found.message.key) == ("not_looked_at", "other_reads_hidden")
    assert found.statements[0].startswith('GRANT pg_read_all_stats TO "')


def test_what_was_seen_is_over_though_others_are_hidden(counted):
    statistics.count("<insufficient privilege>", queryid=None)
    assert not look_for(PROBLEMS["reads_past_package"], Look()).is_away
    statistics.count(HELPER)
    note_other_statements()
    OtherStatement.objects.update(called_at=timezone.now())
    assert look_for(PROBLEMS["reads_past_package"], Look()).is_open

    age(called_at=61, first_noticed_at=90)

    assert look_for(PROBLEMS["reads_past_package"], Look()).is_away


def test_a_role_with_a_name_that_steers_terminals_is_shown_without_its_tricks(counted):
    with connection.cursor() as cursor:
        cursor.execute('CREATE ROLE "no\x1b[2Jva\u202e"')
    statistics.count(HELPER, role="no\x1b[2Jva\u202e")

    (found,) = find_reads_past_package(Look())

    assert r"no\x1b[2Jva\u202e" in str(found.message)
    assert str(found.message).isprintable()
