"""Moves of several clients by their acts: nothing by choosing one, then what the page showed and nothing else."""

from itertools import product

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credentials.models import Client
from migration import tasks
from migration.core.clients import ClientMigration
from migration.models import PhaseChange
from migration.moves import account, acts
from migration.moves.acts import MOVE_ACTS
from migration.moves.rules import EVIDENCE
from migration.pushes.comparisons import compare
from migration.runs import act_pages, engine
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import MOVES, Move, Phase
from tests.factories import VIEW, give_evidence, make_full_client, make_many, make_user
from tests.migration.acts import (
    act_page,
    by_verdict,
    client_of,
    move_page,
    press,
    reasons_of,
    said_on,
    send,
)
from tests.migration.moves.clients import (
    enter_phase,
    enter_phase_together,
    phase_of,
    write_password,
)
from tests.migration.pages import CLIENTS, make_plan, start_plan, text

pytestmark = pytest.mark.usefixtures("stores")

MOVE, PURGE, OVERRIDE, SEE = (
    "migration.move_client",
    "migration.purge_client",
    "migration.override_gate",
    "migration.view_run",
)
CUTOVER = (Phase.DUAL_READ, Phase.AWS)


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str, name: str = "operator"):
        user = make_user(name, *VIEW, SEE, *permissions)
        client.force_login(user)
        return user

    return log_in


@pytest.fixture
def three() -> tuple[int, int, int]:
    """Two in dual read, one of them short of its streak, and one that was never touched."""
    idom, behind, untouched = (make_full_client(slug) for slug in ("idom", "behind", "untouched"))
    enter_phase_together([idom, behind], Phase.DUAL_READ)
    compare(client_ids=[idom, behind])
    ClientMigration.objects.filter(pk=behind).update(clean_streak=0, streak_counted_at=None)
    return idom, behind, untouched


def finish(run: Run) -> None:
    engine.work_on_run(run_id=run.pk)


def test_a_move_is_named_once_and_its_act_is_what_the_table_of_moves_says():
    for (old, new), act in MOVE_ACTS.items():
        # The first is the push's: its page has no other.
        assert ACTS.get(act.code) is (None if old == Phase.POSTGRES else act)
        assert (act.old, act.new) == (old, new)
        assert act.needs_typing == act.needs_reason == (act.kind in (Move.CUTOVER, Move.PURGE))
        assert act.takes_many == (act.kind != Move.PURGE)
    assert len({act.code for act in MOVE_ACTS.values()}) == len(MOVES)


# Of the review of the second release: an action of the list moved 1,293 clients at once, another put plain text back


def test_choosing_a_move_for_all_clients_writes_nothing(client, log_in, monkeypatch):
    log_in(MOVE, PURGE, OVERRIDE)
    for phase in Phase:
        make_many(4, phase=phase.value)
    before = dict(ClientMigration.objects.values_list("pk", "phase"))

    for act, few in product(MOVE_ACTS.values(), (100, 2)):
        if act.code not in ACTS:
            continue
        monkeypatch.setattr(act_pages, "FEW_CLIENTS", few)
        chosen = {"action": act.code, "select_across": "1", "_selected_action": [0]}
        answer = client.post(CLIENTS, chosen)
        if act.takes_many:
            assert answer.url == act_page(act.code).replace("clients=", "all=1")
            assert client.get(answer.url).status_code == 200
        else:
            assert "act/" not in answer.url

    for table in (Run, PhaseChange):
        assert not table.objects.exists()
    assert dict(ClientMigration.objects.values_list("pk", "phase")) == before


def test_the_page_says_who_is_moved_who_is_refused_why_and_who_is_there_already(
    client, log_in, three
):
    log_in(MOVE)
    there = make_full_client("there")
    enter_phase_together([there], Phase.AWS)
    Client.objects.filter(pk=three[2]).update(slug="renamed")

    page = client.get(move_page(*CUTOVER, *three, there, 999_999))  # one is gone

    assert by_verdict(page) == {
        "will": ["idom"],
        "refused": ["behind", "renamed"],
        "nothing": ["there"],
    }
    assert set(reasons_of(page, "behind")) == {"clean_streak"}
    assert client_of(page, "renamed")["message"].key == "not_from_there"
    assert page.context["button"] == "Cut over client"


