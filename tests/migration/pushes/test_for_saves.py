"""What a save that waits for AWS writes there: in the audit, known as pushed, and nothing that it may not."""

import pytest
from django.db import transaction

from migration.core.audit import PUSH_EVENT
from migration.core.sentences import NOT_OURS
from migration.core.snapshots import read_snapshot
from migration.models import AuditEvent, Secret
from migration.pushes import pushes
from migration.pushes.pushes import SECRETS_PUSHED, WRITTEN_VERSION, write_document
from migration.pushes.secret_writer import RefusedBySiteError
from nova_credentials import sentences as shared
from nova_credentials.document import MAX_BYTES
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import NAME, enter_phase
from tests.migration.pushes.pushed import stored


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


def save(pk: int, **changes: str) -> None:
    snapshot = read_snapshot(pk)
    with transaction.atomic():
        write_document(snapshot, document=snapshot.require_document() | changes)


def test_its_version_is_in_the_audit_and_known_as_pushed(idom, sm):
    save(idom, client_name="Other")

    value = sm.get_value(NAME)
    assert stored(sm, "idom")["client_name"] == "Other"
    assert Secret.objects.get().version_id == value.version_id
    written = WRITTEN_VERSION(name=NAME, version=value.version_id[:8])
    event = AuditEvent.objects.filter(code=PUSH_EVENT).first()
    assert event.message == SECRETS_PUSHED(secrets=(written,))


def test_what_fits_into_no_secret_is_not_sent(idom, monkeypatch):
    monkeypatch.setattr(pushes, "secrets_manager", None)

    with pytest.raises(RefusedBySiteError) as refused:
        save(idom, client_name="x" * MAX_BYTES)

    assert refused.value.message.key == shared.SECRET_TOO_LARGE.key


def test_a_secret_that_somebody_made_anew_is_not_adopted(idom, sm):
    text = sm.get_value(NAME).text
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    sm.sm.create_secret(Name=NAME, SecretString=text)

    with pytest.raises(RefusedBySiteError) as refused:
        save(idom)

    assert NOT_OURS(name=NAME) in refused.value.message.parts


def test_a_page_that_waits_gives_up_early(idom, monkeypatch):
    make_manager, asked = pushes.secrets_manager, []

    def note_manager(*, interactive):
        asked.append(interactive)
        return make_manager(interactive=interactive)

    monkeypatch.setattr(pushes, "secrets_manager", note_manager)

    save(idom)

    assert asked == [True]
