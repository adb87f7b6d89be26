"""A former version of a secret is restored as a new one and both stores agree, or nothing changed and it says why."""

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import DatabaseCredential, EmailCredential
from migration.core import aws_store
from migration.core.aws_writes import WRITES_STOPPED, start_aws_writes, stop_aws_writes
from migration.core.keys import make_fingerprint
from migration.core.leases import LeaseKind
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.logins.testing import LOGIN_TEST_EVENT
from migration.models import AuditEvent, ClientMigration, Comparison, KnownValue, Rate, Resolution
from migration.moves.moves import move
from migration.pushes import pushes
from migration.pushes.known_values import note_written_rows
from migration.pushes.resolutions import TRY_AGAIN_LATER, NotResolved, copy_to_postgres
from migration.secrets import versions
from migration.secrets.versions import (
    RESTORES_SOMETHING_ELSE,
    VERSION_CHANGES_NOTHING,
    VERSION_DIFFERS_FROM_ROWS,
    VERSION_GONE,
    VERSION_IS_CURRENT,
    VERSION_LOGIN_REFUSED,
    VERSION_LOGIN_UNPROVEN,
    VERSION_MIGRATE_FIRST,
    VERSION_ROWS_ARE_NEWER,
    VERSION_ROWS_MAY_BE_NEWER,
    UnprovenLoginsError,
    plan_restore,
    restore_version,
)
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.aws.versions import list_versions
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_email, make_full_client, update
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import (
    NAME,
    advance,
    change_in_aws,
    enter_phase,
    is_pending,
    list_refused_logins,
    password,
    refuse_logins,
    write_password,
)

FORMER, NEW = "example-password-1", "example-new' \" "


@pytest.fixture(autouse=True)
def outcomes(monkeypatch) -> dict[str, LoginOutcome]:
    """What a server says to a password; it lets all others in. The law of logins has tests of its own."""
    found: dict[str, LoginOutcome] = {}

    def try_login(kind, values):
        value = values.get("password") or values.get("app_password") or values["secret_access_key"]
        return LoginResult(found.get(value, LoginOutcome.WORKS))

    monkeypatch.setattr(versions, "try_login", try_login)
    return found


def in_aws(stage: str = "AWSCURRENT", name: str = NAME) -> dict:
    return json.loads(aws_store.secrets_manager().get_stage(name, stage).text)


def current(name: str = NAME) -> str:
    return aws_store.secrets_manager().get_value(name).version_id


def make_changed(phase: Phase) -> tuple[int, str]:
    """A client whose password was changed since, and the version that has the former one."""
    pk = make_full_client("idom")
    enter_phase(pk, min(phase, Phase.AWS, key=list(Phase).index))
    former = current()
    if phase == Phase.PURGED:
        advance(pk, Phase.PURGED)
        change_in_aws(aws_store.secrets_manager(), password=NEW)
    else:
        write_password(pk, NEW)
        pushes.push(client_ids=[pk])
    assert in_aws()["database"]["password"] == NEW
    return pk, former


def restore(pk: int, version: str, name: str = NAME, **more) -> Resolution:
    seen = plan_restore(pk, name=name, version_id=version).digest
    return restore_version(
        **{"client_id": pk, "name": name, "version_id": version, "seen": seen, "reason": "INC-1"}
        | more
    )


def refusal(pk: int, version: str, **more) -> str:
    """Why it is not restored; both stores stay as they are."""
    before = password(pk), in_aws(), current(), Resolution.objects.count()
    with pytest.raises(NotResolved) as refused:
        restore(pk, version, **more)
    assert (password(pk), in_aws(), current(), Resolution.objects.count()) == before
    assert FORMER not in str(refused.value)
    return refused.value.message.key


def refuse_write(_self, name, _text, *, token=None):
    raise SecretsManagerError.from_code("AccessDenied", "PutSecretValue", name)


# What it does


