"""Pages and commands about permissions in AWS, the cost and CloudTrail, with unmistakable passwords in both stores."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from nova_credentials.phases import Phase
from tests.haystack import Haystack, everything_logged
from tests.migration.moves.clients import advance
from tests.test_no_secret_escapes import add_pickles, add_tables, command, page, seed


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


def test_neither_checking_aws_nor_the_cost_shows_or_keeps_a_value(browser):
    pk, haystack = seed(), Haystack()
    advance(pk, Phase.AWS)
    with everything_logged(haystack):
        for arguments in (("check_aws",), ("iam_policy", "admin"), ("cost_estimate",)):
            command(haystack, *arguments)
            command(haystack, *arguments, "--format", "json")
        command(haystack, "iam_policy", "reader", "--format", "terraform")
        url = reverse("admin:migration_run_check_aws")
        page(haystack, browser, url), page(haystack, browser, url, {})
        page(haystack, browser, reverse("admin:migration_run_cost"))
        page(haystack, browser, reverse("admin:credentials_client_aws_reads", args=[pk]))
    add_tables(haystack), add_pickles(haystack)

    assert haystack.found() == []
    # It did ask, and what it does is not left alone.
    assert "AWS permits it" in haystack.text("output of check_aws")
    assert "AWS permits it" in haystack.text(f"page {url}")
    assert "ReadSecrets" in haystack.text("output of iam_policy")
    assert "$" in haystack.text("output of cost_estimate")
    assert not [place for place in haystack.pieces if place.startswith("exception")]
