"""A copy of AWS to PostgreSQL is undone: both stores hold the former values, or nothing was changed and it says why."""

import json
import re

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection

from credentials.models import Client, EmailCredential
from migration.core import aws_store
from migration.core.aws_writes import WRITES_STOPPED, start_aws_writes, stop_aws_writes
from migration.core.sentences import NOVA_WROTE
from migration.models import AuditEvent, ClientMigration, Comparison, Resolution
from migration.moves.moves import move
from migration.pushes import pushes, resolutions
from migration.pushes.comparisons import compare
from migration.pushes.resolutions import (
    AWS_WRITTEN_SINCE_COPY,
    FORMER_VALUES_GONE,
    NO_COPY_TO_UNDO,
    PURGED_SINCE_COPY,
    ROWS_WRITTEN_SINCE_COPY,
    TRY_AGAIN_LATER,
    UNDOES_SOMETHING_ELSE,
    NotResolved,
    copy_to_postgres,
    plan_undo,
    undo_copy,
)
from migration.pushes.secret_writer import REPLACED_STAGE
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user, nova_connected, update
from tests.migration.campaigns.taken import once
from tests.migration.clients.page.pages import page
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
from tests.migration.pages import text

RESOLVE = "migration.resolve_mismatch"
FORMER, THEIRS = "example-password-1", "MARKER-THREE"
# As long as a value may be, of quotes and blanks.
LONG = "' \"" * 1365 + " "


def in_aws(stage: str = "AWSCURRENT", name: str = NAME) -> dict:
    return json.loads(aws_store.secrets_manager().get_stage(name, stage).text)


def make_copied(phase: Phase, *, former: str = FORMER) -> int:
    """Make a client over which AWS, changed by somebody, was copied."""
    pk = make_full_client("idom")
    if former != FORMER:
        write_password(pk, former)
    enter_phase(pk, phase)
    if phase == Phase.POSTGRES:
        assert pushes.push(client_ids=[pk])[0].outcome == "created"
    change_in_aws(aws_store.secrets_manager(), password=THEIRS)
    compare(client_ids=[pk])
    copy_to_postgres(client_id=pk, reason="INC-1")
    assert password(pk) == THEIRS
    return pk


def undo(pk: int) -> Resolution:
    return undo_copy(client_id=pk, seen=plan_undo(pk).digest, reason="INC-2")


def refusal_of(pk: int, seen: str) -> str:
    with pytest.raises(NotResolved) as refusal:
        undo_copy(client_id=pk, seen=seen, reason="INC-2")
    return refusal.value.message.key


def why_not(pk: int) -> str:
    """Why it can't be undone; both stores stay as they are."""
    before = password(pk), in_aws()
    with pytest.raises(NotResolved) as refusal:
        plan_undo(pk)
    assert refusal_of(pk, "") == refusal.value.message.key
    assert (password(pk), in_aws()) == before
    return refusal.value.message.key


@pytest.fixture
def copied(stores) -> int:
    return make_copied(Phase.DUAL_READ)


@pytest.fixture
def browser(stores, client):
    client.force_login(make_user("maria", *VIEW, RESOLVE))
    return client


def address(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/copy-to-postgres/undo/"


def seen_in(response) -> str:
    return re.search(r'name="seen" value="([^"]*)"', response.content.decode())[1]


# What it does


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_READ, Phase.AWS])
def test_both_stores_hold_the_former_values_and_todays_stay_in_aws(stores, phase):
    pk = make_copied(phase, former=LONG)
    refuse_logins(pk)

    undo(pk)

    assert password(pk) == LONG
    assert in_aws()["database"]["password"] == LONG
    assert in_aws("AWSPREVIOUS")["database"]["password"] == THEIRS
    assert not is_pending(pk)
    # The tests of the values that it replaced no longer count.
    assert list_refused_logins(pk) == {("email", "postgres"), ("email", "aws")}
    newest = Comparison.objects.newest().get(client_id=pk)
    assert newest.status == Comparison.Status.MATCH
    assert list(Resolution.objects.values_list("kind", "reason")) == [
        ("to_former", "INC-2"),
        ("to_postgres", "INC-1"),
    ]
    audited = AuditEvent.objects.filter(slug="idom", code__in=("resolution", "push"))
    assert "Undid a copy: put the former values back into PostgreSQL." in [
        str(entry.message) for entry in audited
    ]
    assert why_not(pk) == NO_COPY_TO_UNDO().key


def test_a_secret_of_each_service_is_put_back_too(stores, settings):
    settings.NOVA_SECRET_LAYOUT = Layout.SERVICE
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    sm = aws_store.secrets_manager()
    stored = json.loads(sm.get_value(f"{NAME}/email").text)
    stored["email"]["app_password"] = THEIRS
    sm.put_value(f"{NAME}/email", json.dumps(stored))
    compare(client_ids=[pk])
    copy_to_postgres(client_id=pk)

    undo(pk)

    assert EmailCredential.objects.get(client_id=pk).email_password == "example-app-password-2"
    assert in_aws(name=f"{NAME}/email")["email"]["app_password"] == "example-app-password-2"