@pytest.mark.parametrize(
    "phase", [Phase.DUAL_WRITE, pytest.param(Phase.DUAL_READ, marks=pytest.mark.nightly), Phase.AWS]
)
def test_both_stores_hold_the_former_values_as_a_new_version(stores, phase):
    pk, former = make_changed(phase)
    replaced = current()
    refuse_logins(pk)

    restored = restore(pk, former)

    assert password(pk) == in_aws()["database"]["password"] == FORMER
    assert in_aws("AWSPREVIOUS")["database"]["password"] == NEW
    assert current() not in (former, replaced)
    assert not is_pending(pk)
    assert Comparison.objects.newest().get(client_id=pk).status == Comparison.Status.MATCH
    assert (restored.kind, restored.reason) == ("to_version", "INC-1")
    assert former[:8] in str(restored.message)
    assert AuditEvent.objects.filter(code="resolution", reason="INC-1").exists()
    # The tests of the values that it replaced no longer count.
    assert list_refused_logins(pk) == {("email", "postgres"), ("email", "aws")}
    # Both values are known, though no worker looked.
    found = KnownValue.objects.filter(kind="database", stood_in_tables=True)
    expected = {make_fingerprint(pk, value).digest for value in (FORMER, NEW)}
    assert set(found.values_list("digest", flat=True)) == expected
    note_written_rows()
    assert KnownValue.objects.get(kind="database", replaced_at=None).stands_in_tables


def test_the_values_of_a_purged_client_go_to_aws_alone(stores, monkeypatch):
    pk, former = make_changed(Phase.PURGED)
    pointer = password(pk)
    refuse_logins(pk)
    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "put_value", refuse_write)
        assert refusal(pk, former) == "aws_failed"

    restore(pk, former)

    assert password(pk) == pointer == f"aws-secretsmanager:{NAME}"
    assert in_aws()["database"]["password"] == FORMER
    assert in_aws()["email"]["app_password"] == "example-app-password-2"
    assert not is_pending(pk)
    stays = {("email", "postgres"), ("email", "aws")}
    assert list_refused_logins(pk) - {("database", "postgres")} == stays
    note_written_rows()
    known = KnownValue.objects.get(kind="database", replaced_at=None)
    assert (known.stands_in_tables, known.stood_in_tables) == (False, True)  # it stood there
    move(client_id=pk, new=Phase.AWS)
    assert password(pk) == FORMER


def test_a_version_of_a_purged_client_is_restored_only_where_the_tables_agree_with_the_rest(stores):
    pk, former = make_changed(Phase.PURGED)
    change_in_aws(aws_store.secrets_manager(), host="elsewhere.example")
    theirs = current()
    restore(pk, former)  # with the host that the tables have
    assert in_aws()["database"]["host"] == "db.example.test"

    assert refusal(pk, theirs) == VERSION_DIFFERS_FROM_ROWS.key


@pytest.mark.parametrize(
    "phase", [pytest.param(Phase.DUAL_READ, marks=pytest.mark.nightly), Phase.AWS]
)
def test_a_version_of_one_services_secret_leaves_the_others(stores, settings, phase):
    settings.NOVA_SECRET_LAYOUT = Layout.SERVICE
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    name = f"{NAME}/email"
    former = current(name)
    row = EmailCredential.objects.get(client_id=pk)
    update("client_email_credentials", row.pk, email_password_encrypted=NEW)
    write_password(pk, NEW)
    pushes.push(client_ids=[pk])

    restore(pk, former, name)

    assert in_aws(name=name)["email"]["app_password"] == "example-app-password-2"
    assert EmailCredential.objects.get(client_id=pk).email_password == "example-app-password-2"
    assert password(pk) == in_aws(name=f"{NAME}/database")["database"]["password"] == NEW


