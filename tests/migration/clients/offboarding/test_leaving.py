"""A client leaves in each phase and comes back: what the stores hold, and what NOVA's reader says."""

import pytest

from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core.clients import OffboardingState
from migration.models import AuditEvent, Offboarding, PhaseChange, WaveClient
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.campaigns.taken import begin, make_group, put
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    ask_reader,
    is_scheduled,
    make_inactive,
    rows_of,
)
from tests.migration.moves.clients import LINE, NAME, is_pending, phase_of

POINTER = f"aws-secretsmanager:{NAME}"


@pytest.mark.parametrize("phase", Phase)
def test_a_client_leaves_and_comes_back_to_the_phase_it_left(phase):
    pk = make_inactive(phase)

    said = offboard_client(client_id=pk, reason="CHG-7")

    assert f"{NAME} will be deleted on " in str(said)
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.PURGED, True)
    assert set(rows_of(pk).values()) == {POINTER}
    leaving = Offboarding.objects.get()
    assert (leaving.state, leaving.former_phase) == (OffboardingState.OFFBOARDED, phase)
    assert leaving.deletions.keys() == {NAME}

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


@pytest.mark.parametrize("is_taken", [True, False], ids=["taken by a wave", "waits for its wave"])
def test_a_campaign_tells_that_it_goes_on_without_it(is_taken):
    pk = make_inactive(Phase.DUAL_READ)
    campaign = begin(make_group("north", 1, Phase.DUAL_READ), put("south", pk))
    if is_taken:
        WaveClient.objects.create(
            wave=campaign.waves.get(group_name="south"), client_id=pk, slug="idom"
        )

    offboard_client(client_id=pk, reason="CHG-7", by=make_user("maria"))

    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", slug="").latest("pk")
    assert (told.message.key, told.who) == ("goes_on_without_offboarded", "maria")
    assert told.message.values["slug"] == "idom"


@pytest.mark.parametrize("phase", Phase)
def test_the_reader_says_that_an_offboarded_client_is_inactive(phase):
    pk = make_inactive(phase)
    offboard_client(client_id=pk, reason="CHG-7")

    refused = ask_reader()

    assert isinstance(refused, ValueError)
    assert str(refused) == "Client 'idom' not found or inactive"


@pytest.mark.parametrize("phase", Phase)
def test_where_nova_makes_it_active_all_the_same_its_reader_gets_an_error_and_no_pointer(phase):
    pk = make_inactive(phase)
    offboard_client(client_id=pk, reason="CHG-7")
    activate(pk)

    for kind in ("database", "email", "aws"):
        refused = ask_reader(kind=kind)
        assert isinstance(refused, Exception)
        assert NAME in str(refused)


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.AWS])
def test_each_step_of_the_way_is_on_record(phase):
    pk = make_inactive(phase)
    before = PhaseChange.objects.filter(client_id=pk).count()

    offboard_client(client_id=pk, reason="CHG-7")
    bring_back_as_inactive(client_id=pk, reason="CHG-8")

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
