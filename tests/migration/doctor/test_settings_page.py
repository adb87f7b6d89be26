"""The page of settings: a line for each of its pages that the user may open, with what holds now."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from credentials.nova_objects import NovaObject, ObjectKind
from migration.core.aws_writes import stop_aws_writes
from migration.doctor import pages
from migration.nova import table_pages
from tests.factories import make_user

PAGE = reverse("admin:migration_run_settings")


@pytest.fixture
def open_as(stores, client):
    """What the page tells a user of that role: title -> what holds now."""

    def open_as(role: str) -> dict[str, str]:
        user = make_user(role.lower())
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return {title: now for title, now, _url in client.get(PAGE).context["settings"]}

    return open_as


def test_each_sees_the_settings_whose_pages_they_may_open(open_as, client):
    everybody = {"NOVA's tables", "AWS writes", "Key and regions", "Cost"}

    for role, more in (("Viewer", set()), ("Administrator", {"Notices"})):
        assert open_as(role).keys() == everybody | more
        for _title, _now, url in client.get(PAGE).context["settings"]:
            assert client.get(url).status_code == 200, (role, url)


def test_it_says_what_holds_now(open_as, settings):
    before = open_as("Viewer")
    assert before["AWS writes"] == "Allowed"
    assert before["Key and regions"] == "AWS managed key"
    assert before["Cost"] == "about $0.00 a month"

    stop_aws_writes(reason="INC-42")
    settings.NOVA_KMS_KEY_ID = "alias/nova"
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-central-1": ""}

    after = open_as("Operator")
    assert after["AWS writes"] != "Allowed"
    assert after["Key and regions"] == "alias/nova, eu-central-1, eu-west-1"


def test_the_line_of_novas_tables_counts_what_their_page_asks_for(open_as, client):
    line = open_as("Viewer")["NOVA's tables"]

    shown = client.get(reverse("admin:credentials_columnmapping_changelist")).context
    number = sum(len(shown[name]) for name in ("breaking", "unknown"))
    assert shown["asks"] == bool(number)
    assert line == (f"{number} to review" if number else "Nothing to review")


def test_roles_that_are_not_apart_are_nothing_to_review_there_but_healths(
    open_as, client, monkeypatch
):
    shared = NovaObject(ObjectKind.SHARED_ROLE, "", "public.clients", "nova")
    for module in (pages, table_pages):
        monkeypatch.setattr(module, "list_nova_objects", lambda: [shared])

    assert open_as("Viewer")["NOVA's tables"] == "Nothing to review"

    page = client.get(reverse("admin:credentials_columnmapping_changelist"))
    assert not page.context["asks"]
    assert "/health/#roles_not_apart" in page.content.decode()


def test_it_names_the_rules_of_moves_and_their_settings(open_as, client, settings):
    settings.NOVA_DUAL_READ_HOURS, settings.NOVA_MIN_READS = 36.0, 1234
    open_as("Viewer")

    context = client.get(PAGE).context

    lines = {name: value for _label, value, name in context["rules"] + context["of_site"]}
    assert lines["NOVA_DUAL_READ_HOURS"] == "36 hours"
    assert lines["NOVA_MIN_READS"] == "1,234"
    assert all(hasattr(settings, name) for name in lines)


def test_who_has_no_role_sees_nothing(client, db):
    client.force_login(make_user("new"))

    assert client.get(PAGE).status_code == 403
