"""An offboarding that was killed or hindered: the workers finish it; until then the dashboard and the list name it."""

import pytest
from django.urls import reverse

from migration import tasks
from migration.clients.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
    resume_offboarding,
)
from migration.core import aws_store
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.clients import OffboardingState
from migration.core.leases import hold_client_locks
from migration.models import AuditEvent, Offboarding
from nova_credentials.phases import Phase
from tests.factories import make_in_role, make_user
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    deactivate,
    is_scheduled,
    make_inactive,
    rows_of,
)
from tests.migration.clients.offboarding.killed import perform_and_kill, perform_and_list
from tests.migration.moves.clients import NAME, phase_of
from tests.page_forms import pages_left_out


def test_an_interrupted_one_is_named_waits_while_hindered_and_is_finished_by_the_workers(
    client, monkeypatch
):
    pk, eva = make_inactive(Phase.AWS), make_in_role("eva", "Administrator")
    sm = aws_store.secrets_manager(interactive=True)
    with monkeypatch.context() as patched:
        # AWS answers nothing about deletions.
        patched.setattr(sm, "schedule_deletion", lambda arn, days: sm.get_value(f"{NAME} \0"))
        with pytest.raises(OffboardingError):
            offboard_client(client_id=pk, reason="CHG-7", by=make_user("ada"))
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.PURGED, False)
    client.force_login(eva)
    clients = reverse("admin:credentials_client_changelist")

    def listed(choice: str) -> list[int]:
        with pages_left_out():
            found = client.get(f"{clients}?active={choice}").context_data["cl"].queryset
        return [row.pk for row in found]

    activate(pk)
    tasks.go_on_with_offboardings()
    assert not is_scheduled(NAME)
    with pytest.raises(OffboardingError, match="The client is active"):
        resume_offboarding(client_id=pk)
    dashboard = client.get(reverse("admin:index")).content.decode()
    assert "Offboarding or bringing back 1 client was interrupted" in dashboard
    assert "?active=interrupted" in dashboard
    assert (listed("interrupted"), listed("left")) == ([pk], [])
    page = client.get(reverse("admin:credentials_client_leaving", args=[pk])).content.decode()
    assert "Nothing is lost: offboard it again to go on." in page
    assert "?question=back" in page
    deactivate(pk)
    stop_aws_writes(reason="CHG-9", by=eva)
    tasks.go_on_with_offboardings()
    assert not is_scheduled(NAME)
    start_aws_writes(by=eva)

    tasks.go_on_with_offboardings()

    leaving = Offboarding.objects.get()
    assert (leaving.state, leaving.reason) == (OffboardingState.OFFBOARDED, "CHG-7")
    assert is_scheduled(NAME)
    newest = AuditEvent.objects.filter(code="offboarding").latest("pk")
    assert (newest.who, newest.message.key) == ("ada", "offboarded")
    tasks.go_on_with_offboardings()
    assert AuditEvent.objects.filter(code="offboarding").latest("pk") == newest
    assert (listed("interrupted"), listed("left")) == ([], [pk])

    # One that comes back is left to people.
    with monkeypatch.context() as patched:
        patched.setattr(sm, "restore_secret", lambda name: sm.get_value(f"{name} \0"))
        with pytest.raises(OffboardingError):
            bring_back_as_inactive(client_id=pk, reason="CHG-8")
    tasks.go_on_with_offboardings()
    assert Offboarding.objects.get().state == OffboardingState.COMING_BACK
    assert Offboarding.objects.unfinished().count() == 1
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert rows_of(pk) == PASSWORDS


def test_killed_anywhere_after_its_rows_were_purged_the_workers_finish_it():
    pk = make_inactive(Phase.DUAL_READ)
    points = perform_and_list("offboard", pk)
    bring_back_as_inactive(client_id=pk, reason="CHG-8")

    for at in range(len(points)):
        perform_and_kill("offboard", pk, at)
        begun = Offboarding.objects.first()
        with hold_client_locks([pk], wait_seconds=30) as held:
            assert held  # the killed process' lease is free
        tasks.go_on_with_offboardings()
        # Before its values are in AWS alone nothing was begun, and nothing is gone on with.
        assert bool(is_scheduled(NAME)) == bool(begun)
        if begun:
            assert Offboarding.objects.get().state == OffboardingState.OFFBOARDED
            bring_back_as_inactive(client_id=pk, reason="CHG-8")
        assert (phase_of(pk), rows_of(pk)) == (Phase.DUAL_READ, PASSWORDS)
