"""The bar above every page: which environment, account, region and endpoint this is."""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from migration.core.aws_writes import DATABASE_IS_COPY, DATABASE_UNKNOWN, WRITES_STOPPED
from migration.models import Secret
from migration.site import environment
from migration.site.environment import account_cache
from tests.migration.pages import every_page

# All pages have the bar; this one asks for little else.
QUICK = "/admin/password_change/"
ARN = "arn:aws:secretsmanager:eu-west-1:{}:secret:nova/clients/idom-AbCdEf"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch) -> Iterator[SimpleNamespace]:
    """The settings that the bar alone sees; others decide whether this process may write."""
    seen = SimpleNamespace(
        EMBEDDED_STORES=False,
        NOVA_DEMO=False,
        DEBUG=False,
        NOVA_ENVIRONMENT="",
        AWS_ENDPOINT_URL="",
        AWS_REGION="eu-west-1",
    )
    for module in (environment, environment):
        monkeypatch.setattr(module, "settings", seen)
    monkeypatch.setattr(environment, "find_write_refusal", lambda: None)
    account_cache.forget()
    yield seen
    account_cache.forget()


def bar(browser: Client, url: str = QUICK) -> tuple[str, str]:
    """Its colour and its words."""
    page = browser.get(url).content.decode()
    found = re.search(r'(?s)<p class="environment environment-(\w+)">(.*?)</p>', page)
    words = re.sub(r"<span class=\"material[^<]*</span>|<[^>]+>", " ", found[2])
    return found[1], " ".join(words.split())


def test_every_page_has_it_and_who_is_not_logged_in_sees_none(viewer):
    for url in every_page():
        assert bar(viewer, url) == (
            "production",
            "Production AWS account not known yet eu-west-1",
        ), url
    assert "environment-" not in Client().get("/admin/login/").content.decode()


def test_production_is_red_by_its_name_or_as_it_has_none(viewer, elsewhere):
    before = dict(vars(elsewhere))
    for fields, shown in (
        ({}, ("production", "Production")),
        ({"NOVA_ENVIRONMENT": "prod-eu"}, ("production", "prod-eu")),
        ({"NOVA_ENVIRONMENT": "Staging"}, ("calm", "Staging")),
        ({"NOVA_DEMO": True, "EMBEDDED_STORES": True}, ("calm", "Demo")),
        ({"DEBUG": True, "EMBEDDED_STORES": True}, ("calm", "Development")),
        ({"DEBUG": True, "NOVA_ENVIRONMENT": "production"}, ("production", "production")),
    ):
        vars(elsewhere).update(before | fields)

        looks, words = bar(viewer)

        assert (looks, words.split(" AWS account")[0]) == shown
        assert words.endswith("AWS is simulated") == ("EMBEDDED_STORES" in fields)


def test_account_and_endpoint_are_what_the_site_knows(viewer, elsewhere):
    elsewhere.AWS_ENDPOINT_URL = "https://vpce-1.example.test"
    for number, account in enumerate(("111111111111", "222222222222")):
        Secret.objects.create(name=f"n{number}", client_id=number, arn=ARN.format(account))

    assert bar(viewer)[1] == (
        "Production AWS account 222222222222 eu-west-1 endpoint https://vpce-1.example.test"
    )
    with CaptureQueriesContext(connection) as captured:
        bar(viewer)
    assert not any('"migration_secret"."arn"' in query["sql"] for query in captured)


@pytest.mark.parametrize(
    ("refusal", "shown"),
    [
        (
            WRITES_STOPPED(who="root", ago="1 minute"),
            "Production AWS writes are stopped AWS account",
        ),
        (
            DATABASE_IS_COPY(this="a:1/b", noted="c:1/d"),
            "Production Duplicate of the database: writes nothing to AWS AWS account",
        ),
        (DATABASE_UNKNOWN(), "Production Writes nothing to AWS AWS account"),
    ],
)
def test_where_nothing_is_written_it_is_amber_and_says_why(viewer, monkeypatch, refusal, shown):
    monkeypatch.setattr(environment, "find_write_refusal", lambda: refusal)

    looks, words = bar(viewer)

    assert looks == "warning"
    assert words.startswith(shown)
