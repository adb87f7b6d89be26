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
    is_scheduled,
    make_inactive,
    rows_of,
)
from tests.migration.clients.offboarding.killed import perform_and_kill, perform_and_list
from tests.migration.moves.clients import NAME, phase_of


def interrupt(pk: int, monkeypatch) -> None:
    """Offboard while AWS answers nothing about deletions."""
    sm = aws_store.secrets_manager(interactive=True)
    with monkeypatch.context() as patched:
        patched.setattr(sm, "schedule_deletion", lambda arn, days: sm.get_value(f"{NAME} \0"))
        with pytest.raises(OffboardingError):
            offboard_client(client_id=pk, reason="CHG-7", by=make_user("ada"))
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.PURGED, False)


def test_the_workers_finish_it_in_the_name_of_who_began_it(monkeypatch):
    pk = make_inactive(Phase.AWS)
    interrupt(pk, monkeypatch)

    tasks.go_on_with_offboardings()

    leaving = Offboarding.objects.get()
    assert (leaving.state, leaving.reason) == (OffboardingState.OFFBOARDED, "CHG-7")
    assert is_scheduled(NAME)
    newest = AuditEvent.objects.filter(code="offboarding").latest("pk")
    assert (newest.who, newest.message.key) == ("ada", "offboarded")
    tasks.go_on_with_offboardings()
    assert AuditEvent.objects.filter(code="offboarding").latest("pk") == newest
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


def test_what_is_hindered_waits_and_is_named(client, monkeypatch):
    pk = make_inactive(Phase.AWS)
    interrupt(pk, monkeypatch)
    activate(pk)
    client.force_login(make_in_role("eva", "Administrator"))

    tasks.go_on_with_offboardings()

    assert not is_scheduled(NAME)
    with pytest.raises(OffboardingError, match="The client is active"):
        resume_offboarding(client_id=pk)
    dashboard = client.get(reverse("admin:index")).content.decode()
    assert "Offboarding or bringing back 1 client was interrupted" in dashboard
    assert "?active=interrupted" in dashboard
    clients = reverse("admin:credentials_client_changelist")
    assert "idom" in client.get(f"{clients}?active=interrupted").content.decode()
    page = client.get(reverse("admin:credentials_client_leaving", args=[pk])).content.decode()
    assert "Nothing is lost: offboard it again to go on." in page
    assert "?question=back" in page


def test_while_somebody_works_on_the_client_or_aws_writes_are_stopped_it_waits(monkeypatch):
    pk = make_inactive(Phase.AWS)
    interrupt(pk, monkeypatch)
    ada = make_user("eva")
    stop_aws_writes(reason="CHG-9", by=ada)
    tasks.go_on_with_offboardings()
    assert not is_scheduled(NAME)

    start_aws_writes(by=ada)
    assert resume_offboarding(client_id=pk) is not None
    assert is_scheduled(NAME)


def test_a_client_that_comes_back_is_left_to_people(monkeypatch):
    pk = make_inactive(Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")
    sm = aws_store.secrets_manager(interactive=True)
    with monkeypatch.context() as patched:
        patched.setattr(sm, "restore_secret", lambda name: sm.get_value(f"{name} \0"))
        with pytest.raises(OffboardingError):
            bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert Offboarding.objects.get().state == OffboardingState.COMING_BACK

    tasks.go_on_with_offboardings()

    assert Offboarding.objects.get().state == OffboardingState.COMING_BACK
    assert Offboarding.objects.unfinished().count() == 1


def test_what_left_wholly_is_another_choice_of_the_list(client):
    pk = make_inactive(Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")
    client.force_login(make_in_role("eva", "Viewer"))
    clients = reverse("admin:credentials_client_changelist")

    left = client.get(f"{clients}?active=left").context["cl"].queryset
    interrupted = client.get(f"{clients}?active=interrupted").context["cl"].queryset

    assert [row.pk for row in left] == [pk]
    assert not interrupted
