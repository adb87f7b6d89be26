"""A run of moves whose request was withdrawn or refused never goes on; and `run resume` counts refused clients."""

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from migration.moves.approvals import approve_run, cancel_run_request
from migration.moves.rules import PUSH_PENDING
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run, WithdrawnRunError
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_user
from tests.migration.moves.clients import phase_of, write_password
from tests.migration.moves.runs.moved import make_clients, move_all, outcomes, start


@pytest.fixture
def withdrawn(maria, settings) -> Run:
    settings.NOVA_REQUIRE_APPROVAL = True
    make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")
    cancel_run_request(run_id=run.pk, by=maria)
    run.refresh_from_db()
    return run


@pytest.fixture
def operator(client):
    may = (*VIEW, "migration.view_run", "migration.add_run", "migration.move_client")
    client.force_login(make_user("operator", *may))
    return client


def is_as_it_was(run: Run) -> bool:
    run.refresh_from_db()
    return (
        run.state == Run.State.STOPPED
        and run.finished_at is not None
        and set(outcomes(run).values()) == {Outcome.SKIPPED}
        and {phase_of(pk) for pk in run.items.values_list("client", flat=True)} == {Phase.DUAL_READ}
    )


@pytest.mark.parametrize("arguments", [[], ["--inline"], ["--failed"]])
@pytest.mark.parametrize("required", [True, False])
def test_resume_run_refuses_it_with_a_sentence(withdrawn, settings, arguments, required):
    settings.NOVA_REQUIRE_APPROVAL = required

    with pytest.raises(CommandError, match="its request was withdrawn or refused") as refused:
        call_command("run", "resume", str(withdrawn.pk), *arguments)

    assert refused.value.returncode == 1
    assert is_as_it_was(withdrawn)


@pytest.mark.parametrize("order", ["go_on", "retry"])
def test_the_button_is_not_offered_and_pressed_all_the_same_it_is_refused(
    withdrawn, operator, order
):
    page = reverse("admin:migration_run_change", args=[withdrawn.pk])
    shown = operator.get(page).content.decode()
    assert "2 not started" in shown
    assert "The request was withdrawn or refused." in shown
    assert f'value="{order}"' not in shown

    response = operator.post(
        reverse("admin:migration_run_steer", args=[withdrawn.pk]), {"order": order}, follow=True
    )

    assert "its request was withdrawn or refused" in response.content.decode().replace(
        "&#x27;", "'"
    )
    assert is_as_it_was(withdrawn)


def test_nobody_makes_it_go_on_in_another_way(withdrawn, maria):
    for order in (withdrawn.reopen_never_begun, withdrawn.reopen_failed):
        with pytest.raises(WithdrawnRunError):
            order(by=maria)

    engine.work_on_run(run_id=withdrawn.pk)

    assert is_as_it_was(withdrawn)


def test_a_request_for_the_rest_that_is_withdrawn_does_not_go_on_either(maria, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    pks = make_clients(2, Phase.DUAL_READ)
    write_password(pks[1], "example-new")
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")
    engine.finish_inline(approve_run(run_id=run.pk, by=make_user("ana", "migration.approve_move")))
    run.refresh_from_db(), run.reopen_failed(by=maria)

    cancel_run_request(run_id=run.pk, by=maria)

    run.refresh_from_db()
    with pytest.raises(WithdrawnRunError):
        run.reopen_never_begun(by=maria)
    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.SKIPPED}


def test_refused_clients_are_left_and_said_and_make_it_exit_with_1(capsys):
    pks = make_clients(2, Phase.DUAL_READ)
    write_password(pks[1], "example-new")
    run = move_all(Phase.DUAL_READ, Phase.AWS)

    for arguments, said in (
        ([], "one client was refused. Retry it with --failed."),
        (["--failed"], ""),
    ):
        with pytest.raises(SystemExit) as ended:
            call_command("run", "resume", str(run.pk), "--inline", *arguments)
        assert ended.value.code == 1
        printed = capsys.readouterr()
        assert said in printed.err
        assert (
            printed.out.splitlines()[-1]
            == f"{run.pk} run, 2 clients, 1 moved, 1 refused, 1 matched"
        )
        assert str(PUSH_PENDING()) in printed.out
