"""Odd values in rows and in AWS, where anything may stand: told in a clear word, never in a secret's own."""

import json

import pytest
from django.db import connection

from credentials.models import DatabaseCredential
from migration.core.snapshots import read_snapshot
from migration.logins.attempts import DatabaseLogin
from migration.logins.models import RotationOutcome
from migration.logins.role_passwords import ROTATION_LOGIN_ELSEWHERE, make_login
from migration.logins.rotations import ROTATION_CURRENT_REFUSED, rotate_database
from migration.models import Rotation
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, update
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated

DATABASES = "client_database_credentials"
OTHERS = CredentialType.DATABASE.others_key


def write_to_aws(role, **changed: object) -> None:
    document = role.sm.get_value(SECRET).to_document()
    document["database"] |= changed
    role.sm.put_value(SECRET, json.dumps(document))


NOT_TO_BE_SENT = (
    {"user": "a\0b"},
    {"user": "a\ud800b"},
    {"password": "a\0b"},
    {"password": "a\ud800b"},
    {"name": "a\0b"},
    {"host": "a\ud800b"},
    {"host": ["x"], "port": None},
    {"user": "'\" \\" * 1000},
    {"password": "'\" \\" * 1000},
    {"password": 5},
    {"user": {"a": "b"}},
)


def test_a_login_that_cannot_be_sent_is_refused_and_works_once_it_is_mended(role_in):
    role = role_in(Phase.AWS)
    good = role.sm.get_value(SECRET).text
    for changed in NOT_TO_BE_SENT:
        write_to_aws(role, **changed)
        rotation = rotate_database(client_id=role.client_id)  # the site's own way to log in
        assert rotation.outcome == RotationOutcome.REFUSED, changed
        assert Rotation.objects.get(pk=rotation.pk).message
        role.sm.put_value(SECRET, good)
    assert_rotated(role.rotate())


def test_a_message_names_hosts_in_short_and_nothing_that_stands_in_their_place(role_in):
    role = role_in(Phase.AWS)
    document = role.sm.get_value(SECRET).to_document()
    marked = {"name": "db", "password": "marked-0123"}
    for host in ("x" * 60_000, "'\" \n\t" * 1000, "<script>alert(1)</script>", marked):
        document[OTHERS] = [document["database"] | {"host": host, "is_primary": False}]
        role.sm.put_value(SECRET, json.dumps(document))
        rotation = role.rotate()
        assert rotation.outcome == RotationOutcome.REFUSED
        if host != marked:
            assert rotation.message.key == ROTATION_LOGIN_ELSEWHERE.key
        assert len(str(rotation.message)) < 1000
        assert "marked-0123" not in str(rotation.message)


def test_rows_that_make_no_document_are_told_by_what_is_wrong_with_them(role_in):
    role = role_in(Phase.DUAL_READ)
    update(DATABASES, role.row, db_password_encrypted="aws-secretsmanager:x")
    problem = read_snapshot(role.client_id).problem

    rotation = role.rotate()

    assert problem
    assert (rotation.outcome, rotation.message) == (RotationOutcome.REFUSED, problem)
    assert role.logs_in("example-a")


def test_a_former_version_that_is_no_document_hides_nothing(role_in):
    role = role_in(Phase.AWS)
    text = role.sm.get_value(SECRET).text
    role.sm.put_value(SECRET, "no document")
    role.sm.put_value(SECRET, text)
    role.change_at_server("by-hand")
    rotation = role.rotate()
    assert (rotation.outcome, rotation.message) == (
        RotationOutcome.STOPPED,
        ROTATION_CURRENT_REFUSED(),
    )


@pytest.fixture
def nullable(stores):
    """NOVA's columns without NOT NULL, as another release of it may have them."""
    columns = ("db_password_encrypted", "db_host", "db_user")
    with connection.cursor() as cursor:
        for column in columns:
            cursor.execute(f"ALTER TABLE public.{DATABASES} ALTER {column} DROP NOT NULL")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM public.{DATABASES}")
        for column in columns:
            cursor.execute(f"ALTER TABLE public.{DATABASES} ALTER {column} SET NOT NULL")


def test_rows_of_other_clients_without_a_value_are_no_hindrance(role_in, nullable):
    role = role_in(Phase.DUAL_READ)
    for column in ("db_password_encrypted", "db_host"):
        make_database(make_client(column), **{"db_user": role.user, column: None})
    assert_rotated(role.rotate())


def test_a_row_of_its_own_without_a_host_is_no_hindrance_to_the_others(role_in, nullable):
    role = role_in(Phase.PURGED)
    make_database(role.client_id, db_user=role.user, db_host=None, label="x", is_primary=False)
    assert_rotated(role.rotate())


def test_the_login_of_a_row_is_all_that_it_holds():
    row = DatabaseCredential(
        db_host="db.example.test", db_port=6432, db_name="app", db_user="ana", db_password="x"
    )
    assert make_login(row) == DatabaseLogin("db.example.test", 6432, "app", "ana", "x")
