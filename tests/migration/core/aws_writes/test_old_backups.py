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
from tests.factories import make_full_client, update
from tests.migration.core.aws_writes.backups import drop_backup, restore_backup, take_backup
from tests.migration.moves.clients import (
    LINE,
    NAME,
    advance,
    enter_phase,
    is_pending,
    password,
    phase_of,
    write_password,
)
from tests.nova_credentials.in_phases import bring

OLDER, NEWER = "example-password-1", "example-newer"
# The phase in the backup, and the phase that the client had reached when the backup was restored.
Pair = tuple[Phase, Phase]
ALL = {
    (then, now)
    for then, now in combinations_with_replacement(LINE, 2)
    if now != LINE[0] and then != LINE[-1]
}
OFTEN = {
    (Phase.POSTGRES, Phase.DUAL_WRITE),
    (Phase.DUAL_WRITE, Phase.AWS),
    (Phase.DUAL_READ, Phase.DUAL_READ),
    (Phase.AWS, Phase.PURGED),
}


@pytest.fixture
def go_back(stores):
    """Gives the clients, by slug, after the backup was restored.

    Each is in `then`, its value is changed and pushed, and it goes on to `now` before that.
    """

    def go(pairs: dict[str, Pair]) -> dict[str, int]:
        pks = {slug: make_full_client(slug) for slug in pairs}
        for slug, (then, _now) in pairs.items():
            bring(pks[slug], then)
        take_backup()
        for slug, (then, now) in pairs.items():
            if then == Phase.POSTGRES:
                enter_phase(pks[slug], Phase.DUAL_WRITE)
            write_password(pks[slug], NEWER)
            (pushed,) = push(client_ids=[pks[slug]])
            assert pushed.outcome == Outcome.UPDATED
            advance(pks[slug], now)
        restore_backup()
        for slug, (then, _now) in pairs.items():
            assert (phase_of(pks[slug]), password(pks[slug])) == (then, OLDER)
        return pks

    yield go
    drop_backup()


def in_aws(sm, slug: str = "idom", **stage: str) -> str:
    answer = sm.sm.get_secret_value(SecretId=f"nova/clients/{slug}", **stage)
    return json.loads(answer["SecretString"])["database"]["password"]


def nova_writes_another_field(pk: int) -> None:
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_host="new-host.example")


@pytest.mark.parametrize("pairs", [OFTEN, pytest.param(ALL - OFTEN, marks=pytest.mark.nightly)])
def test_what_is_newer_in_aws_is_shown_never_overwritten_and_can_be_copied_back(sm, go_back, pairs):
    pks = go_back({"-".join(pair).replace("_", "-"): pair for pair in pairs})
    compared = compare(client_ids=[*pks.values()])
    for pk in pks.values():
        assert [(each["path"], each["kind"]) for each in compared[pk].mismatches] == [
            ("database.password", "different")
        ]
        nova_writes_another_field(pk)

    tasks.push_pending()
    results = {result.client_id: result for result in push(client_ids=[*pks.values()])}

    assert not all_clients().push_due().exists()
    for slug, pk in pks.items():
        pushed = results[pk]
        assert in_aws(sm, slug) == NEWER
        assert pushed.message == WRITTEN_SINCE_BACKUP(name=f"nova/clients/{slug}")
        assert (pushed.outcome, pushed.error_class, pushed.refused) == (
            Outcome.FAILED,
            "conflict",
            True,
        )
        assert pushed.comparison.status == "mismatch"

        copy_to_postgres(client_id=pk)

        assert password(pk) == in_aws(sm, slug) == NEWER
        assert in_aws(sm, slug, VersionStage=REPLACED_STAGE) == OLDER
        write_password(pk, "example-newest")
        assert push(client_ids=[pk])[0].outcome == Outcome.UPDATED


def test_a_save_a_copy_to_aws_and_moves_back_keep_the_newer_value(sm, go_back):
    in_postgres, in_phase_aws = (Phase.POSTGRES, Phase.AWS), (Phase.AWS, Phase.AWS)
    back = {"read": (Phase.DUAL_READ, Phase.AWS), "written": (Phase.DUAL_WRITE, Phase.AWS)}
    pks = go_back(
        back
        | {"in-postgres": in_postgres, "in-aws": in_phase_aws, "pending": in_phase_aws}
        | {"agreed": in_phase_aws}
    )

    # A form shows the older values.
    with pytest.raises(SaveRefusedError) as refusal:
        save_host(pks["in-aws"], "new-host.example")
    why = WRITTEN_SINCE_BACKUP(name="nova/clients/in-aws")
    assert refusal.value.message == NOTHING_SAVED(error=why)
    assert in_aws(sm, "in-aws") == NEWER

    # A copy to AWS keeps it there.
    for slug in ("in-postgres", "in-aws"):
        nova_writes_another_field(pks[slug])
        copy_to_aws(client_id=pks[slug])
        assert in_aws(sm, slug) == OLDER
        assert in_aws(sm, slug, VersionStage=REPLACED_STAGE) == NEWER

    # A rollback brings it to PostgreSQL.
    nova_writes_another_field(pks["pending"])
    for slug in ("pending", "agreed"):
        moved = move(client_id=pks[slug], new=Phase.DUAL_READ)
        assert moved.message.key == COPIED_TO_POSTGRES.key
        assert password(pks[slug]) == in_aws(sm, slug) == NEWER
    assert in_aws(sm, "pending", VersionStage=REPLACED_STAGE) == OLDER

    # Moves before the cutover leave AWS as it is.
    for slug, (then, _now) in back.items():
        move(client_id=pks[slug], new=LINE[LINE.index(then) - 1])
        assert in_aws(sm, slug) == NEWER
        assert PhaseChange.objects.first().old == then


@transaction.atomic
def save_host(pk: int, host: str) -> None:
    Client.objects.lock_rows(pk)
    saving = AdminSave(pk)
    row = DatabaseCredential.objects.get(client_id=pk)
    row.db_host = host
    row.save()
    saving.write_or_push_to_aws(warn=lambda _: None)


def test_a_purged_client_is_restored_from_the_newer_value(idom, sm):
    enter_phase(idom, Phase.PURGED)
    take_backup()
    document = json.loads(sm.get_value(NAME).text)
    document["database"]["password"] = NEWER
    sm.put_value(NAME, json.dumps(document))
    restore_backup()

    move(client_id=idom, new=Phase.AWS)

    assert password(idom) == NEWER
    drop_backup()


def test_a_push_that_was_killed_before_it_was_recorded_is_done_again(idom, sm, monkeypatch):
    """AWS has a version that no `Secret` names here too: it was planned, so it is no newer one."""
    enter_phase(idom, Phase.DUAL_WRITE)
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
