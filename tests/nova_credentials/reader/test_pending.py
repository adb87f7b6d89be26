"""What a reader finds of the secrets that a rotation is about to make current."""

import logging
import threading
import time

import pytest

from migration.models import ClientMigration
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import routing
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring, stand
from tests.nova_credentials.reader.questions import POSTGRES_ALONE, put_pending

WRITTEN = [Phase.DUAL_WRITE, Phase.AWS]  # with and without the tables as the authority


def list_pending(reader):
    return reader.list_awspending_credentials("idom", CredentialType.DATABASE)


@pytest.mark.parametrize("phase", WRITTEN)
def test_outside_a_rotation_nothing_is_pending(reader, phase):
    bring(make_full_client("idom"), phase)
    reader.get_primary_credentials("idom")

    assert list_pending(reader) == ()


def test_of_a_client_that_was_never_read_nothing_is_pending(reader, sm):
    bring(make_full_client("idom"), Phase.AWS)
    put_pending(sm, Layout.CLIENT, "example-b")

    assert list_pending(reader) == ()


@pytest.mark.parametrize("phase", WRITTEN)
@pytest.mark.parametrize("text", ["no JSON", '{"database": 1}'])
def test_a_pending_secret_that_is_no_document_is_left_alone(reader, sm, phase, text):
    bring(make_full_client("idom"), phase)
    sm.put_aside("nova/clients/idom", text, stage="AWSPENDING")
    reader.get_primary_credentials("idom")

    assert list_pending(reader) == ()


@pytest.mark.parametrize(
    ("own", "of_the_environment"), [(Layout.SERVICE, Layout.CLIENT), (None, Layout.CLIENT)]
)
def test_it_is_looked_for_in_the_clients_own_layout_or_else_in_the_environments(
    make_reader, settings, sm, own, of_the_environment
):
    settings.NOVA_SECRET_LAYOUT = layout = own or of_the_environment
    bring(make_full_client("idom"), Phase.AWS)
    ClientMigration.objects.update(layout=own)
    put_pending(sm, layout, "example-b")
    reader = make_reader(layout=of_the_environment, timeout=30)
    reader.get_primary_credentials("idom")

    (found,) = list_pending(reader)
    assert found.db_password == "example-b"


@pytest.mark.parametrize("phase", POSTGRES_ALONE)
def test_before_cutover_nobody_waits_for_an_aws_that_hangs(make_reader, monkeypatch, caplog, phase):
    """NOVA may be without AWS yet."""
    caplog.set_level(logging.DEBUG, "nova_credentials")
    stand(make_full_client("idom"), phase)
    reader, let_go = make_reader(timeout=0.05), threading.Event()
    reader.get_primary_credentials("idom")
    monkeypatch.setattr(reader._aws, "read_pending", lambda *_: let_go.wait(20))
    monkeypatch.setattr(routing, "ROTATION_ENDS_IN_SECONDS", 0)

    began = time.monotonic()
    assert list_pending(reader) == ()
    assert time.monotonic() - began < 10
    let_go.set()
    assert "No pending secret was read: TimeoutError" in caplog.messages
