"""What keeps a client in its layout: told with its class, and nothing of it is read that was written up to there."""

import json
from contextlib import contextmanager

import pytest

from credentials.models import Client
from credentials.models.clients import NOVA_IS_WRITING
from migration.core.sentences import CLIENT_LEFT_ALONE, IS_OFFBOARDED
from migration.logins.models import ROTATION_UNDER_WAY
from migration.models import ClientMigration, Offboarding, PlannedVersion, Rotation, Secret
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from migration.secrets import layouts
from migration.secrets.layouts import LAYOUT_WRITTEN_MEANWHILE, LayoutRefusedError, change_layout
from nova_credentials import sentences as shared
from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import MAX_NAME, Layout
from nova_credentials.phases import Phase
from tests.factories import (
    make_client,
    make_database,
    make_email,
    make_full_client,
    nova_connected,
    write_uncommitted,
)
from tests.migration.moves.clients import (
    NAME,
    change_in_aws,
    document,
    enter_phase,
    is_pending,
    write_password,
)
from tests.migration.nova.tables.conftest import execute
from tests.migration.nova.tables.test_columns import RENAME
from tests.migration.pushes.pushed import make_own_secret
from tests.migration.secrets.layouts.test_change import (
    SERVICES,
    begin_and_die,
    held,
    own,
    pointers,
    refusal,
)

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def idom() -> int:
    """A client that writes both stores."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    return pk


@pytest.fixture
def fail_in_aws(monkeypatch):
    """Has AWS deny a call."""

    def fail(method: str, operation: str) -> None:
        def deny(*_, **__):
            raise SecretsManagerError.from_code("AccessDeniedException", operation, NAME)

        monkeypatch.setattr(SecretsManager, method, deny)

    return fail


@pytest.fixture
def once_written(monkeypatch):
    """Has something done when the new secrets are written, and not the client's own yet."""
    prepare = layouts._prepare_secrets

    def set_act(act) -> None:
        def prepare_and_act(*args, **options):
            pending = prepare(*args, **options)
            act()
            return pending

        monkeypatch.setattr(layouts, "_prepare_secrets", prepare_and_act)

    return set_act


@pytest.mark.parametrize(("asked", "is_page"), [({}, True), ({"interactive": False}, False)])
def test_it_waits_five_seconds_for_a_busy_client_and_only_a_worker_is_patient_with_aws(
    monkeypatch, asked, is_page
):
    waits, managers = [], []
    make_manager = layouts.secrets_manager

    @contextmanager
    def hold(client_ids, *, wait_seconds):
        waits.append(wait_seconds)
        yield set(client_ids)

    def note_manager(*, interactive):
        managers.append(interactive)
        return make_manager(interactive=interactive)

    monkeypatch.setattr(layouts, "hold_client_locks", hold)
    monkeypatch.setattr(layouts, "secrets_manager", note_manager)

    change_layout(client_id=make_client("empty"), layout=Layout.SERVICE, **asked)

    assert (waits, managers) == ([5], [is_page])


def test_a_column_that_nova_renamed_is_told_as_such(idom):
    execute(RENAME[0])
    try:
        assert refusal(idom).error_class == ErrorClass.SCHEMA
    finally:
        execute(RENAME[1])


def test_a_client_that_leaves_keeps_its_layout(idom):
    Offboarding.objects.create(client_id=idom, slug="idom", former_phase=Phase.DUAL_WRITE)

    assert refusal(idom).message == IS_OFFBOARDED(slug="idom")


def test_a_client_that_has_the_layout_of_the_settings_keeps_it_when_they_change(settings):
    pk = make_client("empty")
    assert change_layout(client_id=pk, layout=Layout.CLIENT).outcome == Outcome.UNCHANGED

    settings.NOVA_SECRET_LAYOUT = "service"

    assert own(pk).layout == "client"


def test_rows_that_nova_is_writing_keep_their_pointers(monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    before = pointers(pk)
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0)

    with nova_connected() as nova:
        write_uncommitted(nova, pk)
        refused = refusal(pk)

    assert refused.message == NOVA_IS_WRITING()
    assert refused.error_class == ErrorClass.UNAVAILABLE  # a run tries it again

    assert pointers(pk) == before
    assert set(Secret.objects.values_list("name", flat=True)) == {NAME}


def test_a_secret_that_can_not_be_read_is_taken_for_none_in_no_phase(sm, settings):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    sm.put_value(NAME, "no document")
    odd = refusal(pk)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    silent = refusal(pk)

    assert (odd.message.key, odd.error_class) == ("layout_unread", ErrorClass.DATA)
    assert (silent.message.key, silent.error_class) == ("layout_unread", ErrorClass.UNAVAILABLE)


