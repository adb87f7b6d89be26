"""Every write of every operation is refused on a copy and while writes are stopped; what writes nothing goes on."""

import ast
import json
from itertools import pairwise, product
from pathlib import Path

import pytest
from django.db import transaction
from django.urls import reverse

from credentials.models import Client, DatabaseCredential
from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import WritesRefusedError
from migration.core.snapshots import read_snapshot
from migration.models import ClientMigration, PhaseChange
from migration.moves.gates import evaluate_gate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.resolutions import NotResolved, copy_to_aws, copy_to_postgres
from migration.pushes.saves import NOTHING_SAVED, AdminSave, SaveRefusedError
from migration.runs.items import Outcome
from migration.secrets.deletions import KEPT_AFTER_ERROR
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.moves.clients import (
    LINE,
    NAME,
    advance,
    change_in_aws,
    codes,
    enter_phase,
    is_pending,
    password,
    phase_of,
    write_password,
)

ROOT = Path(__file__).resolve().parents[4]
REFUSED = {"database_is_copy", "writes_stopped"}


def test_a_push_sends_nothing_and_stays_pending(stores, idom, refuse):
    advance(idom, Phase.DUAL_WRITE)
    write_password(idom, "example-new")
    refuse()
    before = count_writes(stores)

    (pushed,) = push(client_ids=[idom])

    assert (pushed.outcome, pushed.postponed, pushed.refused) == (Outcome.FAILED, True, False)
    assert pushed.message.key in REFUSED
    assert is_pending(idom)
    assert count_writes(stores) == before
    assert ClientMigration.objects.get(pk=idom).refused_revision is None


def test_a_copy_reads_and_compares(stores, idom, refuse):
    advance(idom, Phase.DUAL_WRITE)
    refuse()

    assert compare(client_ids=[idom])[idom].status == "match"
    (pushed,) = push(client_ids=[idom])
    assert pushed.outcome == Outcome.UNCHANGED


WRITES = {
    "create": lambda sm: sm.create_secret("nova/clients/new", "{}", slug="new"),
    "put": lambda sm: sm.put_value(NAME, "{}"),
    "put aside": lambda sm: sm.put_aside(NAME, "{}", stage="NOVA_REPLACED"),
    "tag": lambda sm: sm.tag_secret(NAME, slug="idom"),
    "delete": lambda sm: sm.schedule_deletion(NAME),
    "restore": lambda sm: sm.restore_secret(NAME),
    "a call that nobody knows yet": lambda sm: sm.sm.update_secret_version_stage(
        SecretId=NAME, VersionStage="X", MoveToVersionId="1" * 32
    ),
}


def test_no_call_that_writes_is_sent(stores, idom, refuse):
    advance(idom, Phase.DUAL_WRITE)
    refuse()
    before = count_writes(stores)

    sent = []
    for name, interactive in product(WRITES, (False, True)):
        try:
            WRITES[name](secrets_manager(interactive=interactive))
            sent.append((name, interactive))
        except WritesRefusedError:
            pass

    assert sent == []
    assert count_writes(stores) == before


def test_nothing_else_of_the_site_makes_a_client_of_secrets_manager():
    """So that no write gets around the limiter, which asks before each attempt."""
    makers, made = [], {"SecretsManager", "ClientSecretsManager", "Session", "client"}
    for package in ("nova_admin", "migration", "credentials"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if not any(f"{name}(" in text for name in made):
                continue
            calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
            names = {getattr(call.func, "id", getattr(call.func, "attr", "")) for call in calls}
            if names & made:
                makers.append(path.relative_to(ROOT).as_posix())
    assert [name for name in makers if "embedded" not in name] == ["migration/core/aws_store.py"]


def test_a_save_after_the_cutover_is_refused(stores, idom, refuse):
    enter_phase(idom, Phase.AWS)
    refuse()

    with pytest.raises(SaveRefusedError) as refusal:
        save_password(idom, "example-new")

    assert refusal.value.message.key == NOTHING_SAVED.key
    assert password(idom) != "example-new"


@transaction.atomic
def save_password(pk: int, value: str) -> None:
    Client.objects.lock_rows(pk)
    saving = AdminSave(pk)
    row = DatabaseCredential.objects.get(client_id=pk)
    row.db_password = value
    row.save()
    saving.write_or_push_to_aws(warn=lambda _: None)


def test_the_gate_names_it_once_and_probes_nothing(stores, idom, refuse):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    refuse()
    before = count_writes(stores)

    shut = [check for check in evaluate_gate(read_snapshot(idom), Phase.AWS) if not check.passed]

    assert len(shut) == 1
    assert shut[0].code in REFUSED
    assert count_writes(stores) == before


def test_no_client_is_moved_forward(stores, refuse):
    pks = {}
    for old, new in pairwise(LINE):
        pks[old, new] = make_full_client(old.replace("_", "-"))
        enter_phase(pks[old, new], old)
    compare(client_ids=list(pks.values()))
    refuse()

    assert [move for move, pk in pks.items() if not REFUSED & set(codes(pk, move[1]))] == []


@pytest.mark.parametrize(("new", "old"), list(pairwise(LINE)))
def test_moves_back_that_write_nothing_are_made(stores, idom, stop, old, new):
    advance(idom, old)
    stop()
    before = count_writes(stores)

    move(client_id=idom, new=new)

    assert phase_of(idom) == new
    assert count_writes(stores) == before


def test_a_rollback_that_would_keep_rows_in_aws_is_refused(stores, idom, sm, refuse):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    write_password(idom, "example-novas")
    refuse()

    assert codes(idom, Phase.DUAL_READ) == ["replaced_not_kept"]
    assert password(idom) == "example-novas"


def test_a_secret_is_not_deleted_and_the_move_says_so(stores, idom, sm, refuse):
    advance(idom, Phase.DUAL_WRITE)
    refuse()

    moved = move(client_id=idom, new=Phase.POSTGRES, schedule_deletion=True)

    assert moved.message.key == KEPT_AFTER_ERROR.key
    assert sm.describe_secret(NAME).deleted_at is None
    assert "kept_after_error" in PhaseChange.objects.first().note.codes


def test_a_mismatch_is_not_copied_where_that_would_write(stores, idom, sm, refuse):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    write_password(idom, "example-novas")
    refuse()

    for copy in (copy_to_aws, copy_to_postgres):
        with pytest.raises(NotResolved):
            copy(client_id=idom)
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"
    assert password(idom) == "example-novas"


def test_every_page_says_it(client, become_copy):
    client.force_login(make_user("viewer", *VIEW))
    become_copy()

    for name in ("index", "credentials_client_changelist", "migration_run_aws_writes"):
        shown = client.get(reverse(f"admin:{name}")).content.decode()
        assert "nothing is written to AWS" in shown, name
