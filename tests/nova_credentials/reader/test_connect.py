"""A connection to a client's own database: by which driver, and what is tried where the login fails."""

import logging
import operator
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product
from types import SimpleNamespace

import psycopg
import psycopg2
import psycopg2.extensions
import pytest

from migration.pushes.pushes import push
from nova_credentials.aws import ClientSecretsManager, SecretsManagerError
from nova_credentials.credential_types import DatabaseCredentials
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import connections, routing
from nova_credentials.reader.connections import choose_connect, connect_to_database
from tests.factories import make_client, make_database, make_email, make_full_client, update
from tests.nova_credentials.in_phases import bring, stand
from tests.nova_credentials.reader.questions import (
    POSTGRES_ALONE,
    change_in_aws,
    in_time,
    put_pending,
)

DRIVERS = {"psycopg2": psycopg2, "psycopg": psycopg}


@pytest.fixture
def caching(make_reader):
    return make_reader(cache_seconds=1000)


@pytest.fixture(params=DRIVERS)
def driver(request, monkeypatch):
    """The driver that the environment names."""
    monkeypatch.setenv("NOVA_CONNECTION_DRIVER", request.param)
    return DRIVERS[request.param]


@pytest.fixture
def logins(monkeypatch):
    """The passwords with which psycopg2 was told to log in."""
    tried = []

    def connect(*, password, connect=psycopg2.connect, **options):
        tried.append(password)
        return connect(password=password, **options)

    monkeypatch.setattr(psycopg2, "connect", connect)
    return tried


@pytest.fixture
def reads(caching, monkeypatch):
    """The slugs that were read past the cache."""
    slugs = []
    read = caching._read_entry
    monkeypatch.setattr(
        caching, "_read_entry", lambda slug, **how: slugs.append(slug) or read(slug, **how)
    )
    return slugs


def answers(connection) -> bool:
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


# Which driver


def test_the_driver_is_the_argument_then_the_environments_then_psycopg2(
    caching, login, monkeypatch
):
    def driver_of(**options) -> str:
        there = connect_to_database(caching, "idom", **options)
        assert answers(there)
        return type(there).__module__.partition(".")[0]

    assert driver_of() == "psycopg2"
    for name, other in (("psycopg2", "psycopg"), ("psycopg", "psycopg2")):
        monkeypatch.setenv("NOVA_CONNECTION_DRIVER", name)
        assert driver_of() == name
        for connect in (DRIVERS[other].connect, other):
            assert driver_of(connect=connect) == other


