"""A second factor in a real browser: set up on the first login, asked for at the next, reset by an Administrator."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group

from nova_admin.environment import OidcProvider
from tests.browser.axe import violations
from tests.factories import make_user
from tests.nova_admin.login.codes import Phone, give_factor

pytestmark = pytest.mark.browser

PASSWORD = "example-login-password"


@pytest.fixture
def maria(transactional_db, settings):
    settings.NOVA_REQUIRE_SECOND_FACTOR = True
    settings.NOVA_OIDC = OidcProvider("https://idp.example", "nova", "x", {"ops": "Operator"})
    maria = make_user("maria", password=PASSWORD)
    maria.groups.add(Group.objects.get(name="Operator"))
    return maria


def give_password(page) -> None:
    page.get_by_label("Username").fill("maria")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def test_a_first_login_sets_it_up_and_the_next_one_asks_for_it(visit, maria):
    page = visit(
        "/admin/migration/run/", user=AnonymousUser(), viewport={"width": 390, "height": 844}
    )
    page.get_by_role("link", name="Log in with your organisation's account").wait_for()
    found = violations(page)
    give_password(page)
    page.get_by_text("Can't scan it?").click()
    phone = Phone(page.locator("code").inner_text().replace(" ", ""))
    found += violations(page)
    page.get_by_label("six digits").fill(phone.show(-30))
    page.get_by_label("Your own password, to confirm").fill(PASSWORD)
    page.get_by_role("button", name="Set up the second factor").click()
    # What is read at once would be read from the page before.
    kept = page.get_by_role("link", name="I have stored them")
    kept.wait_for()
    codes = page.locator("li code").all_inner_texts()
    found += violations(page)
    kept.click()
    page.wait_for_url("**/admin/migration/run/")
    page.goto(page.url.replace("migration/run/", "second-factor/"))
    page.get_by_text("10 recovery codes are left").wait_for()
    found += violations(page)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="maria").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").click()
    give_password(page)
    page.get_by_label("or recovery code").wait_for()
    found += violations(page)
    page.get_by_label("or recovery code").fill(codes[0])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")

    assert len(codes) == 10
    assert found == []
    # Nothing is wider than a phone.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_administrator_resets_it(visit, maria, settings):
    settings.NOVA_REQUIRE_SECOND_FACTOR = False
    give_factor(maria)
    root = make_user("root", password=PASSWORD, is_superuser=True)
    page = visit(f"/admin/people/{maria.pk}/", user=root)
    page.get_by_role("link", name="Remove second factor…").click()
    found = violations(page)
    page.get_by_label("Your own password").fill(PASSWORD)
    page.get_by_role("button", name="Remove second factor").click()
    page.get_by_text("maria has no second factor any more").wait_for()

    assert found + violations(page) == []
