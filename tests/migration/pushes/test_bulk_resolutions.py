"""Resolving mismatches from the report: an act's page first, then what it said, and undo where there is one."""

import json

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
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
from migration.runs.models import MANY_TRIES, Run
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_comparison, make_full_client, make_user
from tests.migration.moves.clients import change_in_aws, enter_phase, write_password
from tests.migration.pages import DIFFERENT, EXTRA, act_page, text, verdicts

REPORT = reverse("admin:migration_comparison_report")
ACTS = ("copy_to_aws", "copy_to_postgres", "acknowledge")
CHECK, UNDO = (reverse(f"admin:migration_comparison_{name}") for name in ("check", "undo"))
UNTIL = "2099-01-01"


def address(act: str) -> str:
    return reverse("admin:migration_comparison_act", args=[act])


def open_page(browser, act: str, data: dict, query: str = ""):
    """The page of the act on what is selected in the report."""
    return browser.post(f"{address(act)}?{query}", data, follow=True)


def confirm(browser, page, **typed):
    """Press the button of the act's page."""
    data = {"confirmed": "1", "clients": page.context["shown"], **typed}
    return browser.post(page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"], data)


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


def everything() -> tuple[int, ...]:
    return Run.objects.count(), Resolution.objects.count(), ClientOwner.objects.count()


@pytest.fixture
def agreeing(monkeypatch):
    """Both stores look as the newest comparisons have them: these tests make no rows of logins."""
    monkeypatch.setattr("migration.pushes.acts.Copy.find_refusals", lambda *_: {})
    monkeypatch.setattr("migration.pushes.acts.CopyToPostgres.find_refusals", lambda *_: {})


@pytest.mark.usefixtures("agreeing")
def test_a_page_does_nothing_and_says_whom_it_leaves_alone_and_why(browser, differing):
    never = make_client("never")
    for act in ACTS:
        page = open_page(browser, act, {"_selected_action": [*map(str, differing.values()), never]})

        assert everything() == (0, 0, 0)
        refused = {"doubt": "nothing_known_to_differ", "never": "not_compared_yet"}
        if act == "acknowledge":
            del refused["doubt"]
        will = {"one", "two", "doubt"} - refused.keys()
        found = verdicts(page)
        assert (set(found["will"]), found["nothing"]) == (will, ["equal"])
        groups = {group["verdict"]: group["clients"] for group in page.context["groups"]}
        assert {c["slug"]: c["lines"][0]["code"] for c, _name in groups["refused"]} == refused
        remedy = groups["refused"][0][0]["lines"][0]["remedy"]
        assert remedy["posts"]
        shown = {c["slug"]: c["planned"].mismatches for c, _name in groups["will"]}
        assert shown["two"] == (DIFFERENT, EXTRA)


def test_without_a_selection_nothing_is_done_and_the_filters_stay(browser, differing):
    for act, data in zip(ACTS, ({}, {"_selected_action": "999999"}, {}), strict=True):
        page = open_page(browser, act, data, "kind=extra")
        assert page.request["PATH_INFO"] == REPORT
        assert page.request["QUERY_STRING"] == "kind=extra"
        assert "Nothing was done: select a client first." in text(page)
    page = browser.post(f"{CHECK}?kind=extra", {}, follow=True)
    assert page.request["QUERY_STRING"] == "kind=extra"
    assert everything() == (0, 0, 0)


def test_each_act_needs_its_own_permission_and_no_link_does_it(client, differing):
    of_each = {
        "migration.add_run": [CHECK],
        "migration.resolve_mismatch": [*map(address, ACTS), UNDO],
    }
    for allowed, targets in of_each.items():
        client.force_login(make_user(f"lacks {allowed}", *VIEW, *(of_each.keys() - {allowed})))
        report = client.get(REPORT).content.decode()

        for target in targets:
            assert client.post(target, {"select_across": "1"}).status_code == 403, target
            assert client.get(target).status_code == 405, target
            assert f'formaction="{target}' not in report


def test_no_other_act_is_opened_from_the_report(browser, differing):
    assert browser.post(address("push"), {"select_across": "1"}).status_code == 404
    assert browser.post(address("nothing"), {"select_across": "1"}).status_code == 404


def test_all_that_the_filters_show_is_checked_in_a_run_at_once(browser, differing):
    for query, expected in (
        ("", {"one", "two"}),
        ("kind=extra", {"two"}),
        ("status=unchecked", {"doubt"}),
        ("status=match&q=e", {"equal"}),
    ):
        answer = browser.post(f"{CHECK}?{query}", {"select_across": "1"})

        run = Run.objects.latest("pk")
        assert answer.url == reverse("admin:migration_run_change", args=[run.pk])
        assert (run.kind, run.by.username) == (Run.Kind.COMPARE, "maria")
        assert set(run.items.values_list("slug", flat=True)) == expected
    assert Run.objects.count() == 4


@pytest.mark.usefixtures("agreeing")
def test_all_that_the_filters_show_are_those_of_the_address(browser, differing, monkeypatch):
    page = open_page(browser, "copy_to_aws", {"select_across": "1"}, "kind=extra")
    assert verdicts(page) == {"will": ["two"]}
    assert page.context["back"] == f"{REPORT}?kind=extra"

    monkeypatch.setattr("migration.runs.act_pages.FEW_CLIENTS", 1)
    many = open_page(browser, "copy_to_aws", {"select_across": "1"})
    assert (many.context["selected"], "groups" in many.context) == (2, False)
    url = many.request["PATH_INFO"] + "?" + many.request["QUERY_STRING"]
    browser.post(url, {"confirmed": "plan"})

    assert Run.objects.get().chosen == [differing["one"], differing["two"]]


def test_an_acknowledgement_of_many_is_undone_and_the_one_before_it_holds_again(
    browser, differing, maria
):
    make_comparison(differing["two"], "mismatch", slug="two", mismatches=[DIFFERENT])
    Resolution.objects.create(
        client_id=differing["one"], slug="one", kind="acknowledge", until=timezone.localdate(),
        mismatches=[{"status": "mismatch"}, DIFFERENT],
    )  # fmt: skip
    page = open_page(browser, "acknowledge", {"select_across": "1"})
    for wrong in (
        {"reason": "INC-42", "until": "2001-01-01"},
        {"reason": "", "until": UNTIL},
        {"reason": "INC-42", "until": "soon"},
    ):
        refused = confirm(browser, page, **wrong)
        assert refused.context["form"].errors
    assert Resolution.objects.count() == 1

    done = confirm(browser, refused, reason="INC-42", until=UNTIL)

    assert done.url == REPORT
    assert browser.get(REPORT).context["undo"] == "You acknowledged the mismatches of 2 clients."
    acknowledged = OpenMismatch.objects.with_acknowledged_and_unchecked().filter(acknowledged=True)
    assert set(acknowledged.values_list("slug", flat=True)) == {"one", "two"}

    browser.post(UNDO)

    assert set(acknowledged.values_list("slug", flat=True)) == {"one"}
    assert Resolution.objects.filter(by=maria, until=None).count() == 2
    said = [str(event.message) for event in AuditEvent.objects.filter(who="maria")]
    assert said.count("Took back an acknowledgement of mismatches.") == 2


def test_any_number_is_acknowledged_while_its_user_waits(browser, differing, monkeypatch):
    monkeypatch.setattr("migration.runs.act_pages.FEW_CLIENTS", 1)
    page = open_page(browser, "acknowledge", {"select_across": "1"})

    confirm(browser, page, reason="INC-42", until=UNTIL)

    assert set(Resolution.objects.values_list("slug", flat=True)) == {"one", "two"}


def test_an_undo_takes_nothing_back_that_is_somebody_elses(differing, maria):
    row = Resolution.objects.create(
        client_id=differing["one"], slug="one", kind="acknowledge", until=timezone.localdate(),
        by=make_user("pepe"),
    )  # fmt: skip

    assert Resolution.objects.withdraw_acknowledgements([row.pk], by=maria) == []
    assert Resolution.objects.acknowledgements_in_force().get() == row


@pytest.mark.usefixtures("agreeing")
def test_what_was_compared_anew_since_the_page_is_left_alone(browser, differing):
    both = [differing["one"], differing["two"]]
    pages = [
        (number, open_page(browser, act, {"_selected_action": both[:number]}))
        for act in ACTS
        for number in (1, 2)
    ]
    for slug in ("one", "two"):
        make_comparison(differing[slug], "mismatch", slug=slug, mismatches=[EXTRA])

    for number, page in pages:
        answer = confirm(browser, page, reason="INC-42", until=UNTIL)

        said = " ".join(map(str, get_messages(answer.wsgi_request)))
        assert all(slug in said for slug in ("one", "two")[:number])
        assert everything() == (0, 0, 0)


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
    page = open_page(browser, "copy_to_postgres", {"select_across": "1"})
    assert verdicts(page) == {"will": ["there", "written"], "refused": ["pending"]}
    ((refused, _name),) = next(
        group["clients"] for group in page.context["groups"] if group["verdict"] == "refused"
    )
    (line,) = refused["lines"]
    assert line["code"] == "newer_would_be_lost"
    assert line["remedy"]["url"].startswith(act_page("push", in_stores["pending"]))
    assert ["1" in each for each in page.context["sums"]] == [True]  # NOVA reads PostgreSQL for one
    assert page.context["is_dangerous"]

    answer = confirm(browser, page)
    assert set(answer.context["form"].errors) == {"reason"}
    done = confirm(browser, page, reason="INC-42")
    done = browser.get(done.url)

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


def test_a_run_copies_who_differs_as_the_page_showed_and_copies_nobody_twice(browser, in_stores):
    """Before, it went by the newest comparison, and wrote over what came into AWS since."""
    page = open_page(browser, "copy_to_aws", {"select_across": "1"})
    assert len(page.context["sums"]) == 1  # NOVA reads AWS for one
    confirm(browser, page)
    for slug in ("there", "written"):
        change_in_aws(secrets_manager(), f"nova/clients/{slug}", host="elsewhere.example.test")
    compare(client_ids=[in_stores["there"]])
    before = passwords(in_stores)
    run = Run.objects.get(kind=Run.Kind.TO_AWS)

    engine.work_on_run(run_id=run.pk)

    told = {item.slug: (item.outcome, item.message) for item in run.items.all()}
    assert [told[slug][0] for slug in ("there", "written")] == ["failed"] * 2
    assert (told["there"][1].key, told["pending"]) == ("compared_since", ("updated", None))
    after = before | {"pending": ("newer-in-rows", "newer-in-rows")}
    assert passwords(in_stores) == after
    # A worker that was killed after it had copied.
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None)
    run.items.filter(slug="pending").open_again()
    engine.work_on_run(run_id=run.pk)
    assert run.items.get(slug="pending").outcome == "unchanged"
    assert Resolution.objects.count() == 1
    # Who was left alone is copied as the newest comparison has it.
    assert {each.slug for each in RunItem.objects.needing_attention()} == {"there", "written"}
    for slug in ("there", "written"):
        copy_to_aws(client_id=in_stores[slug])
        compare(client_ids=[in_stores[slug]])
    assert not RunItem.objects.needing_attention().exists()
    assert all(rows == aws for rows, aws in passwords(in_stores).values())
    assert not OpenMismatch.objects.exists()