def test_anybodys_version_is_restored_over_whatever_is_there_and_logins_that_it_lacks_stay(stores):
    pk, former = make_changed(Phase.AWS)
    # Of two at once the second is told to look again.
    seen = plan_restore(pk, name=NAME, version_id=former).digest
    restore(pk, former)
    assert refusal(pk, former, seen=seen) == VERSION_CHANGES_NOTHING.key
    # One that somebody else wrote.
    change_in_aws(aws_store.secrets_manager(), password=NEW)
    theirs = current()
    change_in_aws(aws_store.secrets_manager(), password="example-junk")
    restore(pk, theirs)
    assert password(pk) == in_aws()["database"]["password"] == NEW
    # Over what is no document any more.
    aws_store.secrets_manager().put_value(NAME, "no document")
    restore(pk, former)
    assert password(pk) == in_aws()["database"]["password"] == FORMER
    make_email(pk, label="later", is_primary=False, email_password_encrypted="example-later")
    pushes.push(client_ids=[pk])

    restored = restore(pk, theirs)

    assert "left where they are: mail login" in str(restored.message)
    assert in_aws()["other_emails"][0]["app_password"] == "example-later"
    assert not is_pending(pk)


# Logins are tried first


def test_a_login_that_is_refused_keeps_all_and_one_that_can_not_be_tried_has_to_be_accepted(
    stores, outcomes
):
    pk, former = make_changed(Phase.DUAL_READ)
    unproven, wrong = VERSION_LOGIN_UNPROVEN.key, VERSION_LOGIN_REFUSED.key
    for outcomes[FORMER] in (LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE):
        assert refusal(pk, former) == wrong
    outcomes[FORMER] = LoginOutcome.UNREACHABLE
    outcomes["example-app-password-2"] = LoginOutcome.REFUSED  # not of this change: not tried
    with pytest.raises(UnprovenLoginsError, match="the database login: no server") as shown:
        restore(pk, former)
    assert password(pk) == NEW

    # Only what was shown is accepted: what is found since is asked about anew.
    accepted = shown.value.digest
    outcomes[FORMER] = LoginOutcome.TLS_PROBLEM
    assert refusal(pk, former, accepted_digest=accepted) == unproven
    outcomes[FORMER] = LoginOutcome.REFUSED
    assert refusal(pk, former, accepted_digest=accepted) == wrong
    outcomes[FORMER] = LoginOutcome.UNREACHABLE
    assert refusal(pk, former, accepted_digest="yes") == unproven
    restore(pk, former, accepted_digest=accepted)
    assert password(pk) == FORMER


def test_the_logins_take_their_turn_and_are_in_the_audit(stores, outcomes, admin_user):
    pk, former = make_changed(Phase.DUAL_READ)
    outcomes[FORMER] = LoginOutcome.UNREACHABLE
    Rate.objects.set_rates({Rate.Kind.LOGIN: 0.001})
    before = timezone.now()

    with pytest.raises(UnprovenLoginsError):
        restore(pk, former, by=admin_user)

    assert Rate.objects.get(kind=Rate.Kind.LOGIN).next_at > before + timedelta(seconds=30)
    (entry,) = AuditEvent.objects.filter(code=LOGIN_TEST_EVENT)
    assert (entry.who, entry.client_id, entry.slug) == (admin_user.username, pk, "idom")
    assert f"version {former[:8]}… of {NAME}: the database login: no server" in str(entry.message)


# What keeps it from being done


def test_what_would_lose_a_value_or_change_nothing_is_refused_with_its_reason(stores, monkeypatch):
    pk = make_full_client("idom")
    pushes.push(client_ids=[pk])
    older = current()
    gone = VERSION_GONE.key
    assert refusal(pk, older) == VERSION_MIGRATE_FIRST.key

    move(client_id=pk, new=Phase.DUAL_WRITE)
    assert refusal(pk, older) == VERSION_IS_CURRENT.key
    write_password(pk, NEW)
    assert refusal(pk, older) == VERSION_ROWS_ARE_NEWER.key
    pushes.push(client_ids=[pk])
    for unknown in ("0" * 32, "x", "", "' OR 1=1 --"):
        assert refusal(pk, unknown) == gone
    assert refusal(pk, older, name="nova/clients/acme") == gone
    assert refusal(pk, older, seen="x") == RESTORES_SOMETHING_ELSE.key
    write_password(pk, FORMER)
    pushes.push(client_ids=[pk])
    assert refusal(pk, older) == VERSION_CHANGES_NOTHING.key
    write_password(pk, NEW)
    pushes.push(client_ids=[pk])
    stop_aws_writes(reason="INC-9", by=None)
    assert refusal(pk, older) == WRITES_STOPPED.key
    start_aws_writes(by=None)
    monkeypatch.setattr(versions, "LOCK_WAIT_SECONDS", 0.1)
    with held_elsewhere(LeaseKind.CLIENT, pk):
        assert refusal(pk, older) == TRY_AGAIN_LATER.key
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    assert refusal(pk, older) == VERSION_ROWS_MAY_BE_NEWER.key


