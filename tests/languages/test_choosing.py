"""How a page's language is chosen."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from tests.factories import make_full_client
from tests.languages.spanish import SPANISH
from tests.migration.pages import text


def language_of(response) -> str:
    return re.search(r'<html lang="([\w-]+)"', response.content.decode())[1]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("es", "es"), ("es-AR,es;q=0.8", "es"), ("en-GB", "en"), ("de, es;q=0.5", "es"), ("de", "en")],
)
def test_the_browser_chooses_the_language(client, db, accepted, language):
    response = client.get("/admin/login/", HTTP_ACCEPT_LANGUAGE=accepted)

    assert language_of(response) == language
    assert ("Iniciar sesión" in text(response)) == (language == "es")
    assert response["Content-Language"] == language


def test_the_switch_wins_over_the_browser_and_stays(db):
    browser = Browser(enforce_csrf_checks=True)
    page = browser.get("/admin/login/?next=/admin/", **SPANISH)
    form = re.search(r'(?s)<form[^>]+action="/i18n/setlang/".*?</form>', page.content.decode())[0]
    sent = dict(re.findall(r'name="(\w+)" value="([^"]+)"', form)) | {"language": "en"}

    answer = browser.post("/i18n/setlang/", sent, **SPANISH)

    assert answer.url == "/admin/login/?next=/admin/"
    assert language_of(browser.get("/admin/login/", **SPANISH)) == "en"
    browser.force_login(User.objects.create_superuser("root"))
    assert language_of(browser.get("/admin/", **SPANISH)) == "en"


def test_the_switch_leads_to_no_other_site_and_wants_its_token(db):
    browser = Browser(enforce_csrf_checks=True)
    assert browser.post("/i18n/setlang/", {"language": "es"}).status_code == 403

    answer = Browser().post("/i18n/setlang/", {"language": "es", "next": "https://evil.example/"})
    assert answer.url == "/"


@pytest.mark.parametrize("name", ["credentials_client", "migration_run"])
def test_the_switch_is_on_lists_and_forms(root, name):
    there = make_full_client("idom") if name == "credentials_client" else 0
    pages = [reverse(f"admin:{name}_changelist")]
    pages += [reverse(f"admin:{name}_change", args=[there])] if there else []
    for page in pages:
        html = root.get(page).content.decode()
        assert html.count('action="/i18n/setlang/"') == 1, page
        assert f'name="next" value="{page}"' in html


def test_from_the_answer_to_a_form_the_switch_leads_where_a_link_may(root):
    page = root.post(reverse("admin:credentials_client_add"), {}).content.decode()

    assert re.search(r'name="next" value="([^"]+)"', page)[1] == "/admin/"


def test_an_answer_is_kept_apart_by_language(root):
    assert "Accept-Language" in root.get("/admin/")["Vary"]
