"""An offboarding, or the way back, is killed at each of its points: nothing is lost, and doing it again ends it."""

import threading
from itertools import zip_longest

import pytest
from django.db import connection

from migration.clients.offboarding import OffboardingError, bring_back_as_inactive, offboard_client
from migration.core.clients import OffboardingState
from migration.models import Offboarding
from migration.secrets.layouts import change_layout
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    ask_reader,
    deactivate,
    is_scheduled,
    make_inactive,
    rows_of,
)
from tests.migration.clients.offboarding.killed import (
    do_again,
    perform_and_kill,
    perform_and_list,
)
from tests.migration.moves.clients import NAME, enter_phase, phase_of

NAMES = [f"{NAME}/{kind}" for kind in PASSWORDS]


def make_with_services(phase: Phase) -> int:
    """An inactive client with a secret for each service, so that several are scheduled one after the other."""
    pk = make_full_client("idom")
    change_layout(client_id=pk, layout=Layout.SERVICE)
    enter_phase(pk, phase)
    deactivate(pk)
    return pk


NIGHTLY = [
    pytest.param(phase, marks=pytest.mark.nightly) for phase in (Phase.POSTGRES, Phase.DUAL_READ)
]


@pytest.mark.parametrize("phase", [Phase.AWS, *NIGHTLY])
def test_killed_anywhere_it_is_finished_by_doing_it_again(phase):
    pk = make_with_services(phase)
    way_out = perform_and_list("offboard", pk)
    way_back = perform_and_list("back", pk)
    assert way_out.count("DeleteSecret") == way_back.count("RestoreSecret") == 3

    def list_kills(points: list[str]) -> list[int]:
        """At night at each. What is a statement for itself is of leases, most often."""
        return [at for at, name in enumerate(points) if phase != Phase.AWS or name != "statement"]

    for out, back in zip_longest(list_kills(way_out), list_kills(way_back), fillvalue=-1):
        if perform_and_kill("offboard", pk, out):
            assert isinstance(ask_reader(), ValueError)
            do_again("offboard", pk)
        assert [is_scheduled(name) for name in NAMES] == [True] * 3
        assert Offboarding.objects.get().state == OffboardingState.OFFBOARDED
        assert Offboarding.objects.get().deletions.keys() == {*NAMES}
        if perform_and_kill("back", pk, back):
            assert isinstance(ask_reader(), ValueError)
            do_again("back", pk)
        assert [is_scheduled(name) for name in NAMES] == [False] * 3
        assert (phase_of(pk), rows_of(pk)) == (phase, PASSWORDS)


def test_killed_on_the_way_out_it_can_come_back_instead_and_killed_on_the_way_back_leave_again():
    pk = make_with_services(Phase.AWS)
    points = perform_and_list("offboard", pk)
    back = perform_and_list("back", pk)
    # After the first of three and the last.
    for at in [at for at, name in enumerate(back) if name == "RestoreSecret"][::2]:
        offboard_client(client_id=pk, reason="CHG-7")
        assert perform_and_kill("back", pk, at)
        do_again("offboard", pk)
        assert [is_scheduled(name) for name in NAMES] == [True] * 3
        do_again("back", pk)
    for at in [at for at, name in enumerate(points) if name == "DeleteSecret"][::2]:
        assert perform_and_kill("offboard", pk, at)
        do_again("back", pk)
        assert [is_scheduled(name) for name in NAMES] == [False] * 3
        assert (phase_of(pk), rows_of(pk)) == (Phase.AWS, PASSWORDS)
    activate(pk)
    assert ask_reader().db_password == PASSWORDS["database"]


def perform_at_once(*acts) -> list[str]:
    """Perform the acts in threads that begin together; return what each says, or why it refuses."""
    answers, begin = [], threading.Barrier(len(acts))

    def perform(act) -> None:
        begin.wait()
        try:
            answers.append(str(act()))
        except OffboardingError as refusal:
            answers.append(f"refused: {refusal}")
        finally:
            connection.close()

    threads = [threading.Thread(target=perform, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


def test_of_two_who_offboard_at_once_one_succeeds_and_the_other_is_told():
    pk = make_inactive(Phase.AWS)
    act = lambda: offboard_client(client_id=pk, reason="CHG-7")  # noqa: E731

    answers = perform_at_once(act, act)

    assert answers[0].startswith(f"{NAME} will be deleted on")
    assert answers[1] == "refused: idom is already offboarded."
    assert is_scheduled(NAME)
    assert set(rows_of(pk).values()) == {f"aws-secretsmanager:{NAME}"}


def test_whoever_offboards_while_somebody_brings_back_both_end_whole():
    pk = make_inactive(Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")

    perform_at_once(
        lambda: offboard_client(client_id=pk, reason="CHG-7"),
        lambda: bring_back_as_inactive(client_id=pk, reason="CHG-8"),
    )

    leaving = Offboarding.objects.filter(pk=pk).first()
    if leaving:
        assert (leaving.state, is_scheduled(NAME)) == (OffboardingState.OFFBOARDED, True)
        bring_back_as_inactive(client_id=pk, reason="CHG-9")
    assert (is_scheduled(NAME), rows_of(pk)) == (False, PASSWORDS)
