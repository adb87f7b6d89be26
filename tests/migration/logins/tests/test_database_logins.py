"""Real logins to PostgreSQL behind TLS, and servers that pretend to be one."""

import time

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from migration.core.outgoing import Deadline, LoginFailedError, LoginOutcome
from migration.logins import attempts
from migration.logins.attempts import make_database_login, open_database, try_login
from nova_credentials.credential_types import CredentialType
from tests.migration.logins.tests.servers import (
    CLEAR_TEXT,
    HOST,
    PASSWORD,
    TRUST,
    USER,
    dribble,
    make_error,
    never_answer,
    speak_postgres,
)


def make_values(port, **more):
    password = f" {PASSWORD} "
    values = {"host": HOST, "port": port, "name": "postgres", "user": USER, "password": password}
    return values | more


def outcome(port, *, seconds=10, **more):
    values = make_values(port, **more)
    return try_login(CredentialType.DATABASE, values, deadline_seconds=seconds).outcome


def test_a_login_by_scram_over_tls(servers, scram_server):
    port = servers.database(behind=scram_server)

    assert outcome(port) == LoginOutcome.WORKS
    assert outcome(port, password="wrong") == LoginOutcome.REFUSED
    assert outcome(port, user="nobody") == LoginOutcome.REFUSED
    assert outcome(port, name="no_such") == LoginOutcome.NO_DATABASE
    assert outcome(port, password="") == LoginOutcome.NOT_TESTABLE
    # Let in without being asked for the password: that proves nothing.
    assert outcome(port, user="postgres") == LoginOutcome.UNSAFE
    for certificate in ("expired", "of_another", "of_nobody"):
        wrong = servers.database(certificate, behind=scram_server)
        assert outcome(wrong) == LoginOutcome.TLS_PROBLEM


def test_the_connection_of_a_test_is_read_only(servers, scram_server):
    login = make_database_login(make_values(servers.database(behind=scram_server)))

    with Deadline(10) as deadline:
        with (
            open_database(login, deadline=deadline) as connection,
            pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        ):
            connection.execute("CREATE TABLE nothing ()")
        assert connection.closed


def test_a_statement_ends_at_the_deadline(servers, scram_server):
    login = make_database_login(make_values(servers.database(behind=scram_server)))

    began = time.monotonic()
    with (
        Deadline(0.7) as deadline,
        open_database(login, deadline=deadline) as connection,
        pytest.raises(psycopg.OperationalError),
    ):
        connection.execute("SELECT pg_sleep(20)")
    assert time.monotonic() - began < 5


def test_without_tls_nothing_is_sent_unless_a_setting_allows_it(servers, scram_server, settings):
    port = servers.serve(speak_postgres(make_error("28P01")))
    expired = servers.serve(speak_postgres(CLEAR_TEXT, tls=servers.certificates.expired))

    assert outcome(port) == outcome(expired) == LoginOutcome.TLS_PROBLEM
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = True
    assert outcome(port) == LoginOutcome.REFUSED
    assert outcome(expired) == LoginOutcome.UNSAFE
    unverified = servers.database("of_nobody", behind=scram_server)
    assert outcome(unverified) == LoginOutcome.WORKS


def test_answers_of_servers(servers, settings):
    right = servers.certificates.right
    for answer, expected in (
        (make_error("28000", 'C "99999"\n'), LoginOutcome.REFUSED),
        (make_error("28P01"), LoginOutcome.REFUSED),
        (make_error("42501"), LoginOutcome.REFUSED),
        (make_error("3D000"), LoginOutcome.NO_DATABASE),
        (make_error("53300"), LoginOutcome.UNREACHABLE),
        (make_error("57P03"), LoginOutcome.UNREACHABLE),
        (make_error("08P01"), LoginOutcome.UNREACHABLE),
        (make_error("08P01", "password authentication failed"), LoginOutcome.POOLER),
        (make_error("08P01", "SASL authentication failed"), LoginOutcome.POOLER),
        (make_error("08P01", "server login failed"), LoginOutcome.UNREACHABLE),
        (
            make_error("08P01", "the server says: password authentication failed"),
            LoginOutcome.UNREACHABLE,
        ),
        (make_error("55000"), LoginOutcome.UNREACHABLE),
        (make_error("42704"), LoginOutcome.UNEXPECTED),
        (make_error("XX000"), LoginOutcome.UNEXPECTED),
        (CLEAR_TEXT, LoginOutcome.UNSAFE),
        (TRUST, LoginOutcome.UNSAFE),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", LoginOutcome.UNEXPECTED),
    ):
        assert outcome(servers.serve(speak_postgres(answer, tls=right))) == expected
    assert outcome(1) == LoginOutcome.UNREACHABLE


