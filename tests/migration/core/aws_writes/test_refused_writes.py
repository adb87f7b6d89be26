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


def make_in(phase: Phase, slug: str) -> int:
    pk = make_full_client(slug)
    enter_phase(pk, phase)
    return pk


def test_what_would_write_is_refused_and_leaves_both_stores_as_they_are(stores, idom, sm, refuse):
    """Each on a client of its own, in the phase in which it writes."""
    enter_phase(idom, Phase.AWS)
    pending, agreed = (make_in(Phase.DUAL_WRITE, slug) for slug in ("pending", "agreed"))
    ready, saved = make_in(Phase.DUAL_READ, "ready"), make_in(Phase.AWS, "saved")
    compare(client_ids=[ready])
    change_in_aws(sm, password="example-theirs")
    for pk in (pending, idom):
        write_password(pk, "example-novas")
    refuse()
    before = count_writes(stores)

    # A push sends nothing and stays pending.
    (pushed,) = push(client_ids=[pending])
    assert (pushed.outcome, pushed.postponed, pushed.refused) == (Outcome.FAILED, True, False)
    assert pushed.message.key in REFUSED
    assert is_pending(pending)
    assert ClientMigration.objects.get(pk=pending).refused_revision is None

    # What writes nothing goes on.
    assert compare(client_ids=[agreed])[agreed].status == "match"
    (pushed,) = push(client_ids=[agreed])
    assert pushed.outcome == Outcome.UNCHANGED

    # The gate names it once.
    shut = [check for check in evaluate_gate(read_snapshot(ready), Phase.AWS) if not check.passed]
    assert [check.code in REFUSED for check in shut] == [True]

    with pytest.raises(SaveRefusedError) as refusal:
        save_password(saved, "example-new")
    assert refusal.value.message.key == NOTHING_SAVED.key
    assert password(saved) != "example-new"

    # A rollback, or a copy either way, would keep in AWS what it replaces.
    assert codes(idom, Phase.DUAL_READ) == ["replaced_not_kept"]
    for copy in (copy_to_aws, copy_to_postgres):
        with pytest.raises(NotResolved):
            copy(client_id=idom)
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"
    assert password(idom) == "example-novas"

    # A move back leaves the secret, and says so.
    moved = move(client_id=agreed, new=Phase.POSTGRES, schedule_deletion=True)
    assert moved.message.key == KEPT_AFTER_ERROR.key
    assert sm.describe_secret("nova/clients/agreed").deleted_at is None
    assert "kept_after_error" in PhaseChange.objects.first().note.codes

    assert count_writes(stores) == before


@transaction.atomic
def save_password(pk: int, value: str) -> None:
    Client.objects.lock_rows(pk)
    saving = AdminSave(pk)
    row = DatabaseCredential.objects.get(client_id=pk)
    row.db_password = value
    row.save()
    saving.write_or_push_to_aws(warn=lambda _: None)


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
    enter_phase(idom, Phase.DUAL_WRITE)
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


def test_no_client_is_moved_forward(stores, refuse):
    pks = {}
    for old, new in pairwise(LINE):
        pks[old, new] = make_full_client(old.replace("_", "-"))
        enter_phase(pks[old, new], old)
    compare(client_ids=list(pks.values()))
    refuse()

    assert [move for move, pk in pks.items() if not REFUSED & set(codes(pk, move[1]))] == []


def test_moves_back_that_write_nothing_are_made(stores, stop):
    pks = {old: make_full_client(old.replace("_", "-")) for old in LINE[1:]}
    for old, pk in pks.items():
        enter_phase(pk, old)
    stop()
    before = count_writes(stores)

    for new, old in pairwise(LINE):
        move(client_id=pks[old], new=new)
        assert phase_of(pks[old]) == new

    assert count_writes(stores) == before


def test_every_page_says_it(client, become_copy):
    client.force_login(make_user("viewer", *VIEW))
    become_copy()

    for name in ("index", "credentials_client_changelist", "migration_run_aws_writes"):
        shown = client.get(reverse(f"admin:{name}")).content.decode()
        assert "nothing is written to AWS" in shown, name
