"""The same database restored from an old backup: AWS is ahead of the tables, and nothing newer in AWS is lost."""

import json
from itertools import combinations_with_replacement

import pytest
from django.db import transaction

from credentials.models import Client, DatabaseCredential
from migration import tasks
from migration.core.clients import all_clients
from migration.core.sentences import WRITTEN_SINCE_BACKUP
from migration.models import PhaseChange, PlannedVersion, Secret
from migration.moves.moves import COPIED_TO_POSTGRES, move
from migration.pushes import pushes
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.resolutions import copy_to_aws, copy_to_postgres
from migration.pushes.saves import NOTHING_SAVED, AdminSave, SaveRefusedError
from migration.pushes.secret_writer import REPLACED_STAGE
from migration.runs.items import Outcome
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.core.aws_writes.backups import drop_backup, restore_backup, take_backup
from tests.migration.moves.clients import (
    LINE,
    NAME,
    advance,
    is_pending,
    password,
    phase_of,
    write_password,
)
from tests.nova_credentials.in_phases import bring

OLDER, NEWER = "example-password-1", "example-newer"
# The phase in the backup, and the phase that the client had reached when the backup was restored.
OFTEN = {
    *((then, Phase.PURGED) for then in LINE[:-1]),
    (Phase.POSTGRES, Phase.DUAL_WRITE),
    (Phase.DUAL_READ, Phase.DUAL_READ),
    (Phase.DUAL_WRITE, Phase.AWS),
    (Phase.AWS, Phase.AWS),
}
times = pytest.mark.parametrize(
    ("then", "now"),
    [
        pytest.param(then, now, marks=() if (then, now) in OFTEN else pytest.mark.nightly)
        for then, now in combinations_with_replacement(LINE, 2)
        if now != LINE[0] and then != LINE[-1]
    ],
)


@pytest.fixture
def go_back(idom):
    """The client is in `then`, its value is changed and pushed, it goes on to `now`, and the backup is restored."""

    def go(then: Phase, now: Phase) -> None:
        bring(idom, then)
        take_backup()
        if then == Phase.POSTGRES:
            advance(idom, Phase.DUAL_WRITE)
        write_password(idom, NEWER)
        (pushed,) = push(client_ids=[idom])
        assert pushed.outcome == Outcome.UPDATED
        advance(idom, now)
        restore_backup()
        assert phase_of(idom) == then
        assert password(idom) == OLDER

    yield go
    drop_backup()


def in_aws(sm, **stage: str) -> str:
    answer = sm.sm.get_secret_value(SecretId=NAME, **stage)
    return json.loads(answer["SecretString"])["database"]["password"]


def nova_writes_another_field(pk: int) -> None:
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_host="new-host.example")


@times
def test_what_is_newer_in_aws_is_shown_never_overwritten_and_can_be_copied_back(
    idom, sm, go_back, then, now
):
    go_back(then, now)
    shown = compare(client_ids=[idom])[idom]
    assert [(each["path"], each["kind"]) for each in shown.mismatches] == [
        ("database.password", "different")
    ]
    nova_writes_another_field(idom)

    tasks.push_pending()
    (pushed,) = push(client_ids=[idom])

    assert in_aws(sm) == NEWER
    assert pushed.message == WRITTEN_SINCE_BACKUP(name=NAME)
    assert (pushed.outcome, pushed.error_class, pushed.refused) == (
        Outcome.FAILED,
        "conflict",
        True,
    )
    assert pushed.comparison.status == "mismatch"
    assert not all_clients().push_due().exists()

    copy_to_postgres(client_id=idom)

    assert password(idom) == in_aws(sm) == NEWER
    assert in_aws(sm, VersionStage=REPLACED_STAGE) == OLDER
    write_password(idom, "example-newest")
    assert push(client_ids=[idom])[0].outcome == Outcome.UPDATED


