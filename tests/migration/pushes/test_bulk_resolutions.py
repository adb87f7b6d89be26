"""Resolving the mismatches of many clients: a plan first, then what it said, and undo where there is one."""

import json
import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client, ClientRevision, DatabaseCredential
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.core.comparisons import COMPARISON_EVENT
from migration.models import AuditEvent, ClientOwner, OpenMismatch, Resolution, RunItem
from migration.pushes.comparisons import compare
from migration.pushes.resolutions import copy_to_aws
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_comparison, make_full_client, make_user
from tests.migration.moves.clients import change_in_aws, enter_phase, write_password
from tests.migration.pages import DIFFERENT, EXTRA, text

REPORT = reverse("admin:migration_comparison_report")
ACTS = ("check", "to_aws", "to_postgres", "acknowledge")
UNTIL = "2099-01-01"


def address(act: str) -> str:
    return reverse(f"admin:migration_comparison_{act}")


@pytest.fixture
def maria(db) -> User:
    return make_user("maria", *VIEW, "migration.add_run", "migration.resolve_mismatch")


@pytest.fixture
def browser(client, maria):
    client.force_login(maria)
    return client


@pytest.fixture
def differing(maria) -> dict[str, int]:
    """Two clients that differ, one of them in two fields, one that matches and one that could not be checked."""
    ids = {slug: make_client(slug) for slug in ("one", "two", "equal", "doubt")}
    make_comparison(ids["one"], "mismatch", slug="one", mismatches=[DIFFERENT])
    make_comparison(ids["two"], "mismatch", slug="two", mismatches=[DIFFERENT, EXTRA])
    make_comparison(ids["equal"], "match", slug="equal")
    make_comparison(ids["doubt"], "unchecked", slug="doubt")
    pushed = Client.objects.with_revision().values_list("pk", "revision")
    ClientRevision.objects.record_pushed(list(pushed))
    return ids


def confirm(browser, act: str, page, **typed):
    """Press the button of the plan's page."""
    clients = re.search(r'name="clients" value="([^"]+)"', page.content.decode())
    assert clients, "the page offers no button"
    data = {"confirmed": "1", "clients": clients[1], **typed}
    return browser.post(address(act), data, follow=True)


def everything() -> tuple[int, ...]:
    return Run.objects.count(), Resolution.objects.count(), ClientOwner.objects.count()


@pytest.mark.parametrize("act", ACTS)
def test_a_plan_does_nothing_and_says_whom_it_leaves_alone_and_why(browser, differing, act):
    page = browser.post(address(act), {"client": [str(pk) for pk in differing.values()]})

    words = text(page)
    assert "Nothing has been done yet." in words
    assert everything() == (0, 0, 0)
    whom, reasons = {
        "check": ("for 4 clients.", []),
        "acknowledge": ("for 3 clients.", ["There is no mismatch to acknowledge. equal"]),
    }.get(
        act,
        ("for 2 clients.", ["No field of it is known to differ: check it again. doubt , equal"]),
    )
    assert whom in words
    for reason in reasons:
        assert reason in words


@pytest.mark.parametrize("act", ACTS)
def test_without_a_selection_nothing_is_done_and_the_filters_stay(browser, differing, act):
    for data in (
        {},
        {"client": "nonsense"},
        {"client": "9" * 30},
        {"clients": "x:y", "confirmed": "1"},
    ):
        page = browser.post(f"{address(act)}?kind=extra", data, follow=True)
        assert page.request["QUERY_STRING"] == "kind=extra"
        assert "Nothing was done: select a client first." in text(page)
    assert everything() == (0, 0, 0)


