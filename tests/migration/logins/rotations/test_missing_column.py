"""NOVA's tables lose a column that the site knows: a rotation ends before it began, or waits and says why."""

import pytest
from django.db import connection

from migration.logins.models import RotationOutcome, RotationStep
from migration.logins.pending import PendingSecret
from migration.models import Rotation
from nova_credentials.phases import Phase
from tests.migration.logins.rotations.conftest import assert_rotated
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_stopped import (
    AFTER_THE_CHANGE,
    Killed,
    assert_unchanged,
    interrupt,
)

MAILBOXES = "public.client_email_credentials"


@pytest.fixture
def lose_column(stores):
    """What is called gives the column another name; it has its own again when the test has ended."""
    yield lambda: rename("smtp_host", "host_of_smtp")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'host_of_smtp'",
            [MAILBOXES],
        )
        is_renamed = cursor.fetchone()
    if is_renamed:
        rename("host_of_smtp", "smtp_host")


def rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {MAILBOXES} RENAME COLUMN {old} TO {new}")


def test_one_that_was_killed_right_after_aws_kept_the_password_says_why_it_ends(
    role_in, lose_column, monkeypatch
):
    """Before, it was an AttributeError: nothing was read yet of what the end has to tidy up."""
    role = role_in(Phase.DUAL_READ)

    def keep_and_die(*args, **options):
        keep_password(*args, **options)
        raise Killed

    keep_password = PendingSecret.keep_password
    with monkeypatch.context() as patched:
        patched.setattr(PendingSecret, "keep_password", keep_and_die)
        with pytest.raises(Killed):
            role.rotate()
    begun = Rotation.objects.find_unfinished(role.client_id)
    assert (begun.step, bool(begun.version_id)) == (RotationStep.BEGUN, True)
    lose_column()

    ended = go_on(role.client_id)

    assert ended.outcome == RotationOutcome.REFUSED
    assert f"{MAILBOXES}.smtp_host" in str(ended.message)
    rename("host_of_smtp", "smtp_host")
    assert role.stages() == {"AWSCURRENT"}
    assert_unchanged(role)


def test_one_that_had_not_begun_is_refused_and_one_that_was_interrupted_waits_until_it_is_back(
    role_in, lose_column
):
    role = role_in(Phase.DUAL_READ)
    lose_column()

    rotation = role.rotate()

    assert rotation.outcome == RotationOutcome.REFUSED
    assert f"{MAILBOXES}.smtp_host" in str(rotation.message)
    rename("host_of_smtp", "smtp_host")
    assert go_on(role.client_id) is None  # no worker makes it later
    assert_unchanged(role)
    interrupt(role, AFTER_THE_CHANGE)
    lose_column()

    waiting = go_on(role.client_id)

    assert waiting.outcome == ""
    assert f"{MAILBOXES}.smtp_host" in str(waiting.message)
    rename("host_of_smtp", "smtp_host")
    assert_rotated(go_on(role.client_id))
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())
