"""Every act of the registry, for every role, for one client, a few and many, in both languages.

A new act needs no line here: what it is to hold is asked of its declaration.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.client import BaseClient
from django import forms
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client as Browser
from django.utils.translation import override

from credentials.localization import intcomma
from migration import tasks
from migration.people.roles import ROLES
from migration.runs import act_pages
from migration.runs.acts import ACTS, Act
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    all_tables,
    make_client,
    make_comparison,
    make_full_client,
    make_in_role,
    make_many,
    make_user,
)
from tests.languages.spanish import SPANISH, Shown, english
from tests.long_tests import SOAK
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import CLIENTS, DIFFERENT
from tests.page_forms import pages_left_out

NOBODY = "nobody"
# A visit counts its calls to AWS, at their rate, and says that its session goes on.
COUNTERS = {
    "axes_accessattempt",
    "django_session",
    "migration_databaseclaim",
    "migration_keptcounts",
    "migration_lease",
    "migration_rate",
}
READS = re.compile(r"(Get|List|Describe|BatchGet|Simulate|Lookup|Validate)")
AS_ARGUMENTS = (
    "clients=",
    "clients=,,",
    f"clients={'9' * 19}",
    "clients=x%2C-1",
    "all=1&phase=none",
    "",
)
# Of an address: what nobody may be led to, and no kind of evidence.
EVIL = f"&override={'x' * 500}&override=%FF&back=//evil.example"
# What each act's own form is asked about.
OF_ITS_FORM = {"nothing typed", "a reason that can't be stored"}


@pytest.fixture
def clients(stores, monkeypatch) -> list[int]:
    """One in each phase but the last, one whose stores differ, one without a login. Another makes many."""
    ids = [make_full_client(f"in-{phase}") for phase in list(Phase)[:-1]]
    for pk, phase in zip(ids, Phase, strict=False):
        enter_phase(pk, phase)
    ids.append(make_full_client("idom"))
    enter_phase(ids[-1], Phase.DUAL_READ)
    make_comparison(ids[-1], "mismatch", slug="idom", mismatches=[DIFFERENT])
    ids.append(make_client("acme"))
    make_many(1)
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", len(ids))
    return ids


@pytest.fixture
def browsers(clients) -> dict[str, Browser]:
    """Somebody of each role, and somebody who may only enter."""
    found = {role: Browser() for role in (*ROLES, NOBODY)}
    for role, browser in found.items():
        name = role.lower().replace(" ", "-")
        browser.force_login(make_user(name) if role == NOBODY else make_in_role(name, role))
    return found


@pytest.fixture
def root(clients) -> Browser:
    browser = Browser(raise_request_exception=False)
    browser.force_login(make_user("root", is_superuser=True))
    return browser


@pytest.fixture
def unrendered() -> Iterator[None]:
    """These tests look at what a page is given, and at codes: rendering took most of their time."""
    with pages_left_out():
        yield


@contextmanager
def nothing_written(monkeypatch, *, but: set[str] = frozenset()) -> Iterator[None]:
    """Nobody calls an operation of AWS that writes, and no row changes."""
    called: list[str] = []
    call = BaseClient._make_api_call

    def make_api_call(self, operation, parameters):
        called.append(operation)
        return call(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", make_api_call)
    before = read_tables()
    yield
    after = read_tables()
    changed = {name for name in after if before[name] != after[name]} - COUNTERS - but
    assert changed == set()
    assert [name for name in called if not READS.match(name)] == []


def read_tables() -> dict[str, str]:
    digests = " UNION ALL ".join(
        f"SELECT '{name.partition('.')[2]}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"
        for name in all_tables()
        if "kept_for_tests" not in name
    )
    with connection.cursor() as cursor:
        cursor.execute(digests)
        return dict(cursor.fetchall())


def get_page(act: Act, client_ids: list[int]) -> str:
    return f"{CLIENTS}act/{act.code}/?clients={','.join(map(str, client_ids))}"


def list_pages(act: Act, clients: list[int]) -> list[str]:
    """The act's page for one client, a few and many."""
    pages = [get_page(act, clients[1:2])]
    if act.takes_many:
        pages += [get_page(act, clients), f"{CLIENTS}act/{act.code}/?all=1"]
    return pages


def list_acts_of_stored_plans() -> list[Act]:
    """The acts whose plan workers make where there are many clients; of the others it is made while the page waits."""
    return [act for act in ACTS.values() if act.takes_many and not act.is_quick]


def get_user(browser: Browser) -> User:
    return User.objects.get(pk=browser.session["_auth_user_id"])


def may_open(user: User, act: Act) -> bool:
    return act.may(user) and user.has_perm("credentials.view_client")


def list_offered(browser: Browser) -> set[str]:
    """The acts that the list offers for what is selected."""
    with pages_left_out():
        page = browser.get(CLIENTS)
    form = page.context_data["action_form"] if page.status_code == 200 else None
    if not form:
        return set()
    groups = [
        names if isinstance(names, list) else [(code, names)]
        for code, names in form.fields["action"].choices
    ]
    return {code for names in groups for code, _label in names} & ACTS.keys()