def test_what_was_shown_is_moved_by_a_run_each_through_its_gate(client, log_in, three):
    user = log_in(MOVE)
    more = make_full_client("more")
    enter_phase_together([more], Phase.DUAL_READ)
    compare(client_ids=[more])
    address = move_page(*CUTOVER, *three, more)
    page = client.get(address)
    write_password(more, "example-new")  # a push is pending, which is no other look

    answer = send(client, address, page, typed="2", reason="INC-42")

    run = Run.objects.get(kind=Run.Kind.MOVE)
    assert answer.url == f"/admin/migration/run/{run.pk}/change/"
    assert (run.by, run.reason, run.moves.old, run.moves.new) == (user, "INC-42", *CUTOVER)
    assert set(run.items.values_list("slug", flat=True)) == {"idom", "more"}
    finish(run)
    assert [phase_of(pk) for pk in (*three, more)] == [
        Phase.AWS,
        *[Phase.DUAL_READ, Phase.POSTGRES, Phase.DUAL_READ],
    ]
    assert PhaseChange.objects.filter(by=user, reason="INC-42").count() == 1


def test_a_cutover_of_several_wants_their_number_and_a_reason(client, log_in):
    log_in(MOVE)
    pks = [make_full_client(slug) for slug in ("a", "b")]
    enter_phase_together(pks, Phase.DUAL_READ)
    compare(client_ids=pks)
    page = client.get(address := move_page(*CUTOVER, *pks))

    for typed, wrong in (
        ({"typed": "3", "reason": "x"}, "typed"),
        ({"typed": "2", "reason": " "}, "reason"),
        ({"typed": "2", "reason": "x" * 501}, "reason"),
        ({"typed": "2", "reason": "x\0"}, "reason"),
    ):
        answer = send(client, address, page, **typed)
        assert set(answer.context["form"].errors) == {wrong}
        assert not Run.objects.exists()


def test_who_was_moved_since_or_differs_since_is_left_out_and_named(client, log_in):
    log_in(MOVE)
    pks = [make_full_client(slug) for slug in ("a", "b", "c", "d")]
    enter_phase_together(pks, Phase.DUAL_READ)
    compare(client_ids=pks)
    address = move_page(*CUTOVER, *pks)
    page = client.get(address)
    ClientMigration.objects.filter(pk=pks[0]).update(phase=Phase.DUAL_WRITE)
    ClientMigration.objects.filter(pk=pks[1]).update(comparison=None)

    answer = send(client, address, page, typed="4", reason="INC-42")

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["c", "d"]
    assert ": a, b." in said_on(answer)


NO_PAGE_SENDS = [
    {"clients": "", "confirmed": "1"},
    {"clients": "x:y 9999999999999999999:z", "confirmed": "1"},
    {"clients": " ".join(f"{n}:x" for n in range(200)), "confirmed": "1"},
    {"clients": "1:a\0", "confirmed": "1"},
    {"clients": "999999:x", "confirmed": "1"},
    {"confirmed": "plan", "override": ["\0", "reads"]},
    {"confirmed": "\0"},
]


@pytest.mark.parametrize(
    "query", ["clients=1", "all=1&phase=\0", "clients=1&override=\0", "clients=,9,x", ""]
)
def test_what_no_page_sends_moves_nobody(client, log_in, three, query):
    log_in(MOVE, OVERRIDE)

    for sent in NO_PAGE_SENDS:
        answer = client.post(
            f"{CLIENTS}act/cutover/?{query}&override=x",
            {"typed": "idom", "reason": "x"} | sent,
        )

        assert answer.status_code < 500
        assert not Run.objects.started().exists()
        assert {phase_of(pk) for pk in three} == {Phase.DUAL_READ, Phase.POSTGRES}
        assert not [plan for plan in Run.objects.all() if set(plan.override_lines) - {"reads"}]


