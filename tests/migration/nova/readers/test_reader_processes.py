"""Which processes count as seen, and which are forgotten."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration import tasks
from migration.models import ReaderProcess
from migration.nova import models as rows
from migration.nova.models import AwsFailure
from nova_credentials.aws.answers import ErrorClass
from nova_credentials.reader.process_notes import name_failure
from tests.factories import make_reader_process

pytestmark = pytest.mark.django_db


def ago(**given):
    return timezone.now() - timedelta(**given)


def test_a_process_is_seen_for_an_hour_after_its_last_note():
    now = make_reader_process()
    make_reader_process(last_read_at=ago(minutes=61))
    make_reader_process(last_read_at=ago(minutes=59))

    seen = ReaderProcess.objects.seen_in_last_hour()

    assert seen.count() == 2
    assert now in seen
    assert {row.is_seen for row in seen} == {True}
    assert [row.is_seen for row in ReaderProcess.objects.not_seen_in_last_hour()] == [False]


def test_was_ever_seen():
    assert not ReaderProcess.objects.was_ever_seen()
    make_reader_process(last_read_at=ago(days=400))
    assert ReaderProcess.objects.was_ever_seen()


def test_a_process_fails_now_if_it_reads_and_met_an_error_lately():
    failing = make_reader_process(aws_error="permission", aws_error_at=ago(minutes=29))
    make_reader_process(aws_error="permission", aws_error_at=ago(minutes=31))
    make_reader_process(aws_error="late", aws_error_at=ago(minutes=5), last_read_at=ago(minutes=61))

    assert list(ReaderProcess.objects.failing_now()) == [failing]


def test_the_summary_counts_in_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        nothing = ReaderProcess.objects.summarize()
    assert (nothing.seen, nothing.failing, nothing.last_read_at) == (0, 0, None)
    newest = make_reader_process(aws_error="late", aws_error_at=ago(minutes=1))
    make_reader_process(last_read_at=ago(hours=2))

    found = ReaderProcess.objects.summarize()

    assert (found.seen, found.failing, found.last_read_at) == (1, 1, newest.last_read_at)


def test_the_sweep_forgets_processes_not_seen_for_a_week(monkeypatch):
    make_reader_process(last_read_at=ago(days=7, minutes=1))
    kept = make_reader_process(last_read_at=ago(days=6))

    tasks.sweep()

    assert list(ReaderProcess.objects.all()) == [kept]


def test_the_newest_is_never_forgotten():
    make_reader_process(last_read_at=ago(days=401))
    newest = make_reader_process(last_read_at=ago(days=400))

    ReaderProcess.objects.forget_old()

    assert list(ReaderProcess.objects.all()) == [newest]


def test_of_processes_that_no_longer_read_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(rows, "PROCESSES_KEPT", 3)
    reading = {make_reader_process().pk for _ in range(5)}
    ended = [make_reader_process(last_read_at=ago(hours=hours)).pk for hours in range(2, 8)]

    ReaderProcess.objects.forget_old()

    left = set(ReaderProcess.objects.values_list("pk", flat=True))
    assert left == reading | set(ended[:3])


def test_every_class_that_the_reader_writes_has_its_words():
    # SCHEMA is the class of NOVA's tables, and no error of AWS.
    names = {*map(str, set(ErrorClass) - {ErrorClass.SCHEMA}), "late", "no_document", "unexpected"}
    assert {choice.value for choice in AwsFailure} == names
    assert name_failure(ValueError()) in names


def test_a_class_of_another_release_is_shown_as_it_is():
    assert make_reader_process(aws_error="new <class>").aws_error_label == "new <class>"