def check_spanish(browser: Browser, page: str) -> dict:
    """What the page is given; it asks in Spanish, with the number, has no word of English, and leads nowhere else."""
    answer = browser.get(page, **SPANISH)
    assert answer.status_code == 200, page
    given = answer.context_data
    assert str(given["title"]).startswith("¿")
    assert str(given["title"]).endswith("?")
    if number := given.get("button") and given["number"]:
        with override("es"):
            assert number == 1 or str(intcomma(number)) in given["button"]
    texts = Shown(answer.content.decode()).texts
    assert {text: words for text in texts if (words := english(text))} == {}
    assert b'href="//evil' not in answer.content
    return given


def check_both_languages(browser: Browser, page: str) -> None:
    spanish = check_spanish(browser, page)
    with pages_left_out():
        given = browser.get(page).context_data
    assert str(given["title"]).endswith("?")
    assert not str(given["title"]).startswith("¿")
    if number := given.get("button") and given["number"]:
        assert number == 1 or str(intcomma(number)) in given["button"]
    for name in ("title", "button"):
        assert not given.get(name) or str(given[name]) != str(spanish[name])


@pytest.mark.usefixtures("unrendered")
def test_whoever_may_not_do_it_is_offered_shown_and_reaches_nothing(browsers, clients, monkeypatch):
    plans = {
        act.code: act.store_plan(by=None, chosen=clients)
        for act in ACTS.values()
        if not act.is_quick  # it is planned while the page waits
    }
    orders = ("1", "discard", "plan")
    refused = []
    with nothing_written(monkeypatch, but={"migration_auditevent"}):
        for turn, (role, browser) in enumerate(browsers.items()):
            offered, user = list_offered(browser), get_user(browser)
            for number, act in enumerate(ACTS.values(), turn):
                may = may_open(user, act)
                assert user.has_perm(act.permission) or not may
                assert (act.code in offered) == bool(may and act.takes_many and act.menu), role
                if may:
                    continue
                refused.append(act.code)
                pages = [f"{CLIENTS}act/{act.code}/?all=1"]
                if plan := plans.get(act.code):
                    pages.append(f"{CLIENTS}act/plan/{plan.pk}/")
                # Each is opened by some roles, and sent something by others.
                for way, page in enumerate(pages, number):
                    sent = {"confirmed": orders[number // 2 % 3]}
                    answer = browser.post(page, sent) if way % 2 else browser.get(page)
                    assert answer.status_code == 403, (role, page)
                if number % 8 == 0:
                    chosen = {"action": act.code, "_selected_action": clients}
                    answer = browser.post(CLIENTS, chosen)
                    assert "/act/" not in answer.headers.get("Location", ""), (role, act.code)
    assert set(refused) == ACTS.keys()


def test_choosing_and_opening_it_changes_nothing_and_asks_in_both_languages(
    browsers, clients, monkeypatch
):
    users = {role: get_user(browser) for role, browser in browsers.items()}
    with nothing_written(monkeypatch):
        for turn, act in enumerate(ACTS.values()):
            one, *several = list_pages(act, clients)
            allowed = [browsers[role] for role, user in users.items() if may_open(user, act)]
            assert allowed, f"no role may do {act.code}"
            browser = allowed[turn % len(allowed)]
            with pages_left_out():
                for each in allowed:
                    assert each.get(one).status_code == 200
                # A link from elsewhere may send a form that says nothing yet.
                assert browser.post(several[-1] if several else one, {}).status_code == 200
            check_both_languages(browser, f"{one}{EVIL}")
            for page in several[: 2 if turn % 4 == 0 else 1]:
                check_spanish(browser, page)
            with override("en"):
                label, effect = str(act.label), str(act.effect)
            with override("es"):
                assert (label != str(act.label), effect != str(act.effect)) == (True, True)
            if not (act.takes_many and act.menu):
                continue
            across = turn % 2 == 0
            chosen = {"action": act.code, "_selected_action": clients[:2]}
            answer = browser.post(CLIENTS, chosen | ({"select_across": "1"} if across else {}))
            start = f"{CLIENTS}act/{act.code}/?{'all=1' if across else 'clients='}"
            assert answer.headers["Location"].startswith(start)


def test_its_stored_plan_is_a_page_in_both_languages(root, clients, monkeypatch):
    plans = {}
    for act in list_acts_of_stored_plans():
        page = root.post(f"{CLIENTS}act/{act.code}/?all=1", {"confirmed": "plan"}).url
        plans[Run.objects.get(act=act.code)] = page
    check_both_languages(root, page)
    with nothing_written(monkeypatch, but={"migration_run", "migration_planrow"}):
        for plan, page in plans.items():
            tasks.work_on_run(plan.pk)
            groups = check_spanish(root, page)["groups"]
            assert sum(group["number"] for group in groups) == len(clients) + 1
    assert not Run.objects.started().exists()


def fill(form: forms.Form) -> dict[str, str]:
    """What a person would type into the form."""
    sent = {
        name: str(form.get_initial_for_field(field, name) or "")
        for name, field in form.fields.items()
    }
    for name, field in form.fields.items():
        if choices := [str(value) for value, _label in getattr(field, "choices", ()) if value]:
            sent[name] = sent[name] or choices[0]
    return sent | {"reason": "INC-42", "typed": form.wanted}


# By what a browser would have to do to send it: the clients of a form whose page showed `pair`, and what else it holds.
HOSTILE = {
    "no clients": lambda pair: {"clients": ""},
    "only separators": lambda pair: {"clients": " : : "},
    "a client that the page didn't show": lambda pair: {"clients": pair.partition(":")[0]},
    "one who is nobody": lambda pair: {"clients": "4242424242:0011223344556677"},
    "what was shown long ago": lambda pair: {"clients": f"{pair}0"},
    "an id of 19 digits": lambda pair: {"clients": f"{'9' * 19}:x"},
    "an id of 18 digits": lambda pair: {"clients": f"{'9' * 18}:x"},
    "a NUL": lambda pair: {"clients": f"{pair}\0"},
    "no number": lambda pair: {"clients": "x:y -1:z ²:٣ 1.5:0"},
    "ten thousand": lambda pair: {"clients": " ".join(f"{n}:x" for n in range(10**6, 10**6 + 10**4))},
    "nothing typed": lambda pair: {"typed": "", "reason": "x" * 5000},
    "a reason that can't be stored": lambda pair: {"reason": "a\0b", "typed": "\0"},
    "no order": lambda pair: {"confirmed": "\0"},
    "an order to plan, for nobody": lambda pair: {"confirmed": "plan", "clients": "4242424242"},
}  # fmt: skip


@pytest.mark.usefixtures("unrendered")
def test_no_form_that_the_page_didnt_make_is_carried_out(root, clients, monkeypatch):
    with nothing_written(monkeypatch, but={"migration_auditevent"}):
        for number, act in enumerate(ACTS.values()):
            path, one = f"{CLIENTS}act/{act.code}/", get_page(act, clients[1:2])
            page = root.get(one).context_data
            form = page["form"]
            pair = page["shown"] or f"{clients[1]}:0"
            sent = {"confirmed": "1", "clients": pair, "is_superuser": "1", "act": "x", "": "y"}
            sent = fill(form) | sent
            for turn, (what, make) in enumerate(HOSTILE.items(), number):
                if what == "nothing typed" and not {"typed", "reason"} & form.fields.keys():
                    continue
                # By day of each act some, and to one kind of address; what depends on its form of every act.
                if not (SOAK or what in OF_ITS_FORM or turn % 5 == 0):
                    continue
                addresses = [path]
                if what != "an order to plan, for nobody":
                    addresses += [one, get_page(act, clients), f"{path}?all=1"]
                for each in addresses if SOAK else [addresses[turn % len(addresses)]]:
                    status = root.post(each, sent | make(pair)).status_code
                    assert status in (200, 302, 400), (act.code, what, each)


@pytest.mark.usefixtures("unrendered")
def test_no_address_makes_its_page_fail(root, clients, monkeypatch):
    many = ",".join(map(str, range(10**6, 10**6 + 10**4)))
    names = [f"{CLIENTS}act/plan/{pk}/" for pk in ("9" * 19, "9" * 25, "0")]
    queries = [*AS_ARGUMENTS, f"clients={many}", f"clients={clients[0]},{clients[1]}{EVIL}"]
    for turn, act in enumerate(ACTS.values()):
        # By day of each act a quarter.
        some = queries if SOAK else queries[turn % 4 :: 4]
        names += [f"{CLIENTS}act/{act.code}/?{each}" for each in some]
    with nothing_written(monkeypatch, but={"migration_auditevent"}):
        for name in names:
            for answer in (root.get(name), root.post(name, {"confirmed": "1"})):
                assert answer.status_code in (200, 302, 400, 404), name
                assert "evil" not in answer.headers.get("Location", ""), name


@pytest.mark.usefixtures("unrendered")
def test_no_override_is_taken_from_who_may_not_order_it(browsers, clients):
    for act in ACTS.values():
        if not act.evidence_kinds:
            continue
        kinds = "".join(f"&override={kind}" for kind in (*act.evidence_kinds, "nothing"))
        page = get_page(act, clients if act.takes_many else clients[1:2])
        for browser in browsers.values():
            user = get_user(browser)
            if act.may_override(user) or not may_open(user, act):
                continue
            plain = browser.get(page)
            asked = browser.get(f"{page}{kinds}").context_data
            assert asked["overrides"] == []
            assert asked["number"] == plain.context_data["number"]
            assert bool(asked["is_dangerous"]) == bool(act.is_dangerous)


@pytest.mark.usefixtures("db")
def test_of_every_act_it_is_known_who_may_do_it():
    known = {
        f"{app}.{name}"
        for app, name in Permission.objects.values_list("content_type__app_label", "codename")
    }

    assert {act.permission for act in ACTS.values()} <= known