def test_no_value_that_the_page_didnt_know_is_copied_or_overwritten(browser, in_stores):
    """The same field differs, and its value is as long: only its code tells."""
    pk, copied = in_stores["there"], 0
    for act, number, where in (
        ("copy_to_aws", 1, "aws"),
        ("copy_to_aws", 2, "rows"),
        ("copy_to_postgres", 1, "rows"),
        ("copy_to_postgres", 2, "aws"),
    ):
        page = browser.get(act_page(act, *[pk, in_stores["written"]][:number]))
        if where == "aws":
            change_in_aws(secrets_manager(), "nova/clients/there", password=f"by-another{number}!")
        else:
            write_password(pk, f"of-another-place-{number}")
        before = passwords(in_stores)["there"]

        confirm(browser, page, reason="INC-42")
        for run in Run.objects.filter(kind=act.removeprefix("copy_"), finished_at=None):
            engine.work_on_run(run_id=run.pk)

        copied += number - 1
        assert passwords(in_stores)["there"] == before, (act, number, where)
        assert not Resolution.objects.filter(client_id=pk).exists()
        assert Resolution.objects.count() == copied
        change_in_aws(secrets_manager(), "nova/clients/written", password="of-aws-anew")
        compare(client_ids=list(in_stores.values()))


def test_what_passes_by_itself_is_tried_again(browser, in_stores, settings):
    there = all_clients().with_ids([in_stores["there"]])
    run = Run.start(kind=Run.Kind.TO_POSTGRES, chosen=there, tries=MANY_TRIES)

    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    engine.work_on_run(run_id=run.pk, seconds=0.1)

    item = run.items.get()
    assert (item.outcome, item.attempts) == ("", 1)


