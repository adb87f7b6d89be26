"""What is found by the search of the clients list, and what never is."""

import unicodedata

import pytest

from credentials.models import Client
from migration.core.clients import all_clients
from migration.core.text import LETTERS, MARKS, fold_text, make_folded_expression
from migration.models import Secret
from nova_credentials.credential_types import CredentialType
from tests.factories import make_client, make_database, make_email
from tests.migration.pages import CLIENTS, login

DECOMPOSED = unicodedata.normalize("NFD", "Peñón")


@pytest.fixture
def found_clients(db):
    cafe = make_client("cafe-madrid", name="Café Łódź Müller")
    make_database(cafe, db_host="db-7.Example.test", db_user="cafe_owner")
    rock = make_client("rock", name=DECOMPOSED)
    make_email(rock, email_user="invoices@rock.test", imap_host="imap.rock.test", smtp_host=None)
    other = make_client("other", name="100%_other", description="only here")
    make_database(other, db_password_encrypted="a-secret-password", db_host="h", db_user="u")
    Secret.objects.create(name="old/prefix/of-other", client_id=other, arn="arn", version_id="v")


@pytest.mark.parametrize(
    ("asked", "slugs"),
    [
        ("cafe", ["cafe-madrid"]),
        ("CAFÉ lodz MULLER", ["cafe-madrid"]),
        (unicodedata.normalize("NFD", "Café"), ["cafe-madrid"]),
        ("penon", ["rock"]),
        ("peñón", ["rock"]),
        ("cafe penon", []),
        ("db-7.example", ["cafe-madrid"]),
        ("CAFE_OWNER", ["cafe-madrid"]),
        ("invoices@rock", ["rock"]),
        ("imap.rock.test", ["rock"]),
        ("nova/clients/cafe", ["cafe-madrid"]),
        (
            "arn:aws:secretsmanager:eu-west-1:1:secret:nova/clients/cafe-madrid-AbCdEf",
            ["cafe-madrid"],
        ),
        ("old/prefix", ["other"]),
        ("nova", []),
        ("a-secret-password", []),
        ("100%", ["other"]),
        ("%", ["other"]),
        ("100__", []),
        ("\\", []),
        ("", ["cafe-madrid", "other", "rock"]),
        ("   ", ["cafe-madrid", "other", "rock"]),
        ("a b c d e f g h i j k l", []),
    ],
)
def test_a_client_is_found_by_what_people_know_of_it(found_clients, asked, slugs):
    found = all_clients().search(asked, logins=list(CredentialType))

    assert sorted(found.values_list("slug", flat=True)) == slugs


def test_hosts_and_users_are_found_only_by_those_who_may_see_them(found_clients, client):
    login(client, "narrow", "credentials.view_client")
    assert not client.get(f"{CLIENTS}?q=cafe_owner").context["cl"].result_list
    login(client, "wide", "credentials.view_client", "credentials.view_databasecredential")

    assert [c.slug for c in client.get(f"{CLIENTS}?q=cafe_owner").context["cl"].result_list] == [
        "cafe-madrid"
    ]
    assert not client.get(f"{CLIENTS}?q=invoices@rock").context["cl"].result_list


def test_python_and_postgresql_fold_alike(db):
    make_client("one")
    texts = ["".join(map(chr, LETTERS)), MARKS, "AbC ß", DECOMPOSED, "İstanbul"]

    for text in texts:
        folded = Client.objects.annotate(folded=make_folded_expression(text)).values_list(
            "folded", flat=True
        )
        assert folded[0] == fold_text(text)
    assert fold_text("Ñandú Çelik") == "nandu celik"
