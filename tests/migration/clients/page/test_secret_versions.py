"""A client's secrets in AWS and their versions, without a value."""

import re
from html import unescape

import pytest

from migration.core import aws_store
from migration.pushes.pushes import push
from migration.pushes.resolutions import copy_to_postgres
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.clients.page.pages import page
from tests.migration.moves.clients import change_in_aws, enter_phase
from tests.migration.pages import text


def versions(browser, pk: int, **headers) -> str:
    return text(browser.get(f"/admin/credentials/client/{pk}/versions/", headers=headers))


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://eu-west-1.console.aws.amazon.com/secretsmanager/secret?"),
        ("cn-north-1", "https://console.amazonaws.cn/secretsmanager/secret?"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/secretsmanager/secret?"),
    ],
)
def test_each_secret_leads_to_the_console_of_its_region(viewer, idom, settings, region, url):
    settings.AWS_REGION, settings.NOVA_SECRET_LAYOUT = region, "service"
    settings.AWS_ENDPOINT_URL = ""

    html = unescape(page(viewer, idom, "comparison").content.decode())

    for kind in ("database", "email", "aws"):
        assert f'href="{url}name=nova%2Fclients%2Fidom%2F{kind}&region={region}"' in html


def test_the_versions_are_told_with_their_stages_and_who_wrote_them(stores, viewer):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    aws_store.secrets_manager().put_value("nova/clients/idom", "{}")

    words = versions(viewer, pk, hx_request="true")

    assert re.search(
        r"AWSCURRENT .*not by this site .*AWSPREVIOUS .*by this site \(system\), last pushed", words
    )
    assert "Back to the client" not in words
    assert "example-password-1" not in words
    # Without JavaScript they have a page.
    words = versions(viewer, pk)
    assert "AWSCURRENT" in words
    assert "Back to the client" in words


def test_what_a_copy_kept_in_aws_was_written_by_this_site(stores, viewer):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    change_in_aws(aws_store.secrets_manager(), password="example-theirs")

    copy_to_postgres(client_id=pk)

    words = versions(viewer, pk)
    assert re.search(r"NOVA_REPLACED \d+ seconds? ago by this site", words)
    assert "not by this site, the same as PostgreSQL at the last push or copy" in words


def test_a_secret_that_is_not_there_not_ours_or_to_be_deleted_is_told_so(stores, viewer):
    pk = make_full_client("idom")
    assert "AWS has no such secret" in versions(viewer, pk)

    sm = aws_store.secrets_manager()
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="{}")
    assert "No tag says whose it is." in versions(viewer, pk)

    sm.schedule_deletion("nova/clients/idom")
    assert "Scheduled for deletion" in versions(viewer, pk)


def test_an_aws_that_fails_is_told_in_words(viewer, idom, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert "AWS gave no usable answer" in versions(viewer, idom, hx_request="true")


def test_a_name_that_no_secret_can_have_asks_aws_nothing(viewer, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert "This client's slug can't be part of a secret's name" in versions(
        viewer, make_full_client("b d")
    )


def test_who_may_not_see_clients_is_told_no_version(client, db, idom):
    client.force_login(make_user("narrow", "migration.view_run"))

    assert client.get(f"/admin/credentials/client/{idom}/versions/").status_code == 403


def test_there_are_no_versions_of_a_client_that_is_not_there(viewer):
    assert viewer.get("/admin/credentials/client/999999/versions/").status_code == 404
    assert viewer.post("/admin/credentials/client/999999/versions/").status_code == 405