def test_who_may_resolve_alone_is_led_back_to_the_report_and_nobody_else_has_it_go_on(
    client, in_stores
):
    names = ("credentials.view_client", "migration.view_comparison", "migration.resolve_mismatch")
    client.force_login(make_user("eva", *names))
    one = open_page(client, "copy_to_aws", {"_selected_action": in_stores["there"]})
    assert confirm(client, one, reason="INC-42").url == REPORT
    several = open_page(client, "copy_to_aws", {"_selected_action": list(in_stores.values())})
    assert confirm(client, several).url == REPORT
    run = Run.objects.get(kind=Run.Kind.TO_AWS)
    assert run.by_name == "eva"
    assert Resolution.objects.get().by_name == "eva"

    run.pause(by=None)
    client.force_login(make_user("paco", *VIEW, "migration.add_run"))

    for order in ("resume", "go_on", "retry"):
        sent = client.post(reverse("admin:migration_run_steer", args=[run.pk]), {"order": order})
        assert sent.status_code == 403
    run.refresh_from_db()
    assert run.state == Run.State.PAUSED


def test_acknowledging_takes_as_many_queries_for_many_clients(
    browser, differing, django_assert_max_num_queries
):
    for n in range(18):
        pk = make_client(f"many-{n}")
        make_comparison(pk, "mismatch", slug=f"many-{n}", mismatches=[DIFFERENT, EXTRA])
    page = open_page(browser, "acknowledge", {"select_across": "1"})

    with django_assert_max_num_queries(34):
        confirm(browser, page, reason="INC-42", until=UNTIL)

    assert Resolution.objects.count() == 20
    assert AuditEvent.objects.filter(code="resolution", reason="INC-42").count() == 20


