"""AWSPENDING that an interrupted write left is taken off, unless the version under it may be the one that counts."""

import json

import pytest

from migration.core import aws_store
from migration.core.aws_writes import WRITES_STOPPED, start_aws_writes, stop_aws_writes
from migration.core.keys import load_version_keys
from migration.core.leases import LeaseKind
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.models import AuditEvent
from migration.pushes.resolutions import TRY_AGAIN_LATER, NotResolved
from migration.secrets import versions
from migration.secrets.versions import (
    PENDING_IS_FOREIGN,
    PENDING_IS_GONE,
    PENDING_MAY_BE_NEEDED,
    take_unneeded_pending_off,
)
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import NAME, enter_phase


def leave_pending(*, ours: bool = True, **changes: str) -> str:
    """Leaves a version as AWSPENDING, as a rotation does that is killed; returns its id."""
    sm = aws_store.secrets_manager()
    document = json.loads(sm.get_value(NAME).text)
    document["database"] |= changes
    text = json.dumps(document)
    token = load_version_keys().new_id(NAME, replaced="x", text=text) if ours else "1" * 32
    sm.sm.put_secret_value(
        SecretId=NAME, SecretString=text, ClientRequestToken=token, VersionStages=["AWSPENDING"]
    )
    return token


def is_pending() -> bool:
    return aws_store.secrets_manager().get_stage(NAME, "AWSPENDING") is not None


def refusal(pk: int, version: str) -> str:
    with pytest.raises(NotResolved) as refused:
        take_unneeded_pending_off(client_id=pk, name=NAME, version_id=version)
    return refused.value.message.key


@pytest.fixture
def pk(stores, monkeypatch) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


@pytest.fixture
def answer(monkeypatch):
    """Answers each login test so; returns the passwords that were tried."""

    def answer(outcome: LoginOutcome) -> list[str]:
        tried: list[str] = []

        def try_login(_kind, values):
            tried.append(values["password"])
            return LoginResult(outcome)

        monkeypatch.setattr(versions, "try_login", try_login)
        return tried

    return answer


def test_a_version_of_ours_loses_the_stage_once_the_current_login_is_proven(pk, answer):
    tried = answer(LoginOutcome.WORKS)
    version = leave_pending(password="example-never-set")

    done = take_unneeded_pending_off(client_id=pk, name=NAME, version_id=version)

    assert not is_pending()
    assert tried == ["example-password-1"]
    assert str(AuditEvent.objects.filter(code="version").get().message) == str(done)
    tested = str(AuditEvent.objects.get(code="login_test").message)
    assert tested.endswith(f"… of {NAME}: the database login: the login works.")
    assert refusal(pk, version) == PENDING_IS_GONE.key


def test_a_version_that_differs_in_no_login_needs_no_proof(pk, answer):
    tried = answer(LoginOutcome.REFUSED)
    take_unneeded_pending_off(client_id=pk, name=NAME, version_id=leave_pending())
    assert not is_pending()
    current = aws_store.secrets_manager().get_value(NAME).version_id
    aws_store.secrets_manager().sm.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSPENDING", MoveToVersionId=current
    )
    take_unneeded_pending_off(client_id=pk, name=NAME, version_id=current)
    assert (is_pending(), tried) == (False, [])


def test_a_stage_that_moves_on_while_the_login_is_tried_is_somebody_elses(pk, monkeypatch):
    version, moved = leave_pending(password="example-never-set"), []

    def try_login(_kind, _values):
        moved.append(leave_pending(ours=False, password="example-theirs"))
        return LoginResult(LoginOutcome.WORKS)

    monkeypatch.setattr(versions, "try_login", try_login)

    assert refusal(pk, version) == PENDING_IS_GONE.key
    assert len(moved) == 1
    assert is_pending()
    assert not AuditEvent.objects.filter(code="version").exists()


@pytest.mark.parametrize("outcome", [LoginOutcome.REFUSED, LoginOutcome.UNREACHABLE])
def test_the_stage_stays_where_the_current_login_is_not_proven(pk, answer, outcome):
    answer(outcome)
    version = leave_pending(password="example-perhaps-set")

    assert refusal(pk, version) == PENDING_MAY_BE_NEEDED.key
    assert is_pending()


def test_what_is_somebody_elses_or_under_way_or_gone_stays(pk, answer, monkeypatch):
    answer(LoginOutcome.WORKS)
    theirs = leave_pending(ours=False, password="example-theirs")
    assert refusal(pk, theirs) == PENDING_IS_FOREIGN.key
    ours = leave_pending(password="example-ours")
    assert refusal(pk, theirs) == PENDING_IS_GONE.key
    stop_aws_writes(reason="INC-9")
    assert refusal(pk, ours) == WRITES_STOPPED.key
    start_aws_writes()
    monkeypatch.setattr(versions, "LOCK_WAIT_SECONDS", 0.1)
    with held_elsewhere(LeaseKind.CLIENT, pk):
        assert refusal(pk, ours) == TRY_AGAIN_LATER.key
    assert is_pending()
