"""Between an act's page and its button: somebody else presses, clients change, rights change, workers are killed."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone

from migration import tasks
from migration.logins.acts import TestLogins
from migration.logins.testing import NO_LOGIN_TO_TEST
from migration.models import PlanRow, Rotation
from migration.runs import act_pages, acts
from migration.runs.acts import ACTS
from migration.runs.models import PLANS_ARE_KEPT, Run
from migration.runs.plans import PlanClass, Reason
from tests.factories import make_full_client, make_in_role, make_many, update
from tests.migration.campaigns.test_two_at_once import end, fork
from tests.migration.pages import CLIENTS, run_page, start_plan, text

ROTATE = f"{CLIENTS}act/rotate/"
TEST_LOGINS = f"{CLIENTS}act/test_logins/"
REASON = {"reason": "INC-42"}


def log_in(name: str, role: str = "Administrator") -> Browser:
    browser = Browser()
    browser.force_login(make_in_role(name, role))
    return browser


@pytest.fixture
def maria(stores) -> Browser:
    return log_in("maria")


@pytest.fixture
def paco(stores) -> Browser:
    return log_in("paco")


def all_at_once(*calls: Callable[[], object]) -> list:
    """What they return, each called in a thread of its own, with a connection of its own, at the same moment."""
    barrier = Barrier(len(calls))

    def call(each: Callable[[], object]) -> object:
        try:
            barrier.wait(30)
            return each()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def press(browser: Browser, address: str, page, **fields):
    sent = {"confirmed": "1", "clients": page.context["shown"], "stores": "both"}
    return browser.post(address, sent | REASON | {"typed": str(page.context["number"])} | fields)


def delete(pk: int) -> None:
    """As NOVA does."""
    with connection.cursor() as cursor:
        for table in ("database", "email"):
            cursor.execute(
                f"DELETE FROM public.client_{table}_credentials WHERE client_id = %s", [pk]
            )
        cursor.execute("DELETE FROM nova_admin.client_aws_credentials WHERE client_id = %s", [pk])
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])


def make_plan(browser: Browser, act: str = "test_logins", filters: str = "") -> Run:
    """A stored plan over all that the list shows, made by a worker."""
    browser.post(f"{CLIENTS}act/{act}/?all=1{filters}", {"confirmed": "plan"})
    plan = Run.objects.first()
    tasks.work_on_run(plan.pk)
    plan.refresh_from_db()
    return plan


def page_of(plan: Run) -> str:
    return f"{CLIENTS}act/plan/{plan.pk}/"


def start(browser: Browser, plan: Run, **fields):
    number = plan.plan_rows.filter(plan_class=PlanClass.WILL).count()
    sent = {"stores": "aws", "typed": str(number)}
    return start_plan(browser, plan, **(sent | REASON | fields))


# Two people


def test_of_two_who_press_one_after_the_other_the_second_is_told(maria, paco):
    address = f"{ROTATE}?clients={make_full_client('a')},{make_full_client('b')}"
    hers, his = maria.get(address), paco.get(address)

    first, second = press(maria, address, hers), press(paco, address, his)

    run = Run.objects.get()
    assert (run.by.username, first.url) == ("maria", f"/admin/migration/run/{run.pk}/change/")
    assert second.url == address
    assert "Left out, as they changed since" in text(paco.get(address))


def test_of_two_who_press_at_the_same_moment_one_starts_it(maria, paco):
    address = f"{ROTATE}?clients={make_full_client('a')},{make_full_client('b')}"
    hers, his = maria.get(address), paco.get(address)

    answers = all_at_once(lambda: press(maria, address, hers), lambda: press(paco, address, his))

    run = Run.objects.get()
    urls = [answer.url for answer in answers]
    assert sorted(urls) == sorted([f"/admin/migration/run/{run.pk}/change/", address])
    assert run.items.count() == 2


def test_who_was_rotated_meanwhile_is_left_out(maria, paco):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    address = f"{ROTATE}?clients={ids[0]},{ids[1]}"
    page = maria.get(address)
    Rotation.objects.create(client_id=ids[0], slug="a", credential_type="database")

    press(maria, address, page)

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["b"]


def test_a_stored_plan_is_started_once_by_two_at_the_same_moment(maria, paco):
    for slug in ("a", "b", "c"):
        make_full_client(slug)
    plan = make_plan(maria)

    answers = all_at_once(lambda: start(maria, plan), lambda: start(paco, plan))

    run = Run.objects.get()
    assert {answer.status_code for answer in answers} == {302}
    assert (run.pk, run.state, run.items.count()) == (plan.pk, "running", 3)


def test_a_plan_is_started_or_discarded_never_both(maria, paco):
    make_full_client("a")
    plan = make_plan(maria)

    all_at_once(
        lambda: start(maria, plan), lambda: paco.post(page_of(plan), {"confirmed": "discard"})
    )

    plan.refresh_from_db()
    assert (plan.state, plan.items.count()) in {("running", 1), ("discarded", 0)}


# Clients


def test_a_client_that_nova_deletes_is_left_out(maria):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    several, one = (f"{TEST_LOGINS}?clients={each}" for each in (f"{ids[0]},{ids[1]}", ids[0]))
    pages = {each: maria.get(each) for each in (several, one)}
    delete(ids[0])

    press(maria, several, pages[several])
    answer = press(maria, one, pages[one])

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["b"]
    assert maria.get(answer.url, follow=True).status_code == 200


def test_a_client_that_leaves_the_filter_is_in_no_plan(maria):
    ids = [make_full_client(slug) for slug in ("here-a", "here-b", "other")]
    page = maria.get(f"{TEST_LOGINS}?all=1&q=here")
    assert page.context["selected"] == 2
    update("clients", ids[1], slug="gone", name="GONE")
    update("clients", ids[2], slug="here-c")

    plan = make_plan(maria, filters="&q=here")

    assert plan.chosen == [ids[0], ids[2]]


def test_what_the_filter_shows_by_now_is_not_done_to_it(maria):
    ids = [make_full_client(slug) for slug in ("here-a", "here-b", "other")]
    address = f"{TEST_LOGINS}?all=1&q=here"
    page = maria.get(address)
    update("clients", ids[2], slug="here-c")

    press(maria, address, page)

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["here-a", "here-b"]


def test_a_plan_of_yesterday_starts_with_who_is_as_it_was(maria):
    ids = [make_full_client(slug) for slug in ("a", "b", "c", "d")]
    plan = make_plan(maria)
    day_ago = timezone.now() - timedelta(days=1)
    Run.objects.update(created_at=day_ago, planned_at=day_ago, worked_at=day_ago)
    update("clients", ids[0], slug="renamed")
    update("clients", ids[1], is_active=False)
    delete(ids[2])

    answer = start(maria, plan)

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["d"]
    assert "Left out, as they changed since the page showed them (3 clients): b, renamed." in text(
        maria.get(answer.url)
    )


def test_a_plan_whose_clients_all_changed_starts_nothing_and_can_be_made_again(maria):
    pk = make_full_client("a")
    plan = make_plan(maria)
    update("clients", pk, slug="renamed")

    assert start(maria, plan).url == page_of(plan)
    assert not Run.objects.started().exists()
    again = maria.post(page_of(plan), {"confirmed": "plan"})

    newest = Run.objects.first()
    plan.refresh_from_db()
    assert (plan.state, newest.state, newest.chosen) == ("discarded", "planning", [pk])
    assert again.url == page_of(newest)


def test_more_are_selected_by_hand_than_an_address_holds(maria, monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 2)
    ids = [make_full_client(slug) for slug in ("a", "b", "c")]
    sent = {"action": "test_logins", "_selected_action": ids}

    answer = maria.post(CLIENTS, sent)
    page = maria.post(answer.url, sent)
    plan_page = maria.post(answer.url, {"confirmed": "plan", "clients": page.context["named"]})

    assert (answer.status_code, "clients=" in answer.url) == (307, False)
    assert page.context["selected"] == 3
    assert Run.objects.get().chosen == ids
    assert maria.get(plan_page.url).status_code == 200


def test_a_plan_over_many_is_shown_in_part_and_started_in_few_queries(
    maria, django_assert_max_num_queries
):
    make_many(130)
    plan = make_plan(maria)
    page = maria.get(page_of(plan))

    with django_assert_max_num_queries(60):
        answer = start(maria, plan)

    assert page.context["number"] == 130
    assert sum(len(group["clients"]) for group in page.context["groups"]) == 100
    assert Run.objects.get().items.count() == 130
    assert answer.url.startswith("/admin/migration/run/")


# Rights and settings


class Trial(TestLogins):
    """An act that the settings have approved, and that may be done although evidence is missing."""

    code = "trial"
    evidence_kinds = frozenset({"reads"})

    def __init__(self) -> None:
        self.is_approved = True

    @property
    def needs_approval(self) -> bool:
        return self.is_approved

    def may_override(self, user) -> bool:
        return user.has_perm("migration.override_gate")

    def plan(self, client_ids, order):
        found = super().plan(client_ids, order)
        reason = Reason(
            NO_LOGIN_TO_TEST(), "code", evidence="reads", overridden="reads" in order.overrides
        )
        verdict = PlanClass.WILL if reason.overridden else PlanClass.REFUSED
        return [replace(each, plan_class=verdict, reasons=(reason,)) for each in found]


@pytest.fixture
def trial(monkeypatch) -> Trial:
    trial = Trial()
    monkeypatch.setitem(ACTS, "trial", trial)
    return trial


def test_a_button_that_requests_does_nothing_at_once(maria, trial):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    address = f"{CLIENTS}act/trial/?clients={ids[0]},{ids[1]}&override=reads"
    page = maria.get(address)
    plan = make_plan(maria, "trial", "&override=reads")
    trial.is_approved = False

    answers = [press(maria, address, page, approval="1"), start(maria, plan, approval="1")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not Run.objects.started().exists()
    press(maria, address, page)
    assert Run.objects.started().count() == 1


def test_a_plan_with_overrides_is_started_by_who_may_override(maria, trial):
    operator = log_in("operator", "Operator")
    make_full_client("a")
    plan = make_plan(maria, "trial", "&override=reads")
    assert plan.override_lines == ["reads"]
    shown = operator.get(page_of(plan))

    assert start(operator, plan).status_code == 403
    assert 'confirmed" value="1"' not in shown.content.decode()
    assert not Run.objects.started().exists()
    operator.post(page_of(plan), {"confirmed": "plan", "override": "reads"})

    newest = Run.objects.first()
    assert (newest.by.username, newest.override_lines) == ("operator", [])


def test_overridden_evidence_lets_a_client_through_and_makes_no_button_red(maria, trial):
    address = f"{CLIENTS}act/trial/?clients={make_full_client('a')}"
    waiting, overriding = maria.get(address), maria.get(f"{address}&override=reads")

    assert (waiting.context["number"], waiting.context["is_dangerous"]) == (0, False)
    assert (overriding.context["number"], overriding.context["is_dangerous"]) == (1, False)
    assert maria.get(waiting.context["overrides"][0]["url"]).context["number"] == 1


def test_who_loses_the_permission_meanwhile_is_refused(maria):
    address = f"{TEST_LOGINS}?clients={make_full_client('a')},{make_full_client('b')}"
    page, plan = maria.get(address), make_plan(maria)
    user = User.objects.get(username="maria")
    user.groups.set([Group.objects.get(name="Viewer")])

    assert press(maria, address, page).status_code == 403
    assert start(maria, plan).status_code == 403
    assert maria.post(page_of(plan), {"confirmed": "discard"}).status_code == 403
    assert not Run.objects.started().exists()


def test_the_plan_of_who_may_no_longer_is_started_by_who_may_in_their_own_name(maria, paco):
    make_full_client("a")
    plan = make_plan(maria)
    User.objects.get(username="maria").groups.clear()

    start(paco, plan)

    assert Run.objects.get().by.username == "paco"


# Workers


def test_a_worker_that_is_killed_while_it_makes_a_plan_is_followed_by_another(maria, monkeypatch):
    for n in range(7):
        make_full_client(f"c-{n}")
    maria.post(f"{TEST_LOGINS}?all=1", {"confirmed": "plan"})
    plan = Run.objects.get()
    act, looked = ACTS["test_logins"], []

    def look_or_be_killed(*given):
        looked.append(None)
        if len(looked) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return type(act).plan(act, *given)

    with monkeypatch.context() as patch:
        patch.setattr(acts, "PLANNED_AT_ONCE", 2)
        patch.setattr(act, "plan", look_or_be_killed)
        assert not end(fork(lambda: tasks.work_on_run(plan.pk)))
    assert PlanRow.objects.filter(run=plan).count() == 4
    assert maria.get(page_of(plan)).context["number"] == 0
    assert start(maria, plan).url == page_of(plan)
    assert not Run.objects.started().exists()

    tasks.work_on_run(plan.pk)

    plan.refresh_from_db()
    assert (plan.state, plan.plan_rows.count(), PlanRow.objects.count()) == ("planned", 7, 7)
    start(maria, plan)
    assert Run.objects.get().items.count() == 7


def test_two_workers_that_make_the_same_plan_leave_one(maria):
    for n in range(5):
        make_full_client(f"c-{n}")
    maria.post(f"{TEST_LOGINS}?all=1", {"confirmed": "plan"})
    plan = Run.objects.get()

    all_at_once(lambda: tasks.work_on_run(plan.pk), lambda: tasks.work_on_run(plan.pk))

    plan.refresh_from_db()
    assert (plan.state, plan.plan_rows.count(), PlanRow.objects.count()) == ("planned", 5, 5)


def test_a_plan_of_an_act_that_this_release_lacks_is_left_alone_and_forgotten(maria):
    pk = make_full_client("a")
    plan = Run.store_plan(by=None, chosen=[pk], kind=Run.Kind.PUSH, act="of_another_release")

    tasks.work_on_run(plan.pk)

    plan.refresh_from_db()
    assert (plan.state, PlanRow.objects.count()) == ("planning", 0)
    assert maria.get(page_of(plan)).status_code == 404
    assert maria.get(run_page(plan)).status_code == 200
    assert maria.get(CLIENTS).status_code == 200


def test_old_plans_are_forgotten_with_their_clients(maria):
    make_full_client("a")
    plan = make_plan(maria)
    Run.objects.update(created_at=timezone.now() - PLANS_ARE_KEPT - timedelta(days=1))

    Run.objects.forget_plans()

    assert not PlanRow.objects.exists()
    assert maria.get(page_of(plan)).status_code == 404