def test_planning_takes_as_many_queries_for_many_clients(browser, differing, stores):
    def count_queries(act: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            open_page(browser, act, {"select_across": "1"})
        return len(queries)

    def make_more(number: int) -> None:
        for _ in range(number):
            pk = make_full_client(f"many-{all_clients().count()}")
            make_comparison(pk, "missing_in_aws", mismatches=[], slug=str(pk))

    make_more(2)
    few = {act: count_queries(act) for act in ACTS}
    make_more(18)
    many = {act: count_queries(act) for act in ACTS}
    assert {act: many[act] for act in ACTS if many[act] > few[act] + 2} == {}


def test_a_copy_counts_no_client_that_is_then_refused(browser, in_stores, monkeypatch):
    """Finding A7: what both stores refuse is known to the page, not only to the run."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    sm = secrets_manager()
    # Missing in AWS; and in AWS something else than was compared.
    gone, changed = (make_full_client(slug) for slug in ("gone", "changed"))
    for pk in (gone, changed):
        enter_phase(pk, Phase.DUAL_WRITE)
    sm.sm.delete_secret(SecretId="nova/clients/gone", ForceDeleteWithoutRecovery=True)
    change_in_aws(sm, "nova/clients/changed", password="other")
    compare(client_ids=[gone, changed])
    change_in_aws(sm, "nova/clients/changed", password="another")

    for act, wanted in (
        ("copy_to_postgres", {"there", "written"}),
        ("copy_to_aws", {"there", "written", "pending", "gone"}),
    ):
        page = open_page(browser, act, {"select_across": "1"})
        assert set(verdicts(page)["will"]) == wanted
        confirm(browser, page, reason="INC-42")
        run = Run.objects.latest("pk")
        assert set(run.items.values_list("slug", flat=True)) == wanted
        if act == "copy_to_aws":
            engine.work_on_run(run_id=run.pk)
            assert not run.items.filter(outcome__in=("failed", "refused")).exists()
        else:
            run.stop(by=None)


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
    one = {"_selected_action": [str(differing["two"]), "999999"]}
    page = open_page(
        client, "set_owner", {"select_across": "1"} if selects_all else one, "kind=extra"
    )
    assert owners() == {}
    assert page.context["number"] == 1
    done = confirm(client, page, owner="maria")

    assert done.url == f"{REPORT}?kind=extra"
    assert owners() == {"two": "maria"}
    entry = AuditEvent.objects.get(code="owner")
    assert (entry.who, entry.slug) == ("keeper", "two")


def test_without_a_selection_or_the_permission_nobody_becomes_an_owner(client, keeper, differing):
    target = address("set_owner")
    none = open_page(client, "set_owner", {"_selected_action": "nonsense"}, "kind=extra")
    assert none.request["QUERY_STRING"] == "kind=extra"
    assert client.get(target).status_code == 405
    assert f'formaction="{target}' in client.get(REPORT).content.decode()

    client.force_login(make_user("narrow", *VIEW, "migration.resolve_mismatch"))

    assert client.post(target, {"all": "1", "owner": "maria"}).status_code == 403
    assert f'formaction="{target}' not in client.get(REPORT).content.decode()
    assert owners() == {}


def take_over(sm, name: str) -> None:
    """Somebody deletes the secret, and makes another one of the same name, of their own."""
    text = sm.get_value(name).text
    sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    sm.sm.create_secret(Name=name, SecretString=text)


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    ("act", "phase"),
    [
        ("copy_to_aws", Phase.DUAL_WRITE),
        ("copy_to_postgres", Phase.AWS),
        pytest.param("copy_to_aws", Phase.AWS, marks=pytest.mark.nightly),
        pytest.param("copy_to_postgres", Phase.DUAL_WRITE, marks=pytest.mark.nightly),
    ],
)
def test_a_copy_of_many_does_all_whom_its_plan_counts(browser, act, phase):
    sm = secrets_manager()
    names = {
        slug: f"nova/clients/{slug}"
        for slug in ("good", "fine", "theirs", "odd", "gone", "deleted")
    }
    ids = {slug: make_full_client(slug) for slug in names}
    for pk in ids.values():
        enter_phase(pk, phase)
    for name in names.values():
        change_in_aws(sm, name, password="example-theirs")
    change_in_aws(sm, names["odd"], port="no number")
    compare(client_ids=list(ids.values()))
    take_over(sm, names["theirs"])
    compare(client_ids=[ids["theirs"]])
    sm.sm.delete_secret(SecretId=names["gone"], ForceDeleteWithoutRecovery=True)
    sm.schedule_deletion(names["deleted"], days=7)
    compare(client_ids=[ids["gone"], ids["deleted"]])

    page = browser.get(act_page(act, *ids.values()))
    will = set(verdicts(page)["will"])
    confirm(browser, page, reason="INC-42")
    run = Run.objects.get(kind=Run.Kind.TO_AWS if act == "copy_to_aws" else Run.Kind.TO_POSTGRES)
    engine.work_on_run(run_id=run.pk, seconds=30)

    assert {"good", "fine"} <= will
    assert "theirs" not in will
    assert dict(run.items.values_list("slug", "outcome")) == dict.fromkeys(will, "updated")