@pytest.mark.parametrize(
    ("act", "allowed"),
    [(act, "migration.add_run" if act == "check" else "migration.resolve_mismatch") for act in (*ACTS, "undo")],
)  # fmt: skip
def test_each_act_needs_its_own_permission_and_no_link_does_it(client, differing, act, allowed):
    other = {"migration.add_run", "migration.resolve_mismatch"} - {allowed}
    client.force_login(make_user("narrow", *VIEW, *other))

    assert client.post(address(act), {"all": "1"}).status_code == 403
    assert client.get(address(act)).status_code == 405
    assert f'formaction="{address(act)}' not in client.get(REPORT).content.decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"one", "two"}),
        ("kind=extra", {"two"}),
        ("status=unchecked", {"doubt"}),
        ("status=match&q=e", {"equal"}),
    ],
)
def test_all_that_the_filters_show_is_checked_in_a_run(browser, differing, query, expected):
    page = browser.post(f"{address('check')}?{query}", {"all": "1"})

    confirm(browser, "check", page)

    run = Run.objects.get()
    assert (run.kind, run.by.username) == (Run.Kind.COMPARE, "maria")
    assert set(run.items.values_list("slug", flat=True)) == expected


def test_an_acknowledgement_of_many_is_undone_and_the_one_before_it_holds_again(
    browser, differing, maria
):
    make_comparison(differing["two"], "mismatch", slug="two", mismatches=[DIFFERENT])
    Resolution.objects.create(
        client_id=differing["one"], slug="one", kind="acknowledge", until=timezone.localdate(),
        mismatches=[{"status": "mismatch"}, DIFFERENT],
    )  # fmt: skip
    page = browser.post(address("acknowledge"), {"all": "1"})
    refused = confirm(browser, "acknowledge", page, reason="INC-42", until="2001-01-01")
    assert "Nothing was acknowledged: give a reason and a day" in text(refused)
    assert Resolution.objects.count() == 1

    done = confirm(browser, "acknowledge", refused, reason="INC-42", until=UNTIL)

    assert "Acknowledged the mismatches of 2 clients." in text(done)
    acknowledged = OpenMismatch.objects.with_acknowledged_and_unchecked().filter(acknowledged=True)
    assert set(acknowledged.values_list("slug", flat=True)) == {"one", "two"}

    browser.post(address("undo"))

    assert set(acknowledged.values_list("slug", flat=True)) == {"one"}
    assert Resolution.objects.filter(by=maria, until=None).count() == 2
    said = [str(event.message) for event in AuditEvent.objects.filter(who="maria")]
    assert said.count("Took back an acknowledgement of mismatches.") == 2


def test_an_undo_takes_nothing_back_that_is_somebody_elses(differing, maria):
    row = Resolution.objects.create(
        client_id=differing["one"], slug="one", kind="acknowledge", until=timezone.localdate(),
        by=make_user("pepe"),
    )  # fmt: skip

    assert Resolution.objects.withdraw_acknowledgements([row.pk], by=maria) == []
    assert Resolution.objects.acknowledgements_in_force().get() == row


@pytest.mark.parametrize("act", ACTS[1:4])
def test_what_was_compared_anew_since_the_plan_is_left_alone(browser, differing, act):
    page = browser.post(address(act), {"client": differing["one"]})
    make_comparison(differing["one"], "mismatch", slug="one", mismatches=[EXTRA])

    shown = confirm(browser, act, page, reason="INC-42", until=UNTIL)

    assert "A newer comparison found other differences. Look at them first." in text(shown)
    assert 'name="confirmed"' not in shown.content.decode()
    assert Resolution.objects.count() == 0


@pytest.fixture
def in_stores(stores, maria) -> dict[str, int]:
    """Clients in phases, whose passwords differ between the stores; `pending` has a newer one in PostgreSQL."""
    phases = {
        "written": Phase.DUAL_WRITE,
        "pending": Phase.DUAL_WRITE,
        "there": Phase.AWS,
    }
    ids = {slug: make_full_client(slug) for slug in phases}
    for slug, pk in ids.items():
        enter_phase(pk, phases[slug])
        change_in_aws(secrets_manager(), f"nova/clients/{slug}", password=f"of-aws-{slug}")
    write_password(ids["pending"], "newer-in-rows")
    compare(client_ids=list(ids.values()))
    return ids


def passwords(ids: dict[str, int]) -> dict[str, tuple[str, str]]:
    """Of each client, in PostgreSQL and in AWS."""
    return {
        slug: (
            DatabaseCredential.objects.get(client_id=pk).db_password,
            json.loads(secrets_manager().get_value(f"nova/clients/{slug}").text)["database"][
                "password"
            ],
        )
        for slug, pk in ids.items()
    }


