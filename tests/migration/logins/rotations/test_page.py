"""The page and the command that rotate a login."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from credentials.models import AwsCredential, EmailCredential
from credentials.values import SECRET_HAS_OUTER_BLANKS
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.logins import pages
from migration.logins.models import ROTATION_EVENT
from migration.logins.rotations import (
    ROTATION_CURRENT_REFUSED,
    rotate_database,
    store_entered_secret,
)
from migration.management.commands import rotate_credential
from migration.models import AuditEvent, Rotation
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_aws,
    make_aws_secret,
    make_client,
    make_database,
    make_email,
    make_user,
)
from tests.migration.logins.rotations.conftest import open_plainly
from tests.nova_credentials.in_phases import bring
from tests.page_forms import pages_left_out

NEW_KEY = make_aws_secret("new")
MAY_ROTATE = (*VIEW, "migration.rotate_credential")


@pytest.fixture
def by_socket(monkeypatch) -> None:
    """Page and command log in to the embedded server."""

    def rotate(**options):
        return rotate_database(**options, open_login=open_plainly)

    for module in (pages, rotate_credential):
        monkeypatch.setattr(module, "rotate_database", rotate)


@pytest.fixture
def logins_work(monkeypatch) -> list:
    """Logins of mailboxes and AWS keys, each with what it was tried with; one with the secret "wrong" is refused."""
    tried = []

    def try_login(credential_type, values):
        tried.append((credential_type, values))
        refused = "wrong" in (values.get("app_password"), values.get("secret_access_key"))
        return LoginResult(LoginOutcome.REFUSED if refused else LoginOutcome.WORKS)

    def store(**options):
        return store_entered_secret(**options, try_login=try_login)

    for module in (pages, rotate_credential):
        monkeypatch.setattr(module, "store_entered_secret", store)
    return tried


def page_of(client_id: int, kind: str, row: int) -> str:
    return reverse("admin:credentials_client_rotate", args=[client_id, kind, row])


def test_the_page_rotates_a_database_password(client, role_in, by_socket):
    role = role_in(Phase.DUAL_READ)
    maria = make_user("maria", *MAY_ROTATE)
    client.force_login(maria)
    url = page_of(role.client_id, "database", role.row)
    assert url in client.get(f"/admin/credentials/client/{role.client_id}/change/?tab=logins").text
    with pages_left_out():
        assert client.get(url).context_data["phase"] == Phase.DUAL_READ
        # Without its button nothing is done, nor without a reason.
        for sent in (
            {},
            {"reason": "INC-1"},
            {"confirmed": "1"},
            {"confirmed": "1", "reason": " "},
        ):
            assert client.post(url, sent).status_code == 200
    assert not Rotation.objects.exists()

    answer = client.post(url, {"confirmed": "1", "reason": "INC-42"}, follow=True)
    assert "The new value was tested and works" in answer.text
    assert role.logs_in(role.in_row())
    rotation = Rotation.objects.get()
    assert (rotation.by, rotation.by_name, rotation.outcome) == (maria, "maria", "rotated")
    entry = AuditEvent.objects.get(code="rotation")
    assert (entry.who, entry.slug, entry.reason) == ("maria", "idom", "INC-42")
    assert role.in_row() not in answer.text
    history = f"/admin/credentials/client/{role.client_id}/change/?tab=history"
    with pages_left_out():
        lines = client.get(history).context_data["history"].lines
    assert [line.who for line in lines if line.kind == ROTATION_EVENT.label] == ["maria"]

    role.change_at_server("by-hand")
    told_why = client.post(url, {"confirmed": "1", "reason": "INC-42"})
    assert "does not log in" in told_why.text


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.PURGED])
def test_what_is_entered_on_the_page_is_tested_then_stored(client, stores, logins_work, phase):
    from nova_credentials.aws import ClientSecretsManager

    pk = make_client("idom")
    mailbox = make_email(pk)
    bring(pk, phase)
    client.force_login(make_user("maria", *MAY_ROTATE))
    url = page_of(pk, "email", mailbox)

    refused = client.post(url, {"confirmed": "1", "reason": "INC-42", "email_password": "wrong"})
    assert "The new secret does not log in: the server refuses user or password" in refused.text
    assert "wrong" not in refused.text.replace("wrong-", "")
    client.post(url, {"confirmed": "1", "reason": "INC-42", "email_password": "example-new"})

    tried = [(kind, values["app_password"], values["imap_host"]) for kind, values in logins_work]
    assert tried == [("email", secret, "imap.gmail.com") for secret in ("wrong", "example-new")]
    row = EmailCredential.objects.get(pk=mailbox)
    if phase == Phase.PURGED:
        assert row.email_password.startswith("aws-secretsmanager:")
    else:
        assert row.email_password == "example-new"
    if phase != Phase.POSTGRES:
        found = ClientSecretsManager().get_email_credentials("idom")
        assert found["app_password"] == "example-new"
    assert list(Rotation.objects.values_list("outcome", flat=True)) == ["rotated", "refused"]


def test_the_present_secret_entered_again_is_no_rotation(client, stores, logins_work):
    pk = make_client("idom")
    mailbox, key = make_email(pk, email_password_encrypted="example-now"), make_aws(pk)
    bring(pk, Phase.DUAL_WRITE)
    client.force_login(make_user("maria", *MAY_ROTATE))
    same_key = {
        "access_key_id": AwsCredential.objects.get(pk=key).access_key_id,
        "secret_access_key": "example/secret/access/key/that/is/no/key",
    }

    same = {"confirmed": "1", "reason": "INC-42", "email_password": "example-now"}
    answers = [client.post(page_of(pk, "email", mailbox), same)]
    assert not logins_work
    bring(pk, Phase.PURGED)
    answers += [
        client.post(page_of(pk, "email", mailbox), same),
        client.post(page_of(pk, "aws", key), {"confirmed": "1", "reason": "INC-42", **same_key}),
    ]

    assert ["is the present secret" in answer.text for answer in answers] == [True] * 3
    assert not Rotation.objects.exists()
    # Another id with the same secret is another key.
    client.post(
        page_of(pk, "aws", key),
        {"confirmed": "1", "reason": "INC-42", **same_key, "access_key_id": "EXAMPLEKEYID00000002"},
    )
    assert Rotation.objects.get().outcome == "rotated"


def test_without_the_permission_there_is_neither_link_nor_page(client, stores):
    pk = make_client("idom")
    row = make_database(pk)
    client.force_login(make_user("pedro", *VIEW))
    url = page_of(pk, "database", row)

    assert url not in client.get(f"/admin/credentials/client/{pk}/change/?tab=logins").text
    assert (
        client.get(url).status_code
        == client.post(url, {"confirmed": "1", "reason": "INC-42"}).status_code
        == 403
    )


def test_a_login_that_nova_cannot_ask_for_has_no_page(client, stores):
    pk = make_client("idom")
    make_database(pk, label="reports", is_primary=False)
    hidden = [
        make_database(pk, is_primary=False),
        make_database(pk, label="reports", is_primary=False),
    ]
    client.force_login(make_user("maria", *MAY_ROTATE))
    for row in (*hidden, 0):
        assert client.get(page_of(pk, "database", row)).status_code == 404


def call(*args: str) -> tuple[dict, int, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("rotate_credential", *args, format="json", stdout=out, stderr=err)
        code = 0
    except SystemExit as ended:
        code = ended.code
    return json.loads(out.getvalue()), code, err.getvalue()


def test_the_command_rotates_a_database_password(role_in, by_socket):
    role = role_in(Phase.AWS)
    done, code, _ = call("idom", "database")
    version = role.sm.get_value("nova/clients/idom").version_id
    assert done == {
        "slug": "idom",
        "type": "database",
        "label": None,
        "version": version,
        "state": "rotated",
    }
    assert code == 0

    role.change_at_server("by-hand")
    done, code, told_why = call("idom", "database")
    assert (done["state"], code) == ("stopped", 1)
    assert str(ROTATION_CURRENT_REFUSED()) in told_why


def test_the_command_stores_an_aws_key_that_it_reads_from_standard_input(
    stores, logins_work, monkeypatch
):
    pk = make_client("idom")
    make_aws(pk)
    bring(pk, Phase.DUAL_WRITE)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"EXAMPLEKEYID00000003\n{NEW_KEY}\n"))
    done, code, _ = call("idom", "aws", "--stdin")

    assert (done["state"], code) == ("rotated", 0)
    assert done["version"]
    ((_, values),) = logins_work
    assert values["access_key_id"] == "EXAMPLEKEYID00000003"
    assert values["secret_access_key"] == NEW_KEY


def test_the_command_warns_of_outer_blanks_and_keeps_them(stores, logins_work, monkeypatch):
    mailbox = make_email(make_client("idom"))
    monkeypatch.setattr("sys.stdin", io.StringIO(" example-new\n"))
    done, code, told = call("idom", "email", "--stdin")

    assert (done["state"], code) == ("rotated", 0)
    assert str(SECRET_HAS_OUTER_BLANKS(name="Password")) in told
    assert EmailCredential.objects.get(pk=mailbox).email_password == " example-new"


def test_wrong_use_of_the_command(stores, monkeypatch):
    pk = make_client("idom")
    make_database(pk)
    make_aws(pk)
    monkeypatch.setattr("sys.stdin", io.StringIO("EXAMPLE-ID"))
    for args, word in (
        (("nobody", "database"), "unknown client"),
        (("idom", "database", "--stdin"), "random password"),
        (("idom", "database", "--label", "x"), "label x"),
        (("idom", "email"), "no email login"),
        (("idom", "aws"), "pass --stdin"),
        (("idom", "aws", "--stdin"), "missing"),
        (("idom", "database", "--by", "nobody"), "unknown user"),
    ):
        with pytest.raises(CommandError, match=word) as caught:
            call_command("rotate_credential", *args)
        assert caught.value.returncode == 2
