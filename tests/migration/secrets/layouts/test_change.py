"""A change of layout: whichever phase, a reader that was there before reads right through it."""

import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import DatabaseCredential
from migration.core.leases import LeaseKind
from migration.core.sentences import NOT_OURS
from migration.models import AuditEvent, ClientMigration, DatabaseClaim, PlannedVersion, Secret
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from migration.secrets import layouts
from migration.secrets.deletions import DELETION_EVENT
from migration.secrets.layouts import (
    LAYOUT_CHANGED,
    LAYOUT_DIFFERS,
    LAYOUT_FOREIGN,
    LAYOUT_IS_SO,
    LAYOUT_ROTATES,
    LAYOUT_UNREAD,
    LAYOUT_WITHOUT_SECRET,
    LAYOUT_WRITTEN_LATE,
    LAYOUT_WRITTEN_MEANWHILE,
    OWN_SECRETS_LACK,
    LayoutRefusedError,
    change_layout,
    remove_other_secrets,
)
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import (
    make_client,
    make_full_client,
    make_reader_process,
    nova_uri,
    update,
)
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import (
    NAME,
    change_in_aws,
    enter_phase,
    is_pending,
    write_password,
)
from tests.migration.pushes.pushed import adopt

pytestmark = pytest.mark.usefixtures("stores")

LONG_AGO = timezone.now() - timedelta(days=60)
SERVICES = [f"{NAME}/{service}" for service in ("database", "email", "aws")]


@pytest.fixture
def reader() -> Reader:
    reader = Reader(nova_uri(), cache_seconds=0, timeout=30)
    yield reader
    reader.close()


def own(pk: int) -> ClientMigration:
    return ClientMigration.objects.get(pk=pk)


def held(sm: SecretsManager, name: str) -> str:
    """The database password in this secret."""
    return json.loads(sm.get_value(name).text)["database"]["password"]


def read(reader: Reader) -> str:
    return reader.get_credential("idom", "database").db_password


def pointers(pk: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT db_password_encrypted FROM public.client_database_credentials WHERE client_id = %(pk)s"
            " UNION ALL SELECT email_password_encrypted FROM public.client_email_credentials WHERE client_id = %(pk)s"
            " UNION ALL SELECT secret_access_key FROM nova_admin.client_aws_credentials WHERE client_id = %(pk)s",
            {"pk": pk},
        )
        return [value for (value,) in cursor.fetchall()]


def make_due(pk: int, **more: object) -> None:
    since = timezone.now() - timedelta(hours=1, seconds=61)
    ClientMigration.objects.filter(pk=pk).update(other_secrets_since=since, **more)


@pytest.mark.parametrize(
    "phase",
    [
        Phase.DUAL_WRITE,
        pytest.param(Phase.DUAL_READ, marks=pytest.mark.nightly),
        Phase.AWS,
        Phase.PURGED,
    ],
)
def test_in_every_phase_all_values_are_read_before_and_after_and_once_the_old_ones_go(
    sm, reader, phase
):
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    before = read(reader)
    pending = is_pending(pk)

    changed = change_layout(client_id=pk, layout=Layout.SERVICE)

    assert changed.outcome == Outcome.UPDATED
    assert changed.message == LAYOUT_CHANGED(old=(NAME,), new=tuple(SERVICES))
    row = own(pk)
    assert (row.layout, row.other_secrets, row.phase) == ("service", "kept", phase)
    assert set(Secret.objects.values_list("name", flat=True)) == {NAME, *SERVICES}
    assert sm.describe_secret(SERVICES[0]).has_our_tag
    assert read(reader) == before == held(sm, SERVICES[0]) == held(sm, NAME)
    assert is_pending(pk) == pending
    if phase == Phase.PURGED:
        assert pointers(pk) == [f"aws-secretsmanager:{name}" for name in SERVICES]
    else:
        (compared,) = compare(client_ids=[pk]).values()
        assert compared.status == "match"

    make_due(pk)
    remove_other_secrets()

    row = own(pk)
    assert (row.layout, row.other_secrets, row.other_secrets_since) == ("service", "", None)
    assert sm.describe_secret(NAME).deleted_at is not None
    # As long as AWS keeps it, it is known whose it is: nobody else gets it.
    assert Secret.objects.get(name=NAME).client_id == pk
    (entry,) = AuditEvent.objects.filter(code=DELETION_EVENT, client_id=pk)
    assert (entry.slug, NAME in str(entry.facts)) == ("idom", True)
    reader._cached.clear()
    assert read(reader) == before

    # Back: what is scheduled for deletion is taken back.
    assert change_layout(client_id=pk, layout=Layout.CLIENT).outcome == Outcome.UPDATED
    assert read(reader) == before == held(sm, NAME)
    assert (own(pk).layout, own(pk).other_secrets) == ("client", "kept")
    if phase == Phase.PURGED:
        assert set(pointers(pk)) == {f"aws-secretsmanager:{NAME}"}
        assert move(client_id=pk, new=Phase.AWS).new == Phase.AWS
        assert DatabaseCredential.objects.get(client_id=pk).db_password == before


