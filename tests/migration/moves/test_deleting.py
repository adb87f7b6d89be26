"""The deletion of a secret that is asked for on the way back to PostgreSQL: when, whose, and how it is undone."""

import json
import signal
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.leases import LeaseKind, list_held
from migration.models import ClientMigration, PhaseChange
from migration.moves import moves
from migration.moves.moves import TO_BE_DELETED, move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.acts import ACTS
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.deletions import (
    DELETED_ALREADY,
    DELETED_ON,
    KEPT_MOVED_ON,
    KEPT_NOT_OURS,
    NO_SECRET,
)
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase, StalePhase
from nova_credentials.reader.routing import Reader
from tests.checkout import manage
from tests.factories import VIEW, make_full_client, make_user, nova_connected, nova_uri
from tests.migration.acts import move_page, press
from tests.migration.moves.clients import (
    NAME,
    advance,
    document,
    enter_phase,
    is_pending,
    phase_of,
    write_password,
)
from tests.migration.moves.runs.moved import make_clients, move_all, once, outcomes, start
from tests.migration.pushes.pushed import make_anew

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    return pk


@pytest.fixture
def reader() -> Reader:
    reader = Reader(nova_uri(), cache_seconds=0)
    yield reader
    reader.close()


def step_back(pk: int, **options):
    return move(client_id=pk, new=Phase.POSTGRES, schedule_deletion=True, **options)


def is_scheduled(sm, name: str = NAME) -> bool:
    return sm.describe_secret(name).deleted_at is not None


def test_it_is_scheduled_with_a_recovery_window_and_kept_with_the_move(idom, sm, reader):
    before = reader.get_primary_credentials("idom")

    moved = step_back(idom, reason="INC-7")

    deleted_at = sm.describe_secret(NAME).deleted_at
    assert deleted_at - timezone.now() > timedelta(days=29)
    assert f"{NAME} will be deleted on {deleted_at:%-d %b %Y}" in str(moved.message)
    change = PhaseChange.objects.first()
    assert change.reason == "INC-7"
    assert change.note.parts == (TO_BE_DELETED(), moved.message)
    assert reader.get_primary_credentials("idom") == before


def test_not_asked_for_the_secret_stays(idom, sm):
    move(client_id=idom, new=Phase.POSTGRES)

    assert not is_scheduled(sm)
    assert PhaseChange.objects.first().note is None


def test_it_is_scheduled_only_once_the_move_has_committed(idom, monkeypatch):
    phases, schedule = [], SecretsManager.schedule_deletion

    def spied(self, *arguments, **options):
        with nova_connected() as other:
            phases.extend(
                other.execute("SELECT phase FROM nova_admin.migration_clientmigration").fetchone()
            )
        return schedule(self, *arguments, **options)

    monkeypatch.setattr(SecretsManager, "schedule_deletion", spied)
    step_back(idom)

    assert phases == ["postgres"]


def test_a_move_that_does_not_take_place_deletes_nothing(idom, sm):
    with pytest.raises(StalePhase):
        step_back(idom, seen=Phase.DUAL_READ)

    assert not is_scheduled(sm)


@pytest.mark.parametrize("changed", [False, True])
def test_a_later_migration_takes_it_back_with_the_present_rows(idom, sm, reader, changed):
    step_back(idom)
    if changed:
        write_password(idom, "example-since")

    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    engine.finish_inline(run)

    assert run.items.get().outcome == Outcome.RESTORED
    assert json.loads(sm.get_value(NAME).text) == document(idom)
    advance(idom, Phase.AWS)
    assert reader.get_credential("idom", "database").db_password == (
        "example-since" if changed else "example-password-1"
    )


def test_who_moves_it_on_without_a_push_finds_one_pending(idom, sm):
    """As a run does whose push came before the step back."""
    step_back(idom)
    ClientMigration.objects.change_phase([idom], Phase.POSTGRES, Phase.DUAL_WRITE)

    assert is_pending(idom)
    (pushed,) = push(client_ids=[idom])
    assert pushed.outcome == Outcome.RESTORED
    assert not is_scheduled(sm)


def test_a_secret_of_a_client_that_was_moved_on_meanwhile_stays(idom, sm, monkeypatch):
    describe = SecretsManager.describe_secret

    def meanwhile(self, name):
        ClientMigration.objects.filter(pk=idom).update(phase=Phase.DUAL_WRITE)
        return describe(self, name)

    monkeypatch.setattr(SecretsManager, "describe_secret", meanwhile)

    assert step_back(idom).message == KEPT_MOVED_ON(name=NAME)
    monkeypatch.undo()
    assert not is_scheduled(sm)


def test_a_secret_that_is_not_ours_is_left(idom, sm):
    make_anew(sm, NAME)

    assert step_back(idom).message == KEPT_NOT_OURS(name=NAME)
    assert phase_of(idom) == Phase.POSTGRES
    assert not is_scheduled(sm)


def test_one_that_was_scheduled_already_keeps_its_day(idom, sm):
    at = sm.schedule_deletion(NAME, days=7)

    assert step_back(idom).message == DELETED_ALREADY(name=NAME)
    assert sm.describe_secret(NAME).deleted_at == at