def failure_of(port, **more):
    login = make_database_login(make_values(port, **more))
    with (
        Deadline(10) as deadline,
        pytest.raises(LoginFailedError) as failure,
        open_database(login, deadline=deadline),
    ):
        pass
    return failure.value


def test_a_failed_login_names_the_server_s_code(servers, scram_server):
    port = servers.database(behind=scram_server)

    assert failure_of(port, password="wrong").code == "28P01"
    assert failure_of(port, name="no_such").code == "3D000"
    assert failure_of(1).code == ""


def test_of_two_answers_the_last_counts(servers, settings):
    """Where TLS isn't required, libpq tries a server that refuses it with TLS a second time without."""
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = True
    with_tls = speak_postgres(make_error("28000"), tls=servers.certificates.right)
    without = speak_postgres(make_error("53300"))
    asked = []

    async def answer(reader, writer):
        asked.append(writer)
        await (with_tls if len(asked) == 1 else without)(reader, writer)

    failure = failure_of(servers.serve(answer))

    assert len(asked) == 2
    assert (failure.outcome, failure.code) == (LoginOutcome.UNREACHABLE, "53300")


def test_one_deadline_holds_for_all_of_it(servers):
    for handle in (never_answer, dribble):
        began = time.monotonic()
        slow = servers.serve(handle)
        assert outcome(slow, seconds=0.4) in (LoginOutcome.TIMED_OUT, LoginOutcome.TLS_PROBLEM)
        assert time.monotonic() - began < 2

    async def stop_in_scram(reader, writer):
        await speak_postgres(
            b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", tls=servers.certificates.right
        )(reader, writer)
        await never_answer(reader, writer)

    assert outcome(servers.serve(stop_in_scram), seconds=0.4) == LoginOutcome.TIMED_OUT


def test_the_environment_and_files_change_nothing(servers, scram_server, monkeypatch, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    for name, value in {
        "PGPASSFILE": str(passwords),
        "PGPASSWORD": PASSWORD,
        "PGSSLMODE": "disable",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGREQUIREAUTH": "none",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)
    port = servers.database(behind=scram_server)

    assert outcome(port) == LoginOutcome.WORKS
    assert outcome(port, password="wrong") == LoginOutcome.REFUSED
    assert outcome(port, password="") == LoginOutcome.NOT_TESTABLE


# Of `PQconndefaults`, which names no variable of the last ones; `PGSERVICEFILE` and `PGSYSCONFDIR` matter to a service.
LIBPQ_VARIABLES = {
    each.envvar.decode(): each.keyword.decode()
    for each in pq.Conninfo.get_defaults()
    if each.envvar
}
OTHER_VARIABLES = ("PGSERVICEFILE", "PGSYSCONFDIR", "PGDATESTYLE", "PGTZ", "PGGEQO")


@pytest.mark.parametrize("unverified", [False, True])
def test_every_parameter_that_has_a_variable_is_given(settings, unverified):
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = unverified
    login = make_database_login(make_values(5432))

    given = conninfo_to_dict(attempts._make_conninfo(login, 5432))

    assert set(LIBPQ_VARIABLES.values()) - set(given) == {"service"}
    assert "PGSERVICE" in attempts.UNPINNED_VARIABLES


@pytest.mark.parametrize("name", [*LIBPQ_VARIABLES, *OTHER_VARIABLES])
def test_no_variable_of_libpq_changes_a_login(servers, scram_server, monkeypatch, tmp_path, name):
    services = tmp_path / "services"
    services.write_text("[nonsense]\nhost=192.0.2.1\nrequire_auth=none\nscram_client_key=x\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv(name, str(services) if name == "PGSERVICEFILE" else "nonsense")

    assert outcome(servers.database(behind=scram_server)) == LoginOutcome.WORKS


def test_an_error_of_a_login_holds_nothing_of_it(servers, scram_server):
    login = make_database_login(
        make_values(servers.database(behind=scram_server), password="marked")
    )
    with (
        Deadline(10) as deadline,
        pytest.raises(LoginFailedError) as failure,
        open_database(login, deadline=deadline),
    ):
        pass

    assert "marked" not in f"{failure.value!r} {login!r}"
    assert str(failure.value) == "refused"
