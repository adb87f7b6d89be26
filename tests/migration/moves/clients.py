"""A client in any phase, and what both stores hold of it."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db.models import F

from credentials.models import Client, DatabaseCredential
from migration.core import snapshots
from migration.logins.models import LoginStore
from migration.models import ClientMigration, LoginTest
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import update

NAME = "nova/clients/idom"
LINE = [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ, Phase.AWS, Phase.PURGED]


def advance(pk: int, new: Phase) -> None:
    """Takes a client to the phase, one step at a time, with the comparisons that the gates want."""
    for phase in LINE[LINE.index(phase_of(pk)) + 1 : LINE.index(new) + 1]:
        if phase not in (Phase.POSTGRES, Phase.DUAL_WRITE):
            compare(client_ids=[pk])
        move(client_id=pk, new=phase)


def enter_phase(pk: int, new: Phase) -> None:
    """Takes a client to a phase up to `aws` past the gates: pushed once, each change of its phase recorded.

    A purge takes place, as its move does it.
    """
    enter_phase_together([pk], Phase.AWS if new == Phase.PURGED else new)
    if new == Phase.PURGED:
        advance(pk, new)


def enter_phase_together(pks: list[int], new: Phase) -> None:
    assert new != Phase.PURGED, "a purge has to take place"
    if new != Phase.POSTGRES:
        for pushed in push(client_ids=pks):
            assert pushed.outcome == Outcome.CREATED, pushed.message
    for step in pairwise(LINE[: LINE.index(new) + 1]):
        assert ClientMigration.objects.change_phase(pks, *step) == set(pks)


def compare_apart(pk: int, times: int = 1) -> None:
    """Compares so many times, each so much later than the one before that all count for the streak."""
    for _ in range(times):
        ClientMigration.objects.filter(pk=pk).update(
            streak_counted_at=F("streak_counted_at") - timedelta(hours=1)
        )
        compare(client_ids=[pk])


def phase_of(pk: int) -> Phase:
    found = ClientMigration.objects.filter(pk=pk).first()
    return Phase(found.phase) if found else Phase.POSTGRES


def document(pk: int):
    return Client.objects.get(pk=pk).build_document()


def change_in_aws(sm: SecretsManager, secret: str = NAME, **changes: object) -> None:
    """As somebody would in the AWS console."""
    stored = json.loads(sm.get_value(secret).text)
    stored["database"] |= changes
    sm.put_value(secret, json.dumps(stored))


def password(pk: int) -> str:
    return DatabaseCredential.objects.get(client_id=pk).db_password


def write_password(pk: int, value: str) -> None:
    """As NOVA's own scripts do."""
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_password_encrypted=value)


def is_pending(pk: int) -> bool:
    return snapshots.read_snapshots([pk])[pk].push_pending


def refusal_of(pk: int, new: Phase) -> ShutGate:
    """The refusal of a move, which left the client where it was."""
    before = phase_of(pk)
    with pytest.raises(ShutGate) as refusal:
        move(client_id=pk, new=new)
    assert phase_of(pk) == before
    assert refusal.value.codes == [reason.key for reason in refusal.value.reasons]
    assert not any(check.passed for check in refusal.value.shut)
    return refusal.value


def codes(pk: int, new: Phase) -> list[str]:
    return refusal_of(pk, new).codes


NO_DOCUMENT = json.dumps({"client_name": "IDOM", "database": {"host": 5}})


def refuse_logins(pk: int) -> None:
    """Note that the newest test refused the database login and the mailbox, with each store's values."""
    client = Client.objects.get(pk=pk)
    rows = {"database": client.databases.get(), "email": client.emails.get()}
    LoginTest.objects.bulk_create(
        LoginTest(client_id=pk, kind=kind, credential_id=row.pk, store=store, outcome="refused")
        for kind, row in rows.items()
        for store in LoginStore
    )


def list_refused_logins(pk: int) -> set[tuple[str, str]]:
    """Return type and store of the logins that count as refused."""
    return set(LoginTest.objects.newest([pk]).values_list("kind", "store"))