def test_a_restore_needs_the_right_to_purge(client, log_in):
    idom = make_full_client("idom")
    enter_phase(idom, Phase.PURGED)
    log_in(MOVE)
    address = act_page("restore", idom)
    chosen = {"action": "restore", "_selected_action": [idom]}

    assert client.get(address).status_code == 403
    assert "restore" not in getattr(client.post(CLIENTS, chosen), "url", "")
    assert phase_of(idom) == Phase.PURGED

    log_in(MOVE, PURGE, name="purger")
    assert client.post(CLIENTS, chosen).url.startswith(address)
    press(client, address)
    assert phase_of(idom) == Phase.AWS


def test_several_are_never_purged_at_once(client, log_in):
    log_in(MOVE, PURGE)
    pks = [make_full_client(slug) for slug in ("a", "b")]
    enter_phase_together(pks, Phase.AWS)
    compare(client_ids=pks)
    address = move_page(Phase.AWS, Phase.PURGED, *pks)
    seen = " ".join(
        f"{pk}:{each}" for pk, each in MOVE_ACTS[Phase.AWS, Phase.PURGED].see(pks).items()
    )

    sent = {"confirmed": "1", "clients": seen, "typed": "2", "reason": "x"}
    assert client.post(address, sent).status_code == 400
    assert "one client at a time" in said_on(client.post(address, {"confirmed": "plan"}))
    assert "one client at a time" in said_on(client.get(address))
    assert not Run.objects.exists()
    assert {phase_of(pk) for pk in pks} == {Phase.AWS}


def test_a_run_of_moves_back_starts_from_its_page_and_deletes_no_secret(client, log_in):
    log_in(MOVE)
    pks = [make_full_client(slug) for slug in ("a", "b")]
    enter_phase_together(pks, Phase.DUAL_WRITE)

    press(client, move_page(Phase.DUAL_WRITE, Phase.POSTGRES, *pks), schedule_deletion="on")

    run = Run.objects.get()
    # One press takes no more than one client's secret.
    assert (run.moves.schedule_deletion, run.reason) == (False, "")
    finish(run)
    assert {phase_of(pk) for pk in pks} == {Phase.POSTGRES}


# While AWS is slow


def test_a_page_asks_aws_for_some_seconds_and_judges_the_rest_by_the_database(
    client, log_in, three, monkeypatch
):
    """Where AWS is silent each client waits seconds for it."""
    log_in(MOVE)
    asked = []
    monkeypatch.setattr(
        "migration.moves.gates.find_account_problem", lambda names, **_: asked.append(names)
    )
    monkeypatch.setattr(acts, "ASK_AWS_FOR_SECONDS", -1.0)

    page = client.get(move_page(*CUTOVER, *three))

    assert asked == []
    assert by_verdict(page)["will"] == ["idom"]
    monkeypatch.setattr(acts, "ASK_AWS_FOR_SECONDS", 60.0)
    client.get(move_page(*CUTOVER, *three))
    assert len(asked) == 2


