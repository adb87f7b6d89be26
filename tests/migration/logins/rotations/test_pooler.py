"""Rotations through a real PgBouncer that knows its users' passwords from a file, and says 08P01 of a wrong one."""

import socket

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from migration.core import outgoing
from migration.core.outgoing import ResolvedAddress
from migration.logins.models import RotationOutcome
from migration.logins.role_passwords import ROTATION_PUT_BACK, open_login
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.doctor.pgbouncer import pooled
from tests.nova_credentials.in_phases import bring


@pytest.fixture(params=[pytest.param("session", marks=pytest.mark.nightly), "transaction"])
def pooler(request, role, tmp_path, settings, monkeypatch):
    """The role's login leads to the pooler; its URI."""
    monkeypatch.setattr(
        outgoing, "_ask_resolver", lambda host, port: [ResolvedAddress(socket.AF_INET, host, port)]
    )
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = True
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = True
    known = (role.user, "example-a")
    server = psycopg.conninfo.make_conninfo(role.server, dbname="postgres")
    with pooled(server, tmp_path, mode=request.param, size=1, login=known) as uri:
        parts = conninfo_to_dict(uri)
        update(
            "client_database_credentials",
            role.row,
            db_host=parts["host"],
            db_port=int(parts["port"]),
        )
        bring(role.client_id, Phase.DUAL_READ)
        yield uri


def test_a_pooler_that_would_not_know_the_new_password_keeps_the_former_one(role, pooler):
    rotation = role.rotate(open_login=open_login)
    assert (rotation.outcome, rotation.message) == (
        RotationOutcome.REFUSED,
        ROTATION_PUT_BACK(),
    )
    assert role.in_row() == role.in_aws() == "example-a"
    assert role.logs_in("example-a")
    assert "AWSPENDING" not in role.stages()
    # The pool has one session, which whoever comes next gets.
    with psycopg.connect(pooler) as next_one:
        shown = [
            next_one.execute(f"SHOW {name}").fetchone()[0]
            for name in ("search_path", "statement_timeout", "role")
        ]
    assert shown == ['"$user", public', "0", "none"]