def test_until_the_old_secrets_go_every_write_goes_to_both(sm, reader):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)

    write_password(pk, "example-new")
    (pushed,) = push(client_ids=[pk])

    assert pushed.outcome == Outcome.UPDATED
    assert held(sm, SERVICES[0]) == held(sm, NAME) == "example-new"
    assert not is_pending(pk)
    (pushed,) = push(client_ids=[pk])
    assert pushed.outcome == Outcome.UNCHANGED

    # What the old one does not hold is not pushed, though nobody who knows the new ones reads it.
    sm.schedule_deletion(NAME)
    write_password(pk, "example-newer")
    assert push(client_ids=[pk])[0].outcome == Outcome.RESTORED
    assert held(sm, NAME) == "example-newer"


def test_the_old_secrets_stay_while_anybody_may_need_them(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)

    def stays() -> bool:
        remove_other_secrets()
        return own(pk).other_secrets == "kept" and sm.describe_secret(NAME).deleted_at is None

    an_hour = timezone.now() - timedelta(hours=1, seconds=59)
    ClientMigration.objects.update(other_secrets_since=an_hour)
    assert stays()  # readers may have cached the state twice
    make_due(pk)
    old = make_reader_process(version="0.1.9", last_read_at=timezone.now() - timedelta(hours=23))
    assert stays()
    old.version = "who knows"
    old.save()
    assert stays()
    old.last_read_at = timezone.now() - timedelta(hours=25)
    old.save()
    with held_elsewhere(LeaseKind.CLIENT, pk):
        assert stays()
    remove_other_secrets()
    assert own(pk).other_secrets == ""


