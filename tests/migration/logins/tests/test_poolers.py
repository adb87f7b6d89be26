"""Logins through a real PgBouncer: what it refuses is told apart from a server that is gone, and proves nothing."""

import socket

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from migration.core import outgoing
from migration.core.outgoing import (
    PROVEN_WRONG,
    Deadline,
    LoginFailedError,
    LoginOutcome,
    ResolvedAddress,
)
from migration.logins.attempts import DatabaseLogin, log_in_to_database
from tests.factories import nova_uri
from tests.migration.doctor.pgbouncer import pooled

PASSWORD = "example-right"


@pytest.fixture
def role(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE pooled_role LOGIN PASSWORD '{PASSWORD}'")
    yield "pooled_role"
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE pooled_role")


@pytest.fixture
def pooler(role, tmp_path, settings, monkeypatch):
    monkeypatch.setattr(
        outgoing, "_ask_resolver", lambda host, port: [ResolvedAddress(socket.AF_INET, host, port)]
    )
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = True
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = True
    server = psycopg.conninfo.make_conninfo(nova_uri(), dbname="postgres")
    with pooled(server, tmp_path, mode="session", login=(role, PASSWORD)) as uri:
        yield conninfo_to_dict(uri)


def failure(pooler, **other) -> LoginFailedError:
    values = {
        "host": pooler["host"],
        "port": int(pooler["port"]),
        "name": pooler["dbname"],
        "user": pooler["user"],
        "password": PASSWORD,
    }
    with Deadline(10) as deadline, pytest.raises(LoginFailedError) as failed:
        log_in_to_database(DatabaseLogin(**values | other), deadline=deadline)
    return failed.value


@pytest.mark.parametrize("wrong", [{"password": "example-wrong"}, {"user": "nobody"}])
def test_a_pooler_that_refuses_user_or_password_says_so(pooler, wrong):
    error = failure(pooler, **wrong)

    assert (error.outcome, error.code) == (LoginOutcome.POOLER, "08P01")
    # Its file may be what is out of date: it proves nothing of AWS's values, and no gate is shut by it.
    assert error.outcome not in PROVEN_WRONG


def test_a_pooler_whose_database_is_gone_is_no_refusal(pooler):
    assert failure(pooler, name="of-nobody").outcome != LoginOutcome.POOLER