def test_a_login_that_the_copy_added_stays_and_one_that_aws_lacks_is_written_there(stores, browser):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    stored = in_aws()
    stored["database"]["password"] = THEIRS
    stored["other_databases"] = [stored["database"] | {"label": "added", "host": "db-9.example"}]
    del stored["email"]
    aws_store.secrets_manager().put_value(NAME, json.dumps(stored))
    compare(client_ids=[pk])
    copy_to_postgres(client_id=pk)
    assert Client.objects.get(pk=pk).databases.count() == 2
    assert EmailCredential.objects.filter(client_id=pk).exists()

    shown = text(browser.get(address(pk)))
    assert "The copy added logins. This site deletes none" in shown
    assert "What AWS gets besides" in shown
    resolution = undo(pk)

    assert str(resolution.message).startswith(
        "Added by the copy, and left where they are: database login"
    )
    assert Client.objects.get(pk=pk).databases.count() == 2
    assert Client.objects.get(pk=pk).databases.get(is_primary=True).db_password == FORMER
    assert in_aws()["database"]["password"] == FORMER
    assert in_aws()["other_databases"][0]["host"] == "db-9.example"
    assert in_aws()["email"]["app_password"] == "example-app-password-2"


# What refuses it


def test_what_keeps_a_copy_from_being_undone_is_told_and_changes_nothing(
    copied, browser, monkeypatch
):
    seen = plan_undo(copied).digest
    # A copy of an earlier release kept no versions.
    newest = Resolution.objects.get()
    Resolution.objects.update(kept_versions=None, revision=None)
    assert why_not(copied) == NO_COPY_TO_UNDO().key
    Resolution.objects.update(kept_versions=newest.kept_versions, revision=newest.revision)
    change_in_aws(aws_store.secrets_manager(), password="example-later")
    assert why_not(copied) == AWS_WRITTEN_SINCE_COPY().key
    change_in_aws(aws_store.secrets_manager(), password=THEIRS)
    assert plan_undo(copied).digest == seen
    stop_aws_writes(reason="Somebody looks")
    assert refusal_of(copied, seen) == WRITES_STOPPED.key
    start_aws_writes()
    with monkeypatch.context() as patched:  # somebody works on it
        patched.setattr(resolutions, "LOCK_WAIT_SECONDS", 0.0)
        patched.setattr("migration.core.leases.take_leases", lambda *_: set())
        assert refusal_of(copied, seen) == TRY_AGAIN_LATER.key
    # AWS keeps another version in the place of the former one.
    aws_store.secrets_manager().put_aside(NAME, json.dumps(in_aws()), stage=REPLACED_STAGE)
    assert why_not(copied) == FORMER_VALUES_GONE(name="x").key
    write_password(copied, THEIRS)  # NOVA wrote the very same value: a write all the same
    assert why_not(copied) == ROWS_WRITTEN_SINCE_COPY().key
    shown = page(browser, copied, "comparison")
    assert "PostgreSQL's rows were written since" in text(shown)
    assert address(copied) not in shown.content.decode()


def test_a_write_that_was_not_counted_is_not_lost(copied, counting_again, monkeypatch):
    table = "public.client_database_credentials"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {table} SET db_password_encrypted = 'example-unseen'")

    assert why_not(copied) == "rows_may_be_written_since_copy"
    # Where nobody noticed, the rows are still not what AWS holds.
    monkeypatch.setattr(resolutions, "writes_are_counted", lambda: True)
    assert why_not(copied) == "aws_written_since_copy"


def test_of_two_copies_the_newer_is_undone_once_and_the_older_never(copied):
    change_in_aws(aws_store.secrets_manager(), password="example-later")
    compare(client_ids=[copied])
    copy_to_postgres(client_id=copied)
    other = make_full_client("other")
    seen = plan_undo(copied).digest
    # Other rows may be written meanwhile.
    row = Client.objects.get(pk=other).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted="example-other")

    undo_copy(client_id=copied, seen=seen, reason="INC-2")

    assert (password(copied), password(other)) == (THEIRS, "example-other")
    assert why_not(copied) == NO_COPY_TO_UNDO().key
    assert refusal_of(copied, seen) == NO_COPY_TO_UNDO.key
    assert Resolution.objects.filter(kind="to_former").count() == 1


def test_after_a_purge_it_says_plainly_that_it_cannot_be_undone(stores, browser):
    pk = make_copied(Phase.AWS)
    advance(pk, Phase.PURGED)

    for shown in (browser.get(address(pk)), page(browser, pk, "comparison")):
        assert "The copy can't be undone any more: the client was purged since" in text(shown)
        assert 'name="seen"' not in shown.content.decode()
    assert why_not(pk) == PURGED_SINCE_COPY().key
    move(client_id=pk, new=Phase.AWS)
    assert why_not(pk) == ROWS_WRITTEN_SINCE_COPY().key