def test_a_failure_is_told_and_the_move_stands(idom, sm, settings):
    reachable, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"

    moved = step_back(idom)

    assert "was not changed: DescribeSecret failed" in str(moved.message)
    assert PhaseChange.objects.first().note.parts[-1] == moved.message
    assert phase_of(idom) == Phase.POSTGRES
    settings.AWS_ENDPOINT_URL = reachable
    assert not is_scheduled(sm)


def test_a_secret_that_is_gone_is_nothing_to_delete(idom, sm):
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)

    assert step_back(idom).message == NO_SECRET()


def test_every_secret_of_the_client_is_scheduled_where_it_has_one_a_service(sm, settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")
    enter_phase(pk, Phase.DUAL_WRITE)

    step_back(pk)

    assert is_scheduled(sm, f"{NAME}/database")
    assert is_scheduled(sm, f"{NAME}/aws")
    with pytest.raises(SecretsManagerError, match="ResourceNotFound"):
        sm.describe_secret(f"{NAME}/email")
    assert push(client_ids=[pk])[0].outcome == Outcome.RESTORED


def test_by_command(idom, sm, capsys):
    call_command(
        "move_clients",
        "postgres",
        "idom",
        "--schedule-deletion",
        "--reason",
        "x",
        "--format",
        "json",
    )

    (result,) = json.loads(capsys.readouterr().out)
    assert "will be deleted on" in result["reasons"][0]
    assert result["codes"] == [DELETED_ON.key]
    assert is_scheduled(sm)


@pytest.mark.parametrize("ticked", [False, True])
def test_by_a_checkbox_that_stands_only_on_the_page_of_the_step_back(idom, sm, client, ticked):
    client.force_login(make_user("operator", *VIEW, "migration.move_client"))
    asking = {code for code, act in ACTS.items() if "schedule_deletion" in act.form.base_fields}
    assert asking == {"back_to_postgres"}

    ticks = {"schedule_deletion": "on"} if ticked else {}
    press(client, move_page(Phase.DUAL_WRITE, Phase.POSTGRES, idom), **ticks)

    assert phase_of(idom) == Phase.POSTGRES
    assert is_scheduled(sm) == ticked


def test_no_other_move_deletes_anything(idom, sm, client):
    client.force_login(make_user("operator", *VIEW, "migration.move_client"))
    compare(client_ids=[idom])

    for old, new in ((Phase.DUAL_WRITE, Phase.DUAL_READ), (Phase.DUAL_READ, Phase.DUAL_WRITE)):
        press(client, move_page(old, new, idom), schedule_deletion="on")
        assert phase_of(idom) == new

    assert not is_scheduled(sm)


def test_nor_does_a_run_of_another_move_whoever_stored_that_it_should(idom, sm):
    advance(idom, Phase.DUAL_READ)

    move_all(Phase.DUAL_READ, Phase.DUAL_WRITE, schedule_deletion=True)

    assert phase_of(idom) == Phase.DUAL_WRITE
    assert not is_pending(idom)
    assert not is_scheduled(sm)


def test_a_run_has_deleted_for_one_client_after_the_other_until_it_is_paused(monkeypatch):
    make_clients(3, Phase.DUAL_WRITE)
    run = start(Phase.DUAL_WRITE, Phase.POSTGRES, schedule_deletion=True)

    def pause() -> None:
        assert len(list_held(LeaseKind.CLIENT, 0, 2**31)) == 1
        Run.objects.get(pk=run.pk).pause(by=None)

    schedules = once(pause, moves.schedule_secret_deletion)
    monkeypatch.setattr(moves, "schedule_secret_deletion", schedules)

    engine.process_batch_if_running(run.pk, 0)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": "", "client-2": ""}
    assert PhaseChange.objects.filter(run=run).count() == 1


DIE = "lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("step", "scheduled"),
    [
        (f"moves.schedule_secret_deletion = {DIE}", False),
        (f"deletions.PhaseChange.save = {DIE}", True),
        (f"moves.MoveBatch.commit = {DIE}", False),
    ],
)
def test_killed_half_way_nothing_is_lost_and_it_can_be_gone_on_from(
    idom, sm, aws, reader, step, scheduled
):
    before = reader.get_primary_credentials("idom")
    uri = nova_uri()
    code = (
        "import os, signal; from migration.moves import moves; from migration.secrets import deletions;"
        f" from nova_credentials.phases import Phase; {step};"
        f" moves.move(client_id={idom}, new=Phase.POSTGRES, schedule_deletion=True)"
    )

    ended = manage(
        "shell", "-c", code, DATABASE_URL=uri, AWS_ENDPOINT_URL_SECRETS_MANAGER=aws.endpoint
    )

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert is_scheduled(sm) == scheduled
    assert reader.get_primary_credentials("idom") == before
    moved = "commit" not in step
    assert phase_of(idom) == (Phase.POSTGRES if moved else Phase.DUAL_WRITE)
    if moved:
        assert TO_BE_DELETED.key in PhaseChange.objects.first().note.codes
    advance(idom, Phase.AWS)
    assert reader.get_primary_credentials("idom") == before
