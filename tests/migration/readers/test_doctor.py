"""What `check_nova` says of NOVA's processes."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration.operations.doctor.findings import Asked
from migration.operations.doctor.readers import examine_readers
from tests.factories import make_reader_process

pytestmark = pytest.mark.django_db


def found() -> list[tuple[str, str]]:
    return [(str(finding.state), finding.message.key) for finding in examine_readers(Asked())]


def test_a_process_that_was_never_seen_is_not_ok():
    assert found() == [("not_looked_at", "reader_never_read")]


def test_a_process_that_read_in_the_last_hour_is_ok():
    make_reader_process(last_read_at=timezone.now() - timedelta(minutes=59))
    assert found() == [("ok", "reader_read")]


def test_a_process_that_aws_fails_is_a_failure():
    make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    assert found() == [("ok", "reader_read"), ("failed", "readers_fail")]