def test_without_psycopg2_the_driver_is_psycopg(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    assert choose_connect({}) == choose_connect({"NOVA_CONNECTION_DRIVER": " "}) == psycopg.connect
    with pytest.raises(RuntimeError, match=r"nova-credentials\[psycopg2\]"):
        choose_connect({"NOVA_CONNECTION_DRIVER": "psycopg2"})


def test_an_unknown_driver_is_refused(caching):
    make_database(make_client("idom"))
    with pytest.raises(RuntimeError, match="NOVA_CONNECTION_DRIVER"):
        choose_connect({"NOVA_CONNECTION_DRIVER": "asyncpg"})
    with pytest.raises(ValueError, match="connect must be"):
        connect_to_database(caching, "idom", connect="asyncpg")


# A login that fails


def test_a_login_that_fails_is_tried_once_more_past_the_cache(caching, login, driver):
    row, change = login
    caching.get_primary_credentials("idom")
    change("example-b")
    update("client_database_credentials", row, db_password_encrypted="example-b")

    assert answers(connect_to_database(caching, "idom"))

    # The host has no address, or the database is gone: neither says "password" or "authentication".
    for column in ("db_name", "db_host"):
        right = getattr(caching.get_credential("idom", "database"), column)
        update("client_database_credentials", row, **{column: "no-such.invalid"})
        caching.get_credential("idom", "database", refresh=True)
        update("client_database_credentials", row, **{column: right})

        assert answers(connect_to_database(caching, "idom")), column


def test_a_login_that_stays_refused_is_an_error_without_the_password(
    caching, login, driver, caplog
):
    caplog.set_level(logging.DEBUG)
    _, change = login
    change("example-b")

    with pytest.raises(driver.OperationalError, match=r"'idom'.*password authentication") as caught:
        connect_to_database(caching, "idom")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert getattr(caught.value, "pgconn", None) is None
    assert "example-a" not in str(caught.value) + repr(caught.value) + caplog.text


@pytest.mark.parametrize("phase", POSTGRES_ALONE)
def test_equal_credentials_are_read_anew_and_not_sent_again(caching, login, logins, reads, phase):
    _, change = login
    stand(caching.client_id("idom"), phase)
    change("example-b")

    with pytest.raises(psycopg2.OperationalError):
        connect_to_database(caching, "idom")
    assert (logins, reads) == (["example-a"], ["idom"] * 3)


def test_a_password_that_the_server_repeats_is_not_repeated(caching, driver, monkeypatch):
    make_full_client("idom")

    def refuse(**_):
        raise driver.OperationalError("no such password: example-password-1")

    caching.get_primary_credentials("idom")
    monkeypatch.setattr(driver, "connect", refuse)
    with pytest.raises(driver.OperationalError, match="'idom'") as caught:
        connect_to_database(caching, "idom")
    assert "example" not in str(caught.value)


def test_a_server_s_message_that_psycopg2_cannot_read_is_its_error_too(caching, monkeypatch):
    make_full_client("idom")

    def refuse(**_):
        "autenticación de example-password-1".encode("latin-1").decode()

    monkeypatch.setattr(psycopg2, "connect", refuse)
    with pytest.raises(psycopg2.OperationalError, match="'idom'") as caught:
        connect_to_database(caching, "idom")
    assert caught.value.__context__ is None
    assert "example" not in str(caught.value)


@pytest.mark.parametrize("store", ["AWS", "PostgreSQL"])
def test_where_nothing_can_be_read_anew_the_error_is_the_login_s(
    caching, login, monkeypatch, caplog, store
):
    _, change = login
    bring(caching.client_id("idom"), Phase.AWS if store == "AWS" else Phase.DUAL_WRITE)
    caching.get_credential("idom", "database")
    change("example-b")
    down = {
        "AWS": SecretsManagerError.from_code("NoAnswer", "GetSecretValue", "nova/clients/idom"),
        "PostgreSQL": psycopg.OperationalError("down"),
    }[store]

    def fail(*_args):
        raise down

    monkeypatch.setattr(caching._aws, "read_document", fail)
    monkeypatch.setattr(caching._aws, "read_pending", fail)
    if store == "PostgreSQL":
        monkeypatch.setattr(caching._postgres, "read_client", fail)

    with pytest.raises(psycopg2.OperationalError, match=r"'idom'.*password authentication"):
        connect_to_database(caching, "idom")
    said = f"idom can't be read anew after a failed login: {type(down).__name__}"
    assert said in caplog.messages


def test_a_client_that_is_no_longer_active_is_a_value_error(caching, login):
    _, change = login
    pk = caching.client_id("idom")
    caching.get_credential("idom", "database")
    change("example-b")
    update("clients", pk, is_active=False)

    with pytest.raises(ValueError, match="'idom' not found or inactive"):
        connect_to_database(caching, "idom")


# Where no server is


def test_a_server_that_is_not_there_is_not_asked_twice(caching, reads):
    for number, (host, driver) in enumerate(product(("127.0.0.1", "/nowhere"), DRIVERS)):
        slug = f"client-{number}"
        make_database(make_client(slug), db_host=host, db_port=1)

        with pytest.raises(DRIVERS[driver].OperationalError, match=f"'{slug}'"):
            connect_to_database(caching, slug, connect=driver)
        assert reads == [slug]
        reads.clear()


def test_a_server_that_gives_no_answer_in_time_is_not_asked_twice(caching, reads, monkeypatch):
    monkeypatch.setattr(connections, "LOGIN_SECONDS", 2)  # the least that libpq waits
    monkeypatch.setattr(connections, "TIMED_OUT_AFTER_SECONDS", 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ThreadPoolExecutor(len(DRIVERS)) as pool,
    ):
        there = {"db_host": "127.0.0.1", "db_port": silent.getsockname()[1]}
        for name in DRIVERS:
            make_database(make_client(name), **there)

        began = time.monotonic()
        asked = {
            name: pool.submit(connect_to_database, caching, name, connect=name) for name in DRIVERS
        }
        for name, driver in DRIVERS.items():
            with pytest.raises(driver.OperationalError, match=f"'{name}'"):
                asked[name].result()
    assert time.monotonic() - began < 5
    assert sorted(reads) == sorted(DRIVERS)


@pytest.mark.parametrize(("seconds", "logins"), [(8.9, 2), (9.0, 1)])
def test_a_login_that_took_nine_seconds_timed_out(caching, login, monkeypatch, seconds, logins):
    """The server is there, and the newest secret is another one."""
    row, _ = login
    caching.get_credential("idom", "database")
    update("client_database_credentials", row, db_password_encrypted="example-b")
    clock, tried = [100.0], []
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def refuse(**options):
        tried.append(options)
        clock[0] += seconds
        raise psycopg.OperationalError("no")

    with pytest.raises(psycopg.OperationalError):
        connect_to_database(caching, "idom", connect=refuse)
    assert [options["connect_timeout"] for options in tried] == [10] * logins


def test_who_asks_whether_a_server_is_there_waits_two_seconds(monkeypatch):
    waits = []

    def connect(address, seconds):
        waits.append((address, seconds))
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    login = DatabaseCredentials(1, "idom", "db.example.test", 5432, "n", "u", "p", None, True)

    assert connections._is_server_there(login) is False
    assert waits == [(("db.example.test", 5432), 2)]


def test_nobody_waits_for_a_socket_whose_server_accepts_nothing(tmp_path):
    login = DatabaseCredentials(1, "idom", str(tmp_path), 1, "n", "u", "p", None, True)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        server.bind(f"{tmp_path}/.s.PGSQL.1")
        server.listen(0)
        other.connect(f"{tmp_path}/.s.PGSQL.1")

        assert in_time(lambda: connections._is_server_there(login)) is True


# While a secret is rotated


@pytest.mark.parametrize(
    ("phase", "layout"), [(Phase.AWS, Layout.SERVICE), (Phase.PURGED, Layout.CLIENT)]
)
def test_a_secret_that_a_rotation_is_about_to_make_current_is_tried(
    make_reader, login, settings, sm, phase, layout
):
    """The database has the new password already, and AWS's current version still the old one."""
    settings.NOVA_SECRET_LAYOUT = layout
    _, change = login
    reader = make_reader(cache_seconds=1000, layout=layout)
    bring(reader.client_id("idom"), phase)
    put_pending(sm, layout, "example-b")
    change("example-b")

    assert answers(connect_to_database(reader, "idom"))


def test_a_pending_secret_is_not_sent_where_the_current_one_logs_in(caching, login, logins, sm):
    bring(caching.client_id("idom"), Phase.AWS)
    put_pending(sm, Layout.CLIENT, "example-b")
    caching.get_credential("idom", "database")

    assert answers(connect_to_database(caching, "idom"))
    assert logins == ["example-a"]


def test_a_pending_secret_of_a_former_server_is_not_tried(caching, login, logins, sm):
    """It may be the valid one there, and NOVA would write into a database that it has left."""
    _, change = login
    bring(caching.client_id("idom"), Phase.AWS)
    put_pending(sm, Layout.CLIENT, "example-b", host="former.example.test")
    change("example-c")

    with pytest.raises(psycopg2.OperationalError):
        connect_to_database(caching, "idom")
    assert set(logins) == {"example-a"}


def test_a_rotation_that_ended_meanwhile_is_found_by_reading_anew(caching, login, logins, sm):
    _, change = login
    bring(caching.client_id("idom"), Phase.AWS)
    caching.get_credential("idom", "database")
    change("example-b")
    change_in_aws(sm, "idom", "database", password="example-b")

    assert answers(connect_to_database(caching, "idom"))
    assert logins == ["example-a", "example-b"]


@pytest.mark.parametrize("phase", POSTGRES_ALONE)
def test_a_pending_secret_is_tried_too_where_the_tables_are_the_authority(
    caching, login, logins, sm, phase
):
    _, change = login
    pk = caching.client_id("idom")
    push(client_ids=[pk])
    stand(pk, phase)
    put_pending(sm, Layout.CLIENT, "example-b")
    change("example-b")

    assert answers(connect_to_database(caching, "idom"))
    assert logins == ["example-a", "example-b"]


def test_a_rotation_that_ends_while_aws_is_asked_is_found_in_the_rows(
    caching, login, logins, monkeypatch
):
    """Without AWS nobody can say whether there is a rotation: it is given a moment to end."""
    row, change = login
    waits = []

    def end_rotation(seconds: float) -> None:
        waits.append(seconds)
        update("client_database_credentials", row, db_password_encrypted="example-b")

    def fail(*_args):
        raise SecretsManagerError.from_code("NoAnswer", "GetSecretValue", "nova/clients/idom")

    monkeypatch.setattr(caching._aws, "read_pending", fail)
    monkeypatch.setattr(
        routing, "time", SimpleNamespace(monotonic=time.monotonic, sleep=end_rotation)
    )
    change("example-b")

    assert answers(connect_to_database(caching, "idom"))
    assert (logins, waits) == (["example-a", "example-b"], [0.5])


def test_no_login_is_refused_while_a_secret_is_rotated_again_and_again(make_reader, login, sm):
    _, change = login
    reader = make_reader(cache_seconds=0.2)
    bring(reader.client_id("idom"), Phase.AWS)
    over = threading.Event()
    numbers = [0, 0]

    def log_in_all_the_time(place: int) -> None:
        while not over.is_set():
            assert answers(connect_to_database(reader, "idom"))
            numbers[place] += 1

    def wait_for_logins(number: int) -> None:
        before, until = list(numbers), time.monotonic() + 300
        while min(map(operator.sub, numbers, before)) < number:
            assert time.monotonic() < until
            if any(each.done() for each in logins):
                break  # with an error
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        logins = [pool.submit(log_in_all_the_time, place) for place in range(2)]
        try:
            for number in range(5):
                rotate(sm, change, f"example-{number}")
                # A login outlives one rotation, and not two: on a slow machine these would overtake it.
                wait_for_logins(2)
        finally:
            over.set()
        for each in logins:
            each.result()
    assert min(numbers) >= 10


def rotate(sm: ClientSecretsManager, change, password: str) -> None:
    """As AWS's functions for rotation do: a pending version, the database, then the stages."""
    put_pending(sm, Layout.CLIENT, password)
    time.sleep(0.05)
    change(password)
    time.sleep(0.15)
    secret = "nova/clients/idom"
    stages = sm.describe_secret(secret).versions.items()
    (old,) = [version for version, names in stages if "AWSCURRENT" in names]
    (new,) = [version for version, names in stages if "AWSPENDING" in names]
    move = sm.client.update_secret_version_stage
    move(SecretId=secret, VersionStage="AWSCURRENT", RemoveFromVersionId=old, MoveToVersionId=new)
    move(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=new)
    time.sleep(0.05)


# No such row


def test_a_row_that_is_not_there_is_a_value_error_that_names_the_client(reader):
    for phase in Phase:
        pk = make_client(phase)
        make_database(pk, is_primary=None, label="main")
        bring(pk, phase)

        for wanted, label, named in (
            ("database", None, "primary"),
            ("database", "other", "label 'other'"),
            ("email", None, "primary"),
            ("aws", "main", "label 'main'"),
        ):
            told = f"^Client '{phase}' has no {wanted} .*\\({named}\\)$"
            with pytest.raises(ValueError, match=told):
                reader.get_credential(phase, wanted, label)


def test_a_client_without_a_database_has_no_connection(caching):
    make_email(make_client("idom"))

    with pytest.raises(ValueError, match="idom"):
        connect_to_database(caching, "idom")