def deny(*_: object, **__: object) -> None:
    raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", NAME)


def test_where_aws_decides_the_rows_stay_if_aws_does_not_take_them_or_nova_writes_meanwhile(
    stores, monkeypatch
):
    pk = make_copied(Phase.AWS)
    seen = plan_undo(pk).digest
    with monkeypatch.context() as patched:
        patched.setattr(SecretsManager, "put_value", deny)
        assert refusal_of(pk, seen) == "aws_failed"

    assert password(pk) == THEIRS
    assert [row.kind for row in Resolution.objects.all()] == ["to_postgres"]

    def write() -> None:
        with nova_connected() as nova:
            nova.execute(
                "UPDATE client_database_credentials SET db_password_encrypted = 'example-novas'"
            )
            nova.commit()

    monkeypatch.setattr(
        resolutions, "find_write_refusal", once(write, resolutions.find_write_refusal)
    )

    assert refusal_of(pk, seen) == NOVA_WROTE.key
    assert password(pk) == "example-novas"


def test_where_postgresql_decides_it_says_if_aws_does_not_hold_them_yet(copied, monkeypatch):
    seen = plan_undo(copied).digest
    monkeypatch.setattr(SecretsManager, "put_value", deny)

    resolution = undo_copy(client_id=copied, seen=seen, reason="INC-2")

    assert "PostgreSQL holds the former values; AWS does not yet." in str(resolution.message)
    assert Resolution.objects.get(pk=resolution.pk).message == resolution.message
    assert password(copied) == FORMER
    assert is_pending(copied)


# Its page


def test_the_page_shows_by_codes_what_changes_and_puts_back_what_was_seen(copied, browser):
    tab = page(browser, copied, "comparison").content.decode()
    assert f'href="{address(copied)}"' in tab
    shown = browser.get(address(copied))
    assert "AWS then gets the same as a new version" in text(shown)
    assert "database.password" in text(shown)
    for secret in (FORMER, THEIRS):
        assert secret not in shown.content.decode()
    stale = seen_in(shown)
    ClientMigration.objects.change_phase([copied], Phase.DUAL_READ, Phase.AWS)
    sent = {"seen": seen_in(browser.get(address(copied))), "reason": "INC-2"}

    def refused(**changes: str) -> str:
        answer = browser.post(address(copied), sent | changes)
        assert (answer.status_code, password(copied)) == (302, THEIRS)
        return [str(each) for each in get_messages(answer.wsgi_request)][-1]

    for reason in ("", "  "):
        assert "Nothing was put back: give a reason or a ticket." in refused(reason=reason)
    assert "500" in refused(reason="x" * 501)
    for seen in ("", "x", "' \"" * 1365, stale):
        assert str(UNDOES_SOMETHING_ELSE()) in refused(seen=seen), seen[:9]
    browser.raise_request_exception = False
    assert browser.post(address(copied), sent | {"seen": "a\0b"}).status_code == 400
    browser.force_login(make_user("viewer", *VIEW))
    for tab in ("comparison", "history"):
        assert address(copied) not in page(browser, copied, tab).content.decode()
    assert browser.get(address(copied)).status_code == 403
    assert browser.post(address(copied), sent).status_code == 403
    assert password(copied) == THEIRS
    browser.force_login(User.objects.get(username="maria"))

    done = browser.post(address(copied), sent, follow=True)

    assert done.redirect_chain[-1][0].endswith(f"/{copied}/change/?tab=comparison")
    assert "Put the former values back." in text(done)
    assert address(copied) not in done.content.decode()
    assert password(copied) == FORMER
    assert Resolution.objects.first().by_name == "maria"
    told = page(browser, copied, "history").context["history"].lines
    assert ("resolution_to_former", "maria", "INC-2") in [
        (line.message.parts[0].key, line.who, line.reason) for line in told
    ]
    newest = browser.get("/admin/").context["activity"][0].event
    assert newest.message.parts[0].key == "resolution_to_former"
    assert "There is no copy of AWS to PostgreSQL" in text(browser.get(address(copied)))
    assert browser.get(address(copied + 1)).status_code == 404


def test_the_record_of_a_copy_is_there_exactly_if_the_copy_is(stores, monkeypatch):
    """Both are one transaction: who is killed between them has copied nothing."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    change_in_aws(aws_store.secrets_manager(), password=THEIRS)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resolutions, "record_resolution", die)
    with pytest.raises(KeyboardInterrupt):
        copy_to_postgres(client_id=pk)

    assert password(pk) == FORMER
    assert not Resolution.objects.exists()