def test_a_client_that_somebody_works_on_is_not_waited_for(monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    make_due(pk)
    waits = []

    @contextmanager
    def hold_nothing(client_ids, *, wait_seconds):
        waits.append((client_ids, wait_seconds))
        yield set()

    monkeypatch.setattr(layouts, "hold_client_locks", hold_nothing)
    remove_other_secrets()

    assert waits == [([pk], 0)]
    assert own(pk).other_secrets == "kept"


def test_an_old_secret_that_somebody_else_wrote_is_left_and_no_longer_written(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    change_in_aws(sm, password="example-by-hand")
    make_due(pk)

    remove_other_secrets()

    assert sm.describe_secret(NAME).deleted_at is None
    assert own(pk).other_secrets == ""


@pytest.mark.parametrize(
    "phase", [pytest.param(Phase.DUAL_READ, marks=pytest.mark.nightly), Phase.PURGED]
)
def test_the_old_secret_stays_where_a_new_one_is_gone_for_good(sm, phase, caplog):
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    make_due(pk)
    sm.sm.delete_secret(SecretId=f"{NAME}/email", ForceDeleteWithoutRecovery=True)

    remove_other_secrets()

    assert own(pk).other_secrets == "kept"
    assert json.loads(sm.get_value(NAME).text)["email"]
    assert f"Old secrets of client {pk} stay: {OWN_SECRETS_LACK(kinds=('email',))}" in caplog.text


def test_a_change_back_takes_over_what_waits_for_its_deletion_however_late(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    make_due(pk)
    PlannedVersion.objects.update(planned_at=LONG_AGO)
    remove_other_secrets()
    PlannedVersion.objects.forget_old()
    DatabaseClaim.objects.update(claimed_at=LONG_AGO)  # AWS's times are whole seconds
    write_password(pk, "example-b")
    push(client_ids=[pk])
    with pytest.raises(SecretsManagerError):
        sm.get_value(NAME)

    change_layout(client_id=pk, layout=Layout.CLIENT)

    assert held(sm, NAME) == held(sm, SERVICES[0])


def test_another_slug_while_both_are_written_changes_no_name(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    update("clients", pk, slug="renamed")
    write_password(pk, "example-new")
    push(client_ids=[pk])
    assert held(sm, NAME) == held(sm, SERVICES[0]) == "example-new"


def test_a_change_that_was_never_finished_leaves_nothing_behind(sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)

    begin_and_die(pk, monkeypatch)
    assert (own(pk).layout, own(pk).other_secrets) == ("client", "begun")
    # It is not written meanwhile, as nobody reads it.
    write_password(pk, "example-new")
    push(client_ids=[pk])
    assert held(sm, SERVICES[0]) != held(sm, NAME) == "example-new"

    make_due(pk)
    remove_other_secrets()

    assert own(pk).other_secrets == ""
    assert all(sm.describe_secret(name).deleted_at for name in SERVICES)
    # The next try takes them back, and writes what is there now.
    assert change_layout(client_id=pk, layout=Layout.SERVICE).outcome == Outcome.UPDATED
    assert held(sm, SERVICES[0]) == "example-new"


def begin_and_die(pk: int, monkeypatch) -> None:
    """A change of layout that is killed once its secrets are written."""

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(layouts, "_switch", die)
        with pytest.raises(KeyboardInterrupt):
            change_layout(client_id=pk, layout=Layout.SERVICE)


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_was_begun_goes_though_the_client_was_renamed_meanwhile(sm, monkeypatch, goes_on):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    begin_and_die(pk, monkeypatch)
    update("clients", pk, slug="renamed")
    push(client_ids=[pk])
    if goes_on:
        change_layout(client_id=pk, layout=Layout.SERVICE)

    make_due(pk)
    remove_other_secrets()

    assert own(pk).other_secrets == ""
    assert [bool(sm.describe_secret(n).deleted_at) for n in (NAME, *SERVICES)] == (
        [True, False, False, False] if goes_on else [False, True, True, True]
    )


def refusal(pk: int, **options) -> LayoutRefusedError:
    with pytest.raises(LayoutRefusedError) as refused:
        change_layout(client_id=pk, layout=Layout.SERVICE, **options)
    assert own(pk).layout == "client"
    return refused.value


def test_a_secret_of_somebody_else_under_a_new_name_is_refused_until_it_is_adopted(sm, reader):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    sm.sm.create_secret(Name=SERVICES[1], SecretString='{"email": {"app_password": "theirs"}}')

    assert NOT_OURS(name=SERVICES[1]) in refusal(pk).message.parts
    assert own(pk).other_secrets == ""
    for name in (SERVICES[0], SERVICES[2]):  # nothing was written
        with pytest.raises(SecretsManagerError):
            sm.describe_secret(name)

    adopt(pk, layout=Layout.SERVICE)
    assert change_layout(client_id=pk, layout=Layout.SERVICE)
    assert sm.describe_secret(SERVICES[1]).has_our_tag
    assert reader.get_credential("idom", "email").email_password == "example-app-password-2"


def test_a_rotation_under_way_what_somebody_else_wrote_and_a_secret_that_is_gone_are_refused(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    version = sm.put_aside(NAME, "{}", stage="AWSPENDING")
    assert refusal(pk).message == LAYOUT_ROTATES(name=NAME)
    sm.sm.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=version
    )

    # What somebody else wrote is not passed off as ours.
    change_in_aws(sm, password="example-by-hand")
    assert refusal(pk).message == LAYOUT_DIFFERS(name=NAME)
    # A save of a purged client overwrites what is ours with the rows' own fields, and refuses to with what is not.
    ClientMigration.objects.update(phase=Phase.PURGED)
    assert refusal(pk).message == LAYOUT_FOREIGN(name=NAME)
    ClientMigration.objects.update(phase=Phase.AWS)

    sm.schedule_deletion(NAME)
    gone = refusal(pk)
    assert gone.message.key == LAYOUT_UNREAD.key
    assert own(pk).other_secrets == ""


def test_a_write_in_the_very_moment_of_the_switch_is_told(sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    former = layouts._switch

    def switch(*args, **options):
        change_in_aws(sm, password="by-hand")
        former(*args, **options)

    monkeypatch.setattr(layouts, "_switch", switch)
    changed = change_layout(client_id=pk, layout=Layout.SERVICE)
    assert LAYOUT_WRITTEN_LATE.key in changed.message.codes
    assert NAME in str(changed.message)


def test_a_client_that_somebody_works_on_or_writes_meanwhile_keeps_its_layout(sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    monkeypatch.setattr(layouts, "LOCK_WAIT_SECONDS", 0)
    with held_elsewhere(LeaseKind.CLIENT, pk):
        busy = refusal(pk)
    assert busy.error_class == ErrorClass.UNAVAILABLE
    prepare = layouts._prepare_secrets

    def prepare_slowly(*args, **options):
        pending = prepare(*args, **options)
        change_in_aws(sm, password="example-by-hand")
        return pending

    monkeypatch.setattr(layouts, "_prepare_secrets", prepare_slowly)
    assert refusal(pk).message == LAYOUT_WRITTEN_MEANWHILE()


def test_a_client_gets_its_layout_with_its_first_secret_and_keeps_it(sm, settings, reader):
    pk, other = make_full_client("idom"), make_full_client("other")
    empty = make_client("empty")
    push(client_ids=[pk])
    assert own(pk).layout == "client"

    settings.NOVA_SECRET_LAYOUT = "service"

    write_password(pk, "example-new")
    push(client_ids=[pk, other])
    assert held(sm, NAME) == "example-new"
    assert own(other).layout == "service"
    # One without a secret is only told.
    told = change_layout(client_id=empty, layout=Layout.CLIENT)
    assert told.message.key == LAYOUT_WITHOUT_SECRET.key
    assert (own(empty).layout, own(empty).other_secrets) == ("client", "")
    again = change_layout(client_id=pk, layout=Layout.CLIENT)
    assert (again.outcome, again.message) == (Outcome.UNCHANGED, LAYOUT_IS_SO())