def test_a_rotation_is_waited_for(idom):
    Rotation.objects.begin(Client.objects.get(pk=idom), "database", None, by=None)

    assert refusal(idom).message.key == ROTATION_UNDER_WAY.key


def test_a_secret_whose_stages_aws_does_not_tell_may_be_under_rotation(idom, fail_in_aws):
    fail_in_aws("describe_secret", "DescribeSecret")

    refused = refusal(idom)

    assert (refused.message.key, refused.error_class) == ("layout_unread", ErrorClass.PERMISSION)


def test_what_somebody_else_wrote_is_copied_if_it_is_what_the_rows_hold(idom, sm):
    sm.put_value(NAME, json.dumps(document(idom)))

    assert change_layout(client_id=idom, layout=Layout.SERVICE).outcome == Outcome.UPDATED


def test_a_version_that_a_push_found_equal_is_copied_though_the_rows_have_gone_on(idom, sm):
    sm.put_value(NAME, json.dumps(document(idom)))
    assert push(client_ids=[idom])[0].outcome == Outcome.UNCHANGED
    before = held(sm, NAME)
    write_password(idom, "example-new")

    assert change_layout(client_id=idom, layout=Layout.SERVICE).outcome == Outcome.UPDATED

    assert held(sm, SERVICES[0]) == before
    assert is_pending(idom)


def test_what_is_too_large_for_one_secret_stays_in_several(sm, settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_client("idom")
    make_database(pk, db_password_encrypted="x" * 40_000)
    make_email(pk, email_password_encrypted="y" * 40_000)
    push(client_ids=[pk])

    with pytest.raises(LayoutRefusedError) as refused:
        change_layout(client_id=pk, layout=Layout.CLIENT)

    assert refused.value.message.key == shared.SECRET_TOO_LARGE.key
    assert refused.value.error_class == ErrorClass.DATA
    assert (own(pk).layout, own(pk).other_secrets) == ("service", "")
    assert sm.batch_get([NAME])[NAME].not_found


def test_a_name_that_is_too_long_for_a_secret_of_each_service_is_told(settings):
    settings.NOVA_SECRET_PREFIX = "x" * (MAX_NAME - len("/idom"))
    pk = make_full_client("idom")
    push(client_ids=[pk])

    refused = refusal(pk)

    assert (refused.message.key, refused.error_class) == ("name_too_long", ErrorClass.DATA)


def test_what_belongs_into_no_secret_of_a_service_is_told(sm):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    sm.put_value(NAME, json.dumps(document(pk) | {"note": "by hand"}))

    refused = refusal(pk)

    assert refused.message == shared.KEY_OF_NO_SECRET()
    assert refused.error_class == ErrorClass.DATA


@pytest.mark.parametrize(("is_scheduled", "begun"), [(False, ""), (True, "begun")])
def test_what_somebody_else_wrote_to_a_new_secret_of_ours_is_not_overwritten(
    idom, sm, is_scheduled, begun
):
    version = make_own_secret(sm, SERVICES[0], '{"database": {}}', idom)
    if is_scheduled:
        sm.schedule_deletion(SERVICES[0])

    assert refusal(idom).message == CLIENT_LEFT_ALONE(name=SERVICES[0], version=version)

    assert sm.get_value(SERVICES[0]).version_id == version
    assert own(idom).other_secrets == begun


def test_the_versions_of_a_change_that_was_killed_are_known_for_ours(idom, sm, monkeypatch):
    begin_and_die(idom, monkeypatch)

    written = {sm.get_value(name).version_id for name in SERVICES}
    assert written <= set(PlannedVersion.objects.values_list("pk", flat=True))


def test_new_secrets_that_aws_does_not_take_are_told_with_its_error(idom, fail_in_aws):
    fail_in_aws("create_secret", "CreateSecret")

    refused = refusal(idom)

    assert (refused.message.key, refused.error_class) == ("layout_unwritten", ErrorClass.PERMISSION)


def test_a_new_secret_that_is_overwritten_at_once_is_not_read(idom, sm, once_written):
    once_written(lambda: change_in_aws(sm, SERVICES[0], password="by-hand"))

    assert refusal(idom).message == LAYOUT_WRITTEN_MEANWHILE()


def test_a_new_secret_that_can_not_be_read_back_is_told(idom, sm, once_written):
    once_written(lambda: sm.schedule_deletion(SERVICES[2]))

    refused = refusal(idom)

    assert (refused.message.key, refused.error_class) == ("layout_unread", ErrorClass.CONFLICT)


def test_a_client_whose_phase_was_changed_past_the_lock_keeps_its_layout(idom, once_written):
    once_written(lambda: ClientMigration.objects.update(phase=Phase.DUAL_READ))

    assert refusal(idom).message == LAYOUT_WRITTEN_MEANWHILE()
    assert set(Secret.objects.values_list("name", flat=True)) == {NAME}