def test_aws_is_copied_where_the_single_copy_would_be_allowed(browser, in_stores):
    before = passwords(in_stores)
    page = browser.post(address("to_postgres"), {"all": "1"})
    words = text(page)
    assert "It would be done for 2 clients." in words
    assert "NOVA reads PostgreSQL for 1 of them" in words
    assert "A push is pending: PostgreSQL holds a newer value, and copying would lose it. pending" in words  # fmt: skip

    done = confirm(browser, "to_postgres", page, reason="INC-42")

    run = Run.objects.get(kind=Run.Kind.TO_POSTGRES)
    assert done.request["PATH_INFO"] == reverse("admin:migration_run_change", args=[run.pk])
    assert "Reason: INC-42" in text(done)
    assert passwords(in_stores) == before
    engine.work_on_run(run_id=run.pk)
    assert passwords(in_stores) == before | {
        "written": ("of-aws-written", "of-aws-written"),
        "there": ("of-aws-there", "of-aws-there"),
    }
    assert "of-aws" not in page.content.decode() + done.content.decode()
    made = Resolution.objects.values_list("slug", "kind", "reason").order_by("slug")
    assert list(made) == [("there", "to_postgres", "INC-42"), ("written", "to_postgres", "INC-42")]
    found = AuditEvent.objects.filter(correlation=f"run {run.pk}", who="maria").order_by("pk")
    assert list(found.exclude(code=COMPARISON_EVENT).values_list("code", "reason")) == [
        ("run", "INC-42"),
        *[("resolution", "INC-42")] * 2,
    ]
    assert set(found.filter(code=COMPARISON_EVENT).values_list("slug", flat=True)) == {
        "written",
        "there",
    }


def test_postgresql_is_copied_in_a_run_and_a_worker_that_was_killed_copies_nobody_twice(
    browser, in_stores
):
    page = browser.post(address("to_aws"), {"all": "1"})
    assert "NOVA reads AWS for 1 of them" in text(page)
    confirm(browser, "to_aws", page)
    run = Run.objects.get(kind=Run.Kind.TO_AWS)

    engine.work_on_run(run_id=run.pk)

    assert set(run.items.values_list("outcome", flat=True)) == {"updated"}
    assert all(rows == aws for rows, aws in passwords(in_stores).values())
    assert not OpenMismatch.objects.exists()
    assert Resolution.objects.count() == 3
    run.items.open_again()
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None)
    engine.work_on_run(run_id=run.pk)
    assert set(run.items.values_list("outcome", flat=True)) == {"unchanged"}
    assert Resolution.objects.count() == 3


def test_a_run_leaves_alone_who_differs_otherwise_than_the_page_showed(browser, in_stores):
    page = browser.post(address("to_aws"), {"all": "1"})
    confirm(browser, "to_aws", page)
    change_in_aws(secrets_manager(), "nova/clients/there", host="elsewhere.example.test")
    compare(client_ids=[in_stores["there"]])
    before = passwords(in_stores)["there"]
    run = Run.objects.get(kind=Run.Kind.TO_AWS)

    engine.work_on_run(run_id=run.pk)

    item = run.items.get(slug="there")
    assert (item.outcome, item.message.key) == ("failed", "compared_since")
    assert passwords(in_stores)["there"] == before
    assert run.items.filter(outcome="updated").count() == 2
    needing = RunItem.objects.needing_attention()
    assert [each.slug for each in needing] == ["there"]
    copy_to_aws(client_id=in_stores["there"])
    compare(client_ids=[in_stores["there"]])
    assert not RunItem.objects.needing_attention().exists()


def test_what_passes_by_itself_is_tried_again(browser, in_stores, settings):
    page = browser.post(address("to_postgres"), {"client": in_stores["there"]})
    confirm(browser, "to_postgres", page)
    run = Run.objects.get(kind=Run.Kind.TO_POSTGRES)

    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    engine.work_on_run(run_id=run.pk, seconds=0.1)

    item = run.items.get()
    assert (item.outcome, item.attempts) == ("", 1)