def meanwhile(monkeypatch, act: Callable[[], object]) -> None:
    """Does this once, while the logins are tried."""
    tried = versions.try_for_failures

    def try_for_failures(logins, **named):
        act()
        return tried(logins, **named)

    monkeypatch.setattr(versions, "try_for_failures", try_for_failures)


def test_an_edit_while_the_logins_are_tried_survives(stores, monkeypatch):
    pk, former = make_changed(Phase.DUAL_READ)
    meanwhile(monkeypatch, lambda: write_password(pk, "example-edit"))

    with pytest.raises(NotResolved):
        restore(pk, former)

    assert password(pk) == "example-edit"


def test_aws_that_forgets_the_version_or_refuses_the_write_leaves_both_stores(stores, monkeypatch):
    pk, former = make_changed(Phase.AWS)
    read, asked = SecretsManager.get_version, []

    def forget(*args):
        asked.append(args)
        return read(*args) if len(asked) < 3 else None

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "get_version", forget)
        assert refusal(pk, former) == VERSION_GONE.key
    assert len(asked) == 3

    monkeypatch.setattr(SecretsManager, "put_value", refuse_write)
    assert refusal(pk, former) == "aws_failed"


def test_rows_without_aws_before_the_cutover_are_pushed_later(stores, monkeypatch):
    pk, former = make_changed(Phase.DUAL_READ)
    with monkeypatch.context() as patch:

        def refuse(self, name, text, *, token=None):
            raise SecretsManagerError.from_code("Timeout", "PutSecretValue", name)

        patch.setattr("nova_credentials.aws.secrets_manager.SecretsManager.put_value", refuse)
        restored = restore(pk, former)

    assert "PostgreSQL has the values; AWS does not yet." in str(restored.message)
    assert is_pending(pk)
    pushes.push(client_ids=[pk])
    assert in_aws()["database"]["password"] == FORMER


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_who_is_killed_between_aws_and_the_tables_leaves_what_a_second_try_settles(
    stores, monkeypatch, phase
):
    pk, former = make_changed(phase)

    def die(*_args, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "record_resolution", die)
        with pytest.raises(KeyboardInterrupt):
            restore(pk, former)
    assert in_aws()["database"]["password"] == FORMER  # NOVA reads it already
    assert ClientMigration.objects.get(pk=pk).phase == phase
    assert not Resolution.objects.exists()

    if phase == Phase.AWS:
        assert password(pk) == NEW
        copy_to_postgres(client_id=pk, reason="INC-2")
        assert password(pk) == FORMER
    else:
        move(client_id=pk, new=Phase.AWS)
        assert password(pk) == FORMER


# What AWS lists


def test_versions_are_listed_newest_first_over_several_pages(stores, sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    for number in range(6):
        change_in_aws(sm, password=f"example-{number}")
    monkeypatch.setattr("nova_credentials.aws.versions._PAGE_SIZE", 3)

    found = list_versions(sm, NAME)

    assert [each.stages for each in found[:2]] == [("AWSCURRENT",), ("AWSPREVIOUS",)]
    assert len({each.version_id for each in found}) == 7
    assert all(re.fullmatch("[0-9a-f-]{32,64}", each.version_id) for each in found)


def test_real_logins_are_tried(stores, monkeypatch):
    monkeypatch.undo()
    pk, former = make_changed(Phase.DUAL_READ)
    DatabaseCredential.objects.update(db_host="localhost.invalid")
    pushes.push(client_ids=[pk])

    with pytest.raises(UnprovenLoginsError):
        restore(pk, former)