def test_the_page_of_twelve_asks_no_more_queries_than_that_of_one(
    client, admin_user, monkeypatch, settings
):
    monkeypatch.setattr(account, "_try_access_once", lambda *_, **__: None)
    settings.NOVA_MIN_READS = 20
    client.force_login(admin_user)
    make_many(12, phase="dual_read")
    ids = list(ClientMigration.objects.values_list("pk", flat=True))

    def count_queries(number: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            page = client.get(move_page(*CUTOVER, *ids[:number]))
        assert sum(map(len, by_verdict(page).values())) == number
        return len(captured)

    count_queries(1)

    # One client's name and slug are asked for.
    assert count_queries(12) <= count_queries(1)


# Evidence that is missing


@pytest.fixture
def unproven(settings) -> list[int]:
    """One that has all evidence, and two that NOVA never read."""
    settings.NOVA_CLEAN_STREAK, settings.NOVA_MIN_READS = 3, 20
    settings.NOVA_DUAL_READ_HOURS = 24.0
    pks = [make_full_client(slug) for slug in ("proven", "a", "b")]
    enter_phase_together(pks, Phase.DUAL_READ)
    compare(client_ids=pks)
    for pk in pks:
        give_evidence(pk, **({} if pk == pks[0] else {"matches": -20}))
    return pks


def overridden(address: str, *kinds: str) -> str:
    return address + "".join(f"&override={kind}" for kind in kinds)


def test_the_page_says_how_many_lack_what_and_overrides_the_kinds_that_are_chosen(
    client, log_in, unproven
):
    log_in(MOVE, OVERRIDE)
    address = move_page(*CUTOVER, *unproven)
    page = client.get(address)
    assert by_verdict(page) == {"will": ["proven"], "refused": ["a", "b"]}
    (each,) = page.context["overrides"]
    assert (each["number"], each["is_on"], page.context["is_dangerous"]) == (2, False, False)

    chosen = client.get(each["url"])
    assert by_verdict(chosen) == {"will": ["a", "b", "proven"]}
    assert reasons_of(chosen, "a")["too_few_reads"]["overridden"]
    assert not chosen.context["is_dangerous"]
    send(client, each["url"], chosen, typed="3", reason="INC-42")

    run = Run.objects.get()
    assert (run.override_reason, run.override_lines) == ("INC-42", ["reads"])
    finish(run)
    assert {phase_of(pk) for pk in unproven} == {Phase.AWS}
    assert PhaseChange.objects.filter(override_reason="INC-42").exclude(overridden=[]).count() == 2


def test_a_kind_that_was_not_chosen_is_not_overridden(client, log_in, unproven):
    log_in(MOVE, OVERRIDE)
    ClientMigration.objects.filter(pk=unproven[1]).update(clean_streak=2)
    address = overridden(move_page(*CUTOVER, *unproven), "reads")
    page = client.get(address)
    assert by_verdict(page) == {"will": ["b", "proven"], "refused": ["a"]}

    ClientMigration.objects.filter(pk=unproven[2]).update(clean_streak=2)
    send(client, address, page, typed="2", reason="INC-42")

    finish(Run.objects.get())
    assert [phase_of(pk) for pk in unproven] == [Phase.AWS, Phase.DUAL_READ, Phase.DUAL_READ]


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("is_few", [True, False])
def test_evidence_that_nobody_saw_missing_is_not_overridden(
    client, log_in, unproven, number, is_few, monkeypatch
):
    """The kind is overridden, for others: of this client it is missing only since the page was shown."""
    log_in(MOVE, OVERRIDE)
    proven = unproven[0]
    address = overridden(move_page(*CUTOVER, *unproven[:number]), "reads")
    if not is_few:
        monkeypatch.setattr(act_pages, "FEW_CLIENTS", 0)
        address = client.post(address, {"confirmed": "plan"}).url
        tasks.work_on_run(Run.objects.get().pk)
    page = client.get(address)
    assert page.context["number"] == number
    give_evidence(proven, matches=-20)

    plan = page.context.get("run")
    sent = {"confirmed": "1", "clients": page.context.get("shown", ""), "reason": "INC-42"}
    sent["look"] = str(plan.look) if plan else ""
    typed = "proven" if number == 1 and is_few else str(number)
    client.post(address, sent | {"typed": typed})
    for run in Run.objects.all():
        finish(run)

    moved = [pk for pk in unproven if phase_of(pk) == Phase.AWS]
    assert moved == unproven[1:number]


def test_who_may_not_override_is_offered_none_and_overrides_nothing(client, log_in, unproven):
    log_in(MOVE)
    address = overridden(move_page(*CUTOVER, *unproven), *EVIDENCE)

    page = client.get(address)

    assert page.context["overrides"] == []
    assert by_verdict(page)["refused"] == ["a", "b"]
    pair = " ".join(f"{pk}:{each}" for pk, each in MOVE_ACTS[CUTOVER].see(unproven[1:]).items())
    client.post(address, {"confirmed": "1", "clients": pair, "typed": "2", "reason": "x"})
    run = Run.objects.get()
    assert (run.override_reason, run.override_lines) == ("", [])
    finish(run)
    assert {phase_of(pk) for pk in unproven} == {Phase.DUAL_READ}


def test_a_stored_plan_counts_what_is_missing_and_is_planned_again_with_an_override(
    client, log_in, unproven, monkeypatch
):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 2)
    log_in(MOVE, OVERRIDE)
    first = client.post(f"{CLIENTS}act/cutover/?all=1", {"confirmed": "plan"}).url
    tasks.work_on_run(Run.objects.get().pk)
    page = client.get(first)
    assert by_verdict(page) == {"will": ["proven"], "refused": ["a", "b"]}
    (each,) = page.context["overrides"]
    assert (each["number"], each["kinds"]) == (2, ["reads"])

    second = client.post(first, {"confirmed": "plan", "override": each["kinds"]}).url
    plan = Run.objects.get(state=Run.State.PLANNING)
    assert (plan.override_lines, Run.objects.count()) == (["reads"], 2)
    tasks.work_on_run(plan.pk)
    again = client.get(second)
    assert by_verdict(again) == {"will": ["proven", "a", "b"]}
    assert not again.context["is_dangerous"]
    start_plan(client, plan, typed="3", reason="INC-42")

    finish(plan)
    assert {phase_of(pk) for pk in unproven} == {Phase.AWS}
    assert "discarded" in text(client.get(first))


