"""The page of NOVA's tables: who sees it, who maps and accepts there, and how it shows hostile names."""

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.urls import reverse

from credentials.models import AcceptedObject, ColumnMapping, ColumnUse
from migration.core.pages import ClientTab
from migration.nova.tables import list_nova_objects, map_column, split_unknown_accepted
from migration.people.roles import ROLES
from nova_credentials.phases import Phase
from tests.factories import make_user, nova_connected, sent_form
from tests.migration.moves.clients import advance, enter_phase
from tests.migration.nova.tables.test_extras import POINTER, in_aws, read, write

PAGE = reverse("admin:credentials_columnmapping_changelist")
MAP = reverse("admin:credentials_columnmapping_map")
ACCEPT = reverse("admin:credentials_columnmapping_accept")


@pytest.fixture
def sign_in(stores, client):
    def sign_in(role: str):
        user = make_user(role.lower())
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def rule(change) -> str:
    """A rule with a hostile name; gives its digest."""
    name = '</code><script>alert("\u202ex")</script>'
    quoted = '"' + name.replace('"', '""') + '"'
    change(
        f"CREATE RULE {quoted} AS ON DELETE TO public.clients DO NOTHING",
        f"DROP RULE {quoted} ON public.clients",
    )
    return split_unknown_accepted(list_nova_objects())[0][0].digest


def said(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_the_page_and_only_the_forms_that_it_may_send(
    sign_in, add_column, rule, role
):
    column = add_column()
    browser = sign_in(role)
    maps, accepts = role in ("Operator", "Administrator"), role == "Administrator"

    page = browser.get(PAGE)
    assert page.context["asks"]
    html = page.content.decode()
    assert column in html
    assert (MAP in html, ACCEPT in html) == (maps, accepts)

    sent = {"column": column, "use": "ignore", "seen": ""}
    assert browser.post(MAP, sent).status_code == (302 if maps else 403)
    sent = {"digest": rule, "reason": "INC-42"}
    assert browser.post(ACCEPT, sent).status_code == (302 if accepts else 403)

    assert ColumnMapping.objects.exists() == maps
    assert AcceptedObject.objects.exists() == accepts


def test_a_name_cant_be_markup_nor_turn_the_text_around(sign_in, rule, add_column):
    add_column(name="\u202e</code><script>")
    html = sign_in("Administrator").get(PAGE).content.decode()

    assert "<script>alert" not in html
    assert "</code><script>" not in html
    assert "\u202e" not in html


def test_a_mapping_names_who_made_it(sign_in, add_column):
    column = add_column()
    browser = sign_in("Operator")
    html = browser.get(PAGE).content.decode()
    assert "not mapped" in html

    response = browser.post(MAP, {"column": column, "use": "secret", "seen": ""})

    assert "is mapped" in said(response)
    assert ColumnMapping.objects.get().username == "operator"
    assert "not mapped" not in browser.get(PAGE).content.decode()


def test_what_the_page_did_not_offer_is_refused(sign_in, add_column):
    column, browser = add_column(), sign_in("Operator")
    for sent, status, words in (
        ({"use": "other"}, 400, ""),
        ({}, 400, ""),
        ({"use": "plain", "seen": "secret"}, 302, "meanwhile"),
        ({"use": "plain", "column": "public.clients.slug"}, 302, "not a column that NOVA added"),
    ):
        response = browser.post(MAP, {"column": column, "seen": ""} | sent)

        assert response.status_code == status
        if words:
            assert words in said(response)
        assert not ColumnMapping.objects.exists()


def test_an_acceptance_without_a_reason_or_of_something_else_is_refused(sign_in, rule):
    browser = sign_in("Administrator")

    assert "reason" in said(browser.post(ACCEPT, {"digest": rule, "reason": " "}))
    assert "meanwhile" in said(browser.post(ACCEPT, {"digest": "0", "reason": "x"}))

    assert not AcceptedObject.objects.exists()


def test_neither_the_page_nor_the_client_shows_a_value(sign_in, add_column, idom):
    column, plain = add_column(), add_column(name="plain_one")
    map_column(name=column, use=ColumnUse.SECRET)
    map_column(name=plain, use=ColumnUse.PLAIN)
    write(column, "MARKER", idom), write(plain, "MARKER", idom)
    enter_phase(idom, Phase.DUAL_READ)
    browser = sign_in("Administrator")

    url = reverse("admin:credentials_client_change", args=[idom])
    for url in (PAGE, "/admin/", *(f"{url}?tab={tab}" for tab in ClientTab)):
        assert "MARKER" not in browser.get(url).content.decode()


def test_the_pages_queries_do_not_grow_with_columns_and_objects(
    sign_in, add_column, rule, django_assert_max_num_queries
):
    browser = sign_in("Administrator")
    with django_assert_max_num_queries(9):
        browser.get(PAGE)
    for number in range(20):
        add_column(name=f"more_{number}")

    with django_assert_max_num_queries(9):
        browser.get(PAGE)


def test_a_page_that_cant_read_a_column_says_which(sign_in, change, idom):
    browser = sign_in("Viewer")
    change(
        "ALTER TABLE public.clients RENAME slug TO short_name",
        "ALTER TABLE public.clients RENAME short_name TO slug",
    )

    for url in (reverse("admin:credentials_client_changelist"), PAGE):
        response = browser.get(url)
        assert response.status_code == (200 if url == PAGE else 503)
        assert "public.clients.slug" in response.content.decode()

    browser.logout()
    assert browser.get(PAGE).status_code == 302


# A save of the client's form


@pytest.fixture
def save(sign_in):
    browser = sign_in("Operator")

    def save(pk: int, **changes: str) -> None:
        url = reverse("admin:credentials_client_change", args=[pk])
        data = sent_form(browser.get(f"{url}?tab=logins").content.decode())
        assert browser.post(url, data | changes).status_code == 302

    return save


def test_a_save_keeps_the_mapped_columns_in_both_stores(save, add_column, idom, sm):
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, "example-token", idom)
    for phase in (Phase.DUAL_WRITE, Phase.AWS, Phase.PURGED):
        advance(idom, phase)

        save(idom, **{"databases-0-db_password": f"example-in-{phase}"})

        database = in_aws(sm)["database"]
        assert database["password"] == f"example-in-{phase}"
        assert database["extra"] == {"refresh_token": "example-token"}
        assert read(column, idom) == [POINTER if phase == Phase.PURGED else "example-token"]


def test_nova_waits_for_no_mapping(add_column, idom):
    column = add_column()
    with nova_connected() as nova:
        nova.execute("UPDATE public.client_database_credentials SET db_port = 1")

        map_column(name=column, use=ColumnUse.SECRET)

        nova.execute("SET LOCAL lock_timeout = '1ms'")
        nova.execute("UPDATE public.clients SET name = 'x'")
        nova.rollback()
