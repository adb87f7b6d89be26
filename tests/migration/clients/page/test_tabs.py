"""The header and the tabs of a client's page: what each holds, what it does not, and where its links lead."""

import re
from html import unescape

from credentials.models import Client
from migration.core.clients import all_clients
from migration.core.pages import ClientTab
from migration.models import ClientGroup, ClientMigration
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_comparison,
    make_reader_process,
    make_user,
    sent_form,
)
from tests.migration.clients.page.pages import page
from tests.migration.moves.clients import advance, enter_phase
from tests.migration.pages import DIFFERENT, page_of, text
from tests.page_forms import pages_left_out


def links_of(html: str) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="([^"]+)"', html)]


def test_every_tab_says_which_client_it_is_and_leads_to_the_others(root, idom):
    make_comparison(idom, "mismatch", mismatches=[DIFFERENT])
    ClientMigration.objects.update(phase=Phase.DUAL_WRITE)
    wave = ClientGroup.objects.get_or_add("wave 1")
    wave.put_clients(all_clients())
    here = page_of("credentials_client", idom)
    for tab in ClientTab:
        response = page(root, idom, tab)

        html, said = response.content.decode(), text(response)
        assert re.findall(r"(?s)<h1[^>]*>(.*?)</h1>", html) == ["IDOM"]
        for fact in ("idom", "Dual write", "Mismatch", "Both stores", "Push pending", "wave 1"):
            assert fact in said
        assert {f"{here}?tab={each}" for each in ClientTab} <= set(links_of(html))
        assert re.findall(r'<a href="[^"]*tab=(\w+)" aria-current="page"', html) == [tab]
        # Only the logins have a form to save.
        has_form = tab == ClientTab.LOGINS
        assert ('id="client_form"' in html, 'name="_save"' in html) == (has_form, has_form)


def test_a_comparison_from_before_a_purge_or_restore_is_told_so_in_header_and_tab(
    stores, root, idom
):
    def says() -> tuple[bool, bool, bool]:
        said = text(page(root, idom, ClientTab.COMPARISON))
        told = (
            "Not checked since the purge.",
            "Not compared since the restore.",
            "Before the last",
        )
        return tuple(each in said for each in told)

    enter_phase(idom, Phase.AWS)
    advance(idom, Phase.PURGED)
    purged = says()
    move(client_id=idom, new=Phase.AWS)
    restored = says()
    compare(client_ids=[idom])

    assert (purged, restored) == ((True, False, True), (False, True, True))
    assert says() == (False, False, False)


def test_an_address_without_a_tab_has_the_overview(viewer, idom):
    for query, tab in (
        ("", "overview"),
        ("?tab=x", "overview"),
        ("?tab=", "overview"),
        ("?history=2", "history"),
    ):
        with pages_left_out():
            shown = viewer.get(page_of("credentials_client", idom) + query)
        assert shown.context_data["tab"] == tab, query


def test_a_form_that_is_refused_is_shown_again_wherever_it_was_sent(root, idom):
    data = sent_form(page(root, idom, "logins").content.decode())

    refused = root.post(page_of("credentials_client", idom), data | {"name": ""})

    assert refused.context["tab"] == "logins"
    assert 'id="client_form"' in refused.content.decode()


def test_who_saves_and_goes_on_editing_stays_at_the_logins(root, idom):
    url = page_of("credentials_client", idom)
    data = sent_form(page(root, idom, "logins").content.decode())

    saved = root.post(f"{url}?tab=logins", data | {"name": "IDOM 2", "_continue": "1"})

    assert saved.url == f"{url}?tab=logins"
    assert Client.objects.get(pk=idom).name == "IDOM 2"


def test_the_links_keep_the_filters_of_the_list(viewer, idom):
    html = page(viewer, idom, query="&_changelist_filters=phase%3Daws").content.decode()

    kept = [url for url in links_of(html) if "tab=" in url and "_changelist_filters" in url]
    assert len(kept) == len(ClientTab)


def test_djangos_history_is_the_clients_own(viewer, idom):
    url = f"/admin/credentials/client/{idom}/history/"
    ClientMigration.objects.change_phase([idom], Phase.POSTGRES, Phase.DUAL_WRITE, reason="INC-42")

    (line,) = viewer.get(url).context["history"].lines
    assert (line.message.key, line.reason) == ("moved", "INC-42")
    assert viewer.post(url, {"name": "x"}).url == url
    assert viewer.get("/admin/credentials/client/999999/history/").status_code == 302


def test_a_login_is_named_by_its_host_or_address(root, idom):
    cards = page(root, idom, "logins").context["login_cards"]

    assert [card["name"] for card in cards] == [
        "db.example.test › app",
        "invoices@example.test",
        "EXAMPLEKEYID00000000",
    ]


def test_each_secret_has_its_reveal_beside_it(client, idom):
    reveal = "migration.reveal_credential"
    for name, more in (("maria", ["credentials.change_client"]), ("paco", [])):
        client.force_login(make_user(name, *VIEW, *more, reveal))

        html = page(client, idom, "logins").content.decode()

        for kind in ("database", "email", "aws"):
            assert len(re.findall(rf'href="[^"]*/reveal/{kind}/\d+/\w+/"', html)) == 1


def test_a_move_that_would_be_refused_is_no_button_to_press(client, idom):
    client.force_login(make_user("operator", *VIEW, "migration.move_client"))
    make_reader_process()
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_WRITE)

    response = page(client, idom)

    html = response.content.decode()
    (button,) = re.findall(r"<button[^>]*>\s*Move to dual read", html)
    assert " disabled" in button
    assert "2 checks don't pass yet" in text(response)
    assert "/act/dual_read/" not in html
    assert "/act/back_to_postgres/" in html  # the way back is open