def test_who_may_not_resolve_has_no_run_of_copies_go_on(client, in_stores):
    run = Run.start(kind=Run.Kind.TO_AWS, chosen=all_clients())
    run.pause(by=None)
    client.force_login(make_user("paco", *VIEW, "migration.add_run"))

    for order in ("resume", "go_on", "retry"):
        sent = client.post(reverse("admin:migration_run_steer", args=[run.pk]), {"order": order})
        assert sent.status_code == 403
    run.refresh_from_db()
    assert run.state == Run.State.PAUSED


def test_who_may_resolve_alone_is_led_back_to_the_report(client, in_stores):
    names = ("credentials.view_client", "migration.view_comparison", "migration.resolve_mismatch")
    client.force_login(make_user("eva", *names))
    page = client.post(address("to_aws"), {"client": in_stores["there"]})

    done = confirm(client, "to_aws", page)

    assert done.request["PATH_INFO"] == REPORT
    assert Run.objects.get(kind=Run.Kind.TO_AWS).by_name == "eva"


def test_acknowledging_takes_as_many_queries_for_many_clients(
    browser, differing, django_assert_max_num_queries
):
    for n in range(60):
        pk = make_client(f"many-{n}")
        make_comparison(pk, "mismatch", slug=f"many-{n}", mismatches=[DIFFERENT, EXTRA])
    page = browser.post(address("acknowledge"), {"all": "1"})
    clients = re.search(r'name="clients" value="([^"]+)"', page.content.decode())[1]
    sent = {"confirmed": "1", "clients": clients, "reason": "INC-42", "until": UNTIL}

    with django_assert_max_num_queries(24):
        browser.post(address("acknowledge"), sent)

    assert Resolution.objects.count() == 62
    assert AuditEvent.objects.filter(code="resolution", reason="INC-42").count() == 62


def test_planning_takes_as_many_queries_for_many_clients(
    browser, differing, django_assert_max_num_queries
):
    for n in range(60):
        pk = make_client(f"many-{n}")
        make_comparison(pk, "mismatch", slug=f"many-{n}", mismatches=[DIFFERENT, EXTRA])
    browser.post(address("to_aws"), {"all": "1"})

    with django_assert_max_num_queries(16):
        page = browser.post(address("to_aws"), {"all": "1"})

    assert "It would be done for 62 clients." in text(page)


# Who looks after a client looks at its mismatches.


@pytest.fixture
def keeper(client, maria) -> User:
    user = make_user("keeper", *VIEW, "migration.set_client_owner")
    client.force_login(user)
    return user


def owners() -> dict[str, str]:
    found = ClientOwner.objects.values_list("client__slug", "owner__username")
    return dict(found.order_by("client__slug"))


@pytest.mark.parametrize("selects_all", [True, False])
def test_the_owner_of_the_selected_clients_is_set_and_the_filters_stay(
    client, keeper, differing, selects_all
):
    target = f"{address('owners')}?kind=extra"
    one = {"client": [str(differing["two"]), "999999"]}
    page = client.post(target, {"all": "1"} if selects_all else one)
    assert owners() == {}
    assert page.context["number"] == 1
    sent = {"confirmed": "1", "clients": page.context["shown"], "owner": "maria"}
    done = client.post(target, sent)

    assert done.url == f"{REPORT}?kind=extra"
    assert owners() == {"two": "maria"}
    entry = AuditEvent.objects.get(code="owner")
    assert (entry.who, entry.slug) == ("keeper", "two")


def test_without_a_selection_or_the_permission_nobody_becomes_an_owner(client, keeper, differing):
    none = client.post(f"{address('owners')}?kind=extra", {"client": "nonsense"}, follow=True)
    assert none.request["QUERY_STRING"] == "kind=extra"
    assert client.get(address("owners")).status_code == 405
    assert f'formaction="{address("owners")}' in client.get(REPORT).content.decode()

    client.force_login(make_user("narrow", *VIEW, "migration.resolve_mismatch"))

    assert client.post(address("owners"), {"all": "1", "owner": "maria"}).status_code == 403
    assert f'formaction="{address("owners")}' not in client.get(REPORT).content.decode()
    assert owners() == {}
