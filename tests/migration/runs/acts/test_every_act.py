"""Every act of the registry, for every role, for one client, a few and many, in both languages.

A new act needs no line here: what it is to hold is asked of its declaration.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

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
from migration.runs.acts import ACTS, FEW_CLIENTS, Act
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
MANY = FEW_CLIENTS + 1
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
# What may be sent by who may not open the page: each is sent for some act.
FORMS = ({}, {"confirmed": "1"}, {"confirmed": "plan"})
LANGUAGES = {"en": {}, "es": SPANISH}


@pytest.fixture
def clients(stores) -> list[int]:
    """One in each phase but the last, one whose stores differ, and one without a login; and many others."""
    ids = [make_full_client(f"in-{phase}") for phase in list(Phase)[:-1]]
    for pk, phase in zip(ids, Phase, strict=False):
        enter_phase(pk, phase)
    ids.append(make_full_client("idom"))
    enter_phase(ids[-1], Phase.DUAL_READ)
    make_comparison(ids[-1], "mismatch", slug="idom", mismatches=[DIFFERENT])
    ids.append(make_client("acme"))
    make_many(MANY - len(ids))
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


def may_open(browser: Browser, act: Act) -> bool:
    user = get_user(browser)
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


def check_texts(act: Act, pages: dict[str, object]) -> None:
    """The page says in both languages what it asks and does, with the number, and nothing in the other language."""
    for language, page in pages.items():
        assert page.status_code == 200
        title, button = str(page.context["title"]), str(page.context.get("button", ""))
        assert title.endswith("?")
        assert title.startswith("¿") == (language == "es")
        if number := button and page.context["number"]:
            with override(language):
                assert number == 1 or str(intcomma(number)) in button
    english_page, spanish_page = pages["en"], pages["es"]
    for name in ("title", "button"):
        shown = english_page.context.get(name)
        assert not shown or str(shown) != str(spanish_page.context[name])
    texts = Shown(spanish_page.content.decode()).texts
    assert {text: words for text in texts if (words := english(text))} == {}
    with override("en"):
        label = str(act.label)
        effect = str(act.effect)
    with override("es"):
        assert label != str(act.label)
        assert effect != str(act.effect)


@pytest.mark.usefixtures("unrendered")
def test_an_act_says_who_may_do_it(browsers):
    """And no other is shown its page, or offered it in the list."""
    for role, browser in browsers.items():
        offered = list_offered(browser)
        for act, sent in zip(ACTS.values(), cycle(FORMS), strict=False):
            may = may_open(browser, act)
            assert get_user(browser).has_perm(act.permission) or not may
            assert (act.code in offered) == bool(may and act.takes_many and act.menu), role
            if may:
                continue
            url = f"{CLIENTS}act/{act.code}/?all=1"
            assert browser.get(url).status_code == 403, (role, act.code)
            assert browser.post(url, sent).status_code == 403, (role, act.code)


@pytest.mark.usefixtures("unrendered")
def test_whoever_may_not_do_it_reaches_nothing_from_the_list(browsers, clients, monkeypatch):
    offered = {role: list_offered(each) for role, each in browsers.items()}
    with nothing_written(monkeypatch, but={"migration_auditevent"}):
        for role, browser in browsers.items():
            for code in ACTS.keys() - offered[role]:
                answer = browser.post(CLIENTS, {"action": code, "_selected_action": clients})
                assert "/act/" not in answer.headers.get("Location", ""), (role, code)


def test_choosing_and_opening_it_changes_nothing(browsers, clients, monkeypatch):
    for act in ACTS.values():
        one, *several = list_pages(act, clients)
        chosen = {"action": act.code, "_selected_action": clients[:2]}
        allowed = [each for each in browsers.values() if may_open(each, act)]
        assert allowed, f"no role may do {act.code}"
        with nothing_written(monkeypatch):
            for browser in allowed:
                assert browser.get(one).status_code == 200
                with pages_left_out():
                    for page in several:  # rendered below, in both languages
                        assert browser.get(page).status_code == 200
                    # A link from elsewhere may send a form that says nothing yet.
                    assert browser.post(one, {}).status_code == 200
                if not (act.takes_many and act.menu):
                    continue
                answer = browser.post(CLIENTS, chosen)
                assert answer.headers["Location"].startswith(f"{CLIENTS}act/{act.code}/?clients=")
                across = browser.post(CLIENTS, chosen | {"select_across": "1"})
                assert "all=1" in across.headers["Location"]


def test_its_page_asks_a_question_in_both_languages(root, clients):
    for act in ACTS.values():
        for page in list_pages(act, clients):
            check_texts(act, {name: root.get(page, **sent) for name, sent in LANGUAGES.items()})


def test_its_stored_plan_is_a_page_in_both_languages(root, clients, monkeypatch):
    for act in list_acts_of_stored_plans():
        page = root.post(f"{CLIENTS}act/{act.code}/?all=1", {"confirmed": "plan"}).url
        check_texts(act, {name: root.get(page, **sent) for name, sent in LANGUAGES.items()})
        plan = Run.objects.get()
        with nothing_written(monkeypatch, but={"migration_run", "migration_planrow"}):
            tasks.work_on_run(plan.pk)
            pages = {name: root.get(page, **sent) for name, sent in LANGUAGES.items()}

        check_texts(act, pages)
        assert sum(group["number"] for group in pages["en"].context["groups"]) == MANY
        assert not Run.objects.started().exists()
        plan.delete()


@pytest.mark.usefixtures("unrendered")
def test_a_stored_plan_is_no_ones_who_may_not_do_it(browsers, clients):
    for act in ACTS.values():
        if act.is_quick:  # it is planned while the page waits
            continue
        plan = act.store_plan(by=None, chosen=clients)
        page = f"{CLIENTS}act/plan/{plan.pk}/"
        refused = [each for each in browsers.values() if not may_open(each, act)]
        assert refused
        for browser, order in zip(refused, cycle(("1", "discard", "plan")), strict=False):
            assert browser.get(page).status_code == 403
            assert browser.post(page, {"confirmed": order}).status_code == 403
        plan.refresh_from_db()
        assert plan.state == Run.State.PLANNING


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
AS_ARGUMENTS = (
    "clients=",
    "clients=,,",
    f"clients={'9' * 19}",
    "clients=x%2C-1",
    "all=1&phase=none",
    "",
)


@pytest.mark.usefixtures("unrendered")
def test_no_form_that_the_page_didnt_make_is_carried_out(root, clients, monkeypatch):
    for number, act in enumerate(ACTS.values()):
        path, one = f"{CLIENTS}act/{act.code}/", get_page(act, clients[1:2])
        page = root.get(one).context_data
        form = page["form"]
        pair = page["shown"] or f"{clients[1]}:0"
        sent = {"confirmed": "1", "clients": pair, "is_superuser": "1", "act": "x", "": "y"}
        sent = fill(form) | sent
        with nothing_written(monkeypatch, but={"migration_auditevent"}):
            for turn, (what, make) in enumerate(HOSTILE.items(), number):
                if what == "nothing typed" and not {"typed", "reason"} & form.fields.keys():
                    continue
                addresses = [path]
                if what != "an order to plan, for nobody":
                    addresses += [one, get_page(act, clients), f"{path}?all=1"]
                # By day each is sent to each kind of address too, but of each act to one.
                for each in addresses if SOAK else [addresses[turn % len(addresses)]]:
                    status = root.post(each, sent | make(pair)).status_code
                    assert status in (200, 302, 400), (act.code, what, each)


def test_no_address_makes_its_page_fail(root, clients, monkeypatch):
    many = ",".join(map(str, range(10**6, 10**6 + 10**4)))
    names = [f"{CLIENTS}act/plan/{pk}/" for pk in ("9" * 19, "9" * 25, "0")]
    evil = f"&override={'x' * 500}&override=%FF&back=//evil.example"
    for act in ACTS.values():
        path = f"{CLIENTS}act/{act.code}/"
        names += [f"{path}?{each}" for each in (*AS_ARGUMENTS, f"clients={many}")]
    with nothing_written(monkeypatch, but={"migration_auditevent"}):
        with pages_left_out():
            for name in names:
                for answer in (root.get(name), root.post(name, {"confirmed": "1"})):
                    assert answer.status_code in (200, 302, 400, 404), name
        for act in ACTS.values():
            name = f"{get_page(act, clients[:2])}{evil}"
            for answer in (root.get(name), root.post(name, {"confirmed": "1"})):
                assert answer.status_code in (200, 302), name
                assert "evil" not in answer.headers.get("Location", "")
                assert b'href="//evil' not in answer.content


@pytest.mark.usefixtures("unrendered")
def test_no_override_is_taken_from_who_may_not_order_it(browsers, clients):
    for act in ACTS.values():
        kinds = "".join(f"&override={kind}" for kind in (*act.evidence_kinds, "nothing"))
        several = act.takes_many and act.evidence_kinds
        page = get_page(act, clients if several else clients[1:2])
        for browser in browsers.values():
            if act.may_override(get_user(browser)) or not may_open(browser, act):
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
