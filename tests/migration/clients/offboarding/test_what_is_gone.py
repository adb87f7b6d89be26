"""What is said, and kept, of secrets that are not where an offboarding left them."""

import pytest

from migration.clients.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    find_leftovers,
    offboard_client,
)
from migration.core import aws_store
from migration.core.clients import OffboardingState
from migration.models import Offboarding
from migration.secrets.layouts import change_layout
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client, update
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    deactivate,
    is_scheduled,
    make_inactive,
    rows_of,
)
from tests.migration.moves.clients import NAME, enter_phase, phase_of


def delete_for_good(name: str) -> None:
    sm = aws_store.secrets_manager().sm
    sm.restore_secret(SecretId=name)
    sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_a_client_that_nova_renamed_gets_its_secrets_back():
    pk = make_inactive(Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")
    update("clients", pk, slug="renamed")
    assert NAME in {s.name for s in find_leftovers(client_id=pk).secrets}

    bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert is_scheduled(NAME) is False
    assert (phase_of(pk), rows_of(pk)) == (Phase.AWS, PASSWORDS)


def test_a_secret_that_somebody_else_made_under_the_name_does_not_stand_for_the_one_that_is_gone():
    pk = make_inactive(Phase.AWS)
    sm = aws_store.secrets_manager().sm
    text = sm.get_secret_value(SecretId=NAME)["SecretString"]
    offboard_client(client_id=pk, reason="CHG-7")
    delete_for_good(NAME)
    sm.create_secret(Name=NAME, SecretString=text.replace(PASSWORDS["database"], "of others"))

    with pytest.raises(OffboardingError, match="the values are gone"):
        bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert phase_of(pk) == Phase.PURGED
    assert Offboarding.objects.get().state == OffboardingState.OFFBOARDED
    assert "of others" not in rows_of(pk).values()
    assert find_leftovers(client_id=pk).secrets_lost_since_leaving == [NAME]


@pytest.mark.parametrize("way", ["out", "back"])
def test_done_again_after_the_window_it_still_says_what_is_gone(way, monkeypatch):
    pk = make_full_client("idom")
    change_layout(client_id=pk, layout=Layout.SERVICE)
    enter_phase(pk, Phase.AWS)
    deactivate(pk)
    name = f"{NAME}/database"

    def stop(*_, **__):
        raise SystemExit

    if way == "out":
        schedule, calls = SecretsManager.schedule_deletion, []

        def once(self, *args, **more):
            if calls:
                raise SystemExit
            calls.append(args)
            return schedule(self, *args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(SecretsManager, "schedule_deletion", once)
            with pytest.raises(SystemExit):
                offboard_client(client_id=pk, reason="CHG-7")
        (name,) = [n for n in (f"{NAME}/{kind}" for kind in PASSWORDS) if is_scheduled(n)]
    else:
        offboard_client(client_id=pk, reason="CHG-7")
        with monkeypatch.context() as patch:
            patch.setattr(SecretsManager, "restore_secret", stop)
            with pytest.raises(SystemExit):
                bring_back_as_inactive(client_id=pk, reason="CHG-8")
        assert Offboarding.objects.get().state == OffboardingState.COMING_BACK
    delete_for_good(name)
    with pytest.raises(OffboardingError, match="the values are gone") as refused:
        bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert [n for n in (f"{NAME}/{kind}" for kind in PASSWORDS) if n in str(refused.value)] == [
        name
    ]

    offboard_client(client_id=pk, reason="CHG-7")

    assert find_leftovers(client_id=pk).secrets_lost_since_leaving == [name]
    with pytest.raises(OffboardingError, match="the values are gone"):
        bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert is_scheduled(f"{NAME}/aws") or is_scheduled(f"{NAME}/email")