# With approval


@pytest.fixture
def with_approval(settings) -> None:
    settings.NOVA_REQUIRE_APPROVAL = True


def test_the_cutover_of_several_is_requested_as_a_run_for_those_whose_gate_is_open(
    client, log_in, three, with_approval
):
    log_in(MOVE)
    more = make_full_client("more")
    enter_phase_together([more], Phase.DUAL_READ)
    compare(client_ids=[more])
    address = move_page(*CUTOVER, *three, more)
    page = client.get(address)
    assert page.context["button"] == "Request the cutover of 2 clients"
    assert by_verdict(page)["refused"] == ["behind", "untouched"]

    send(client, address, page, typed="2", reason="INC-42")

    run = Run.objects.get()
    assert run.state == Run.State.REQUESTED
    finish(run)
    assert Phase.AWS not in {phase_of(pk) for pk in (*three, more)}


def test_of_one_client_a_shut_gate_is_requested_all_the_same_and_waits(
    client, log_in, three, with_approval
):
    log_in(MOVE)
    behind = three[1]
    address = move_page(*CUTOVER, behind)
    page = client.get(address)
    assert by_verdict(page) == {"will": ["behind"]}
    assert client_of(page, "behind")["message"].key == "request_waits"

    send(client, address, page, typed="behind", reason="INC-42")

    run = Run.objects.get()
    assert (run.only_item.client_id, run.state) == (behind, Run.State.REQUESTED)
    assert by_verdict(client.get(address)) == {"refused": ["behind"]}
    assert next(iter(reasons_of(client.get(address), "behind"))) == "asked_already"
    send(client, address, page, typed="behind", reason="INC-42")
    assert Run.objects.count() == 1


def test_a_way_back_is_never_requested(client, log_in, with_approval):
    log_in(MOVE)
    pks = [make_full_client(slug) for slug in ("a", "b")]
    enter_phase_together(pks, Phase.AWS)

    press(client, move_page(Phase.AWS, Phase.DUAL_READ, *pks))

    run = Run.objects.get()
    assert run.state == Run.State.RUNNING
    finish(run)
    assert {phase_of(pk) for pk in pks} == {Phase.DUAL_READ}


def test_a_stored_plan_asks_aws_nothing(three, monkeypatch):
    for name in ("get_value", "batch_get", "describe_secret"):
        monkeypatch.setattr(SecretsManager, name, None)

    plan = make_plan("cutover")

    assert plan.state == Run.State.PLANNED
    assert plan.plan_counts["clients"] == 3
