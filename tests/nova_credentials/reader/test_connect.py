"""A connection to a client's own database."""

import logging
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_admin.embedded import postgres
from nova_credentials.phases import Phase
from nova_credentials.reader import connect_to_database
from tests.factories import make_client, make_database, make_email, make_full_client, update
from tests.nova_credentials.in_phases import bring
from tests.settings import LOCAL


@pytest.fixture(scope="module")
def login_server() -> str:
    """A server that asks everybody but its owner for a password."""
    folder = LOCAL / "login"  # not in /tmp: another test run shuts its folder there
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    return postgres.start_server(folder, settings={"fsync": "off", "hba_file": str(rules)})


@pytest.fixture
def login(login_server, stores):
    """The row of a client's login on that server, and a way to change the password there."""
    parts, user = conninfo_to_dict(login_server), f"client_{uuid4().hex}"
    row = make_database(
        make_client("idom"),
        db_host=parts["host"],
        db_port=parts["port"],
        db_name="postgres",
        db_user=user,
        db_password_encrypted="example-a",
    )
    with psycopg.connect(login_server, autocommit=True) as server:
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'example-a'")
        yield row, lambda password: server.execute(f"ALTER ROLE {user} PASSWORD '{password}'")
        server.execute(f"DROP ROLE {user}")


@pytest.fixture
def caching(make_reader):
    return make_reader(cache_seconds=1000)


def test_a_connection_to_the_client_s_database(caching, login):
    with connect_to_database(caching, "idom") as there:
        assert there.execute("SELECT 1").fetchone() == (1,)
    there.close()


def test_a_refused_login_is_tried_once_more_past_the_cache(caching, login):
    row, change = login
    caching.get_all_credentials("idom")
    change("example-b")
    update("client_database_credentials", row, db_password_encrypted="example-b")

    with connect_to_database(caching, "idom") as there:
        assert there.execute("SELECT 1").fetchone() == (1,)
    there.close()


def test_a_login_that_stays_refused_is_an_error_without_the_password(caching, login, caplog):
    caplog.set_level(logging.DEBUG)
    _, change = login
    change("example-b")

    with pytest.raises(
        psycopg.OperationalError, match=r"'idom'.*password authentication"
    ) as caught:
        connect_to_database(caching, "idom")
    assert caught.value.__cause__ is caught.value.__context__ is caught.value.pgconn is None
    assert "example-a" not in str(caught.value) + caplog.text


def test_a_password_that_the_server_repeats_is_not_repeated(caching, monkeypatch):
    make_full_client("idom")

    def refuse(**_):
        raise psycopg.OperationalError("no such password: example-password-1")

    caching.get_all_credentials("idom")
    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(psycopg.OperationalError, match="'idom'") as caught:
        connect_to_database(caching, "idom")
    assert "example" not in str(caught.value)


def test_a_server_that_is_not_there_is_not_asked_twice(caching, monkeypatch):
    make_database(make_client("idom"), db_host="127.0.0.1", db_port=1)
    reads = []
    monkeypatch.setattr(
        caching,
        "_read_entry",
        lambda slug, read=caching._read_entry: reads.append(slug) or read(slug),
    )

    with pytest.raises(psycopg.OperationalError, match="'idom'"):
        connect_to_database(caching, "idom")
    assert reads == ["idom"]


@pytest.mark.parametrize("phase", Phase)
def test_a_row_that_is_not_there_is_a_value_error_that_names_the_client(reader, phase):
    pk = make_client("idom")
    make_database(pk, is_primary=None, label="main")
    bring(pk, phase)

    for wanted, label, named in (
        ("database", None, "primary"),
        ("database", "other", "label 'other'"),
        ("email", None, "primary"),
        ("aws", "main", "label 'main'"),
    ):
        with pytest.raises(ValueError, match=f"^Client 'idom' has no {wanted} .*\\({named}\\)$"):
            reader.get_credential("idom", wanted, label)


def test_a_client_without_a_database_has_no_connection(caching):
    make_email(make_client("idom"))

    with pytest.raises(ValueError, match="idom"):
        connect_to_database(caching, "idom")