@pytest.mark.parametrize("then", [Phase.POSTGRES, Phase.AWS])
def test_copied_to_aws_what_was_newer_is_kept_there(idom, sm, go_back, then):
    go_back(then, Phase.PURGED)
    nova_writes_another_field(idom)

    copy_to_aws(client_id=idom)

    assert in_aws(sm) == OLDER
    assert in_aws(sm, VersionStage=REPLACED_STAGE) == NEWER


@pytest.mark.parametrize(("now", "pending"), [(Phase.PURGED, False), (Phase.AWS, True)])
def test_a_rollback_brings_the_newer_value_to_postgres(idom, sm, go_back, now, pending):
    go_back(Phase.AWS, now)
    if pending:
        nova_writes_another_field(idom)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message.key == COPIED_TO_POSTGRES.key
    assert password(idom) == in_aws(sm) == NEWER
    if pending:
        assert in_aws(sm, VersionStage=REPLACED_STAGE) == OLDER


def test_a_save_in_a_form_that_shows_older_values_is_refused(idom, sm, go_back):
    go_back(Phase.AWS, Phase.PURGED)

    with pytest.raises(SaveRefusedError) as refusal:
        save_host(idom, "new-host.example")

    assert refusal.value.message == NOTHING_SAVED(error=WRITTEN_SINCE_BACKUP(name=NAME))
    assert in_aws(sm) == NEWER


@transaction.atomic
def save_host(pk: int, host: str) -> None:
    Client.objects.lock_rows(pk)
    saving = AdminSave(pk)
    row = DatabaseCredential.objects.get(client_id=pk)
    row.db_host = host
    row.save()
    saving.write_or_push_to_aws(warn=lambda _: None)


def test_a_purged_client_is_restored_from_the_newer_value(idom, sm):
    advance(idom, Phase.PURGED)
    take_backup()
    document = json.loads(sm.get_value(NAME).text)
    document["database"]["password"] = NEWER
    sm.put_value(NAME, json.dumps(document))
    restore_backup()

    move(client_id=idom, new=Phase.AWS)

    assert password(idom) == NEWER
    drop_backup()


@pytest.mark.parametrize("then", [Phase.DUAL_READ, Phase.DUAL_WRITE])
def test_moves_back_leave_aws_as_it_is(idom, sm, go_back, then):
    go_back(then, Phase.AWS)

    move(client_id=idom, new=LINE[LINE.index(then) - 1])

    assert in_aws(sm) == NEWER
    assert PhaseChange.objects.first().old == then


def test_a_push_that_was_killed_before_it_was_recorded_is_done_again(idom, sm, monkeypatch):
    """AWS has a version that no `Secret` names here too: it was planned, so it is no newer one."""
    advance(idom, Phase.DUAL_WRITE)
    write_password(idom, "example-2")
    with monkeypatch.context() as patch:
        patch.setattr(pushes, "_record_results", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            push(client_ids=[idom])
    assert Secret.objects.get().version_id != sm.get_value(NAME).version_id
    write_password(idom, "example-3")

    assert push(client_ids=[idom])[0].outcome == Outcome.UPDATED
    assert in_aws(sm) == "example-3"


def test_a_killed_push_is_done_again_even_if_its_secret_was_new(idom, sm, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pushes, "_record_results", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            push(client_ids=[idom])
    assert not Secret.objects.exists()
    write_password(idom, "example-3")

    assert push(client_ids=[idom])[0].outcome == Outcome.UPDATED
    assert in_aws(sm) == "example-3"


def test_a_rehearsal_plans_nothing(idom):
    push(client_ids=[idom], dry_run=True)

    assert not PlannedVersion.objects.exists()


def test_plans_are_forgotten_after_a_month(idom):
    push(client_ids=[idom])
    PlannedVersion.objects.update(planned_at="2020-01-01T00:00:00Z")

    tasks.sweep()

    assert not PlannedVersion.objects.exists()
    write_password(idom, "example-2")
    assert push(client_ids=[idom])[0].outcome == Outcome.UPDATED
    assert Client.objects.count() == 1
    assert is_pending(idom) is False
