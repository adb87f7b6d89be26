"""A client leaves in each phase and comes back: what the stores hold, and what NOVA's reader says."""

import pytest

from credentials.models import Client
from migration.clients.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
    set_activity,
)
from migration.core.clients import OffboardingState
from migration.logins.rotations import NotRotated, rotate_database
from migration.models import AuditEvent, Offboarding, PhaseChange, WaveClient
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.saves import AdminSave, SaveRefusedError
from migration.secrets.layouts import LayoutRefusedError, change_layout
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_user
from tests.migration.campaigns.taken import begin, make_group, put
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    ask_reader,
    is_scheduled,
    make_inactive,
    refusal_of,
    rows_of,
)
from tests.migration.moves.clients import LINE, NAME, is_pending, phase_of

POINTER = f"aws-secretsmanager:{NAME}"


@pytest.mark.parametrize("phase", Phase)
def test_a_client_leaves_and_comes_back_to_the_phase_it_left(phase):
    pk = make_inactive(phase)
    before = PhaseChange.objects.filter(client_id=pk).count()

    said = offboard_client(client_id=pk, reason="CHG-7")

    assert f"{NAME} will be deleted on " in str(said)
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.PURGED, True)
    assert set(rows_of(pk).values()) == {POINTER}
    leaving = Offboarding.objects.get()
    assert (leaving.state, leaving.former_phase) == (OffboardingState.OFFBOARDED, phase)
    assert leaving.deletions.keys() == {NAME}
    refused = ask_reader()
    assert isinstance(refused, ValueError)
    assert str(refused) == "Client 'idom' not found or inactive"

    said = bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert str(said).startswith("idom is back in")
    assert (phase_of(pk), is_scheduled(NAME)) == (phase, False)
    assert not Offboarding.objects.exists()
    if phase == Phase.PURGED:
        assert set(rows_of(pk).values()) == {POINTER}
    else:
        assert rows_of(pk) == PASSWORDS
        assert not is_pending(pk)
        (compared,) = compare(client_ids=[pk]).values()
        assert compared.status == "match"
    assert isinstance(ask_reader(), ValueError)
    activate(pk)
    assert ask_reader().db_password == PASSWORDS["database"]
    assert ask_reader(kind="email").email_password == PASSWORDS["email"]
    # Each step is on record.
    made = PhaseChange.objects.filter(client_id=pk).order_by("pk")[before:]
    index = LINE.index(phase)
    there = list(zip(LINE[index:], LINE[index + 1 :], strict=False))
    back = [(new, old) for old, new in reversed(there)]
    assert [(row.old, row.new) for row in made] == there + back
    assert [row.reason for row in made] == ["CHG-7"] * len(there) + ["CHG-8"] * len(back)
    told = AuditEvent.objects.filter(code="offboarding", slug="idom").order_by("pk")
    assert [str(event.message).split(".")[0] for event in told] == [
        f"Started to offboard the client, which was in {phase.label}",
        "The client is offboarded",
        "Started to bring the client back",
        f"The client is back in {phase.label}, inactive as before",
    ]


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.PURGED])
def test_nothing_else_changes_or_reads_a_client_that_left(phase):
    pk = make_inactive(phase)
    assert refusal_of(bring_back_as_inactive, pk) == "idom is not offboarded."
    offboard_client(client_id=pk, reason="CHG-7")

    with pytest.raises(ShutGate, match="is offboarded"):
        move(client_id=pk, new=Phase.AWS)
    with pytest.raises(LayoutRefusedError, match="is offboarded"):
        change_layout(client_id=pk, layout=Layout.SERVICE)
    with pytest.raises(NotRotated, match="is offboarded"):
        rotate_database(client_id=pk)
    with pytest.raises(SaveRefusedError, match="is offboarded"):
        AdminSave(pk)
    with pytest.raises(OffboardingError, match="is offboarded"):
        set_activity(client_id=pk, active=True)
    (pushed,) = push(client_ids=[pk])
    assert pushed.outcome == "skipped"
    assert "idom is already offboarded" in refusal_of(offboard_client, pk)
    assert is_scheduled(NAME)
    assert not Client.objects.get(pk=pk).is_active
    # Where NOVA makes it active all the same, its reader gets an error and no pointer.
    activate(pk)
    for kind in ("database", "email", "aws"):
        refused = ask_reader(kind=kind)
        assert isinstance(refused, Exception)
        assert NAME in str(refused)


def test_a_campaign_tells_that_it_goes_on_without_those_that_it_took_and_those_that_wait():
    taken, waits = make_inactive(Phase.DUAL_READ), make_client("acme", is_active=False)
    campaign = begin(make_group("north", 1, Phase.DUAL_READ), put("south", taken, waits))
    south = campaign.waves.get(group_name="south")
    WaveClient.objects.create(wave=south, client_id=taken, slug="idom")

    for pk, slug in ((taken, "idom"), (waits, "acme")):
        offboard_client(client_id=pk, reason="CHG-7", by=make_user(f"maria-{slug}"))

        told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", slug="")
        newest = told.latest("pk")
        assert (newest.message.key, newest.who) == ("goes_on_without_offboarded", f"maria-{slug}")
        assert newest.message.values["slug"] == slug
