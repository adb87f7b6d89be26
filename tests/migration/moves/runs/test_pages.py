"""The page of a run of moves shows and steers it."""

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from migration.models import ClientMigration
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_user
from tests.migration.moves.clients import phase_of, write_password
from tests.migration.moves.runs.moved import make_clients, start
from tests.migration.pages import text

MOVE, OVERRIDE, APPROVE = (
    "migration.move_client",
    "migration.override_gate",
    "migration.approve_move",
)
SEE, RUN = "migration.view_run", "migration.add_run"


@pytest.fixture
def log_in(client):
    def log_in(name: str, *permissions: str):
        user = make_user(name, *VIEW, SEE, *permissions)
        client.force_login(user)
        return user

    return log_in


def said_on(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def page_of(run: Run) -> str:
    return reverse("admin:migration_run_change", args=[run.pk])


def press(client, run: Run, button: str, **data: str):
    if button == "approve":
        # As the page that is opened now would send it.
        data = {"shown": str(run.read_request()), **data}
    return client.post(reverse(f"admin:migration_run_{button}", args=[run.pk]), data)


def test_the_page_of_a_run_lists_who_was_refused_with_the_reasons(client, log_in):
    log_in("operator", MOVE, RUN)
    pks = make_clients(2, Phase.DUAL_READ)
    write_password(pks[1], "example-new")
    run = start(Phase.DUAL_READ, Phase.AWS, reason="INC-42")
    engine.work_on_run(run_id=run.pk)

    html = client.get(page_of(run) + "?items=refused").content.decode()

    assert "A push is pending" in html
    assert "Retry refused clients" in html
    assert "INC-42" in html


def test_who_may_not_make_the_move_has_nobody_moved_again(client, log_in):
    log_in("runner", RUN)
    (pk,) = make_clients(1, Phase.DUAL_READ)
    write_password(pk, "example-new")
    run = start(Phase.DUAL_READ, Phase.AWS)
    engine.work_on_run(run_id=run.pk)

    assert "Retry" not in client.get(page_of(run)).content.decode()
    assert press(client, run, "steer", order="retry").status_code == 403


def test_a_requested_run_is_approved_on_its_page_by_somebody_else(client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = log_in("maria", MOVE, APPROVE)
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")
    html = client.get(page_of(run)).content.decode()
    assert "Withdraw the request" in html
    assert "Approve the run" not in html
    assert "has to" in said_on(press(client, run, "approve"))

    log_in("ana", APPROVE)
    assert "Approve the run" in client.get(page_of(run)).content.decode()
    press(client, run, "approve")

    run.refresh_from_db()
    assert (run.state, run.approved_by_name) == (Run.State.RUNNING, "ana")
    engine.work_on_run(run_id=run.pk)
    assert phase_of(pks[0]) == Phase.AWS
    assert "Approved by ana" in client.get(page_of(run)).content.decode()


def test_who_neither_requested_nor_approves_cancels_nothing(client, log_in, settings, maria):
    settings.NOVA_REQUIRE_APPROVAL = True
    make_clients(1, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")
    log_in("operator", MOVE, RUN)

    assert press(client, run, "cancel").status_code == 403
    log_in("ana", APPROVE)
    assert press(client, run, "cancel").status_code == 302

    run.refresh_from_db()
    assert run.state == Run.State.STOPPED


def test_the_page_says_for_how_many_evidence_was_overridden(client, log_in):
    user = log_in("operator", MOVE, OVERRIDE)
    pks = make_clients(2, Phase.DUAL_READ)
    ClientMigration.objects.filter(pk__in=pks).update(clean_streak=0)
    run = start(
        Phase.DUAL_READ, Phase.AWS, by=user, override_reason="INC-42", override_lines=["streak"]
    )
    engine.work_on_run(run_id=run.pk)

    page = client.get(page_of(run))

    assert {phase_of(pk) for pk in pks} == {Phase.AWS}
    assert "matching comparisons: overridden for 2 clients" in text(page)
