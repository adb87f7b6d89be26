"""The idioms of psycopg2 that NOVA's workflows use, on a connection of the drop-in to a real server."""

import io
import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors, extensions, extras, sql

from nova_credentials import reader as drop_in

Connection = extensions.connection


@pytest.fixture
def conn(monkeypatch, make_reader, login) -> Iterator[Connection]:
    """A connection to a client's database that has a table with three rows."""
    reader = make_reader()
    monkeypatch.setattr(drop_in, "_shared_reader", lambda: reader)
    there = drop_in.get_database_connection("idom")
    with there, there.cursor() as cursor:
        cursor.execute("CREATE TABLE invoices (id int PRIMARY KEY, supplier text, total numeric)")
        cursor.execute(
            "INSERT INTO invoices VALUES (1, 'Acme', 10), (2, 'Idom', 20), (3, '100 %', NULL)"
        )
    yield there
    there.close()


def ids(conn: Connection) -> list[int]:
    with conn.cursor() as cursor:
        cursor.execute("SELECT id FROM invoices ORDER BY id")
        return [pk for (pk,) in cursor.fetchall()]


def test_a_with_block_commits_and_leaves_the_connection_open(conn):
    with conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO invoices VALUES (4)")
    assert conn.closed == 0
    conn.rollback()
    assert ids(conn) == [1, 2, 3, 4]


def test_a_with_block_rolls_back_on_an_error_and_leaves_the_connection_open(conn):
    def fail() -> None:
        with conn, conn.cursor() as cursor:
            cursor.execute("DELETE FROM invoices")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (conn.closed, ids(conn)) == (0, [1, 2, 3])


def test_real_dict_cursor(conn):
    with conn.cursor(cursor_factory=extras.RealDictCursor) as cursor:
        cursor.execute("SELECT id, supplier FROM invoices WHERE id = %s", (1,))
        assert dict(cursor.fetchone()) == {"id": 1, "supplier": "Acme"}


def test_dict_cursor(conn):
    with conn.cursor(cursor_factory=extras.DictCursor) as cursor:
        cursor.execute("SELECT id, supplier FROM invoices WHERE id = 1")
        row = cursor.fetchone()
        assert (row[0], row["supplier"]) == (1, "Acme")


def test_named_tuple_cursor(conn):
    with conn.cursor(cursor_factory=extras.NamedTupleCursor) as cursor:
        cursor.execute("SELECT id, supplier FROM invoices WHERE id = 2")
        assert cursor.fetchone().supplier == "Idom"


def test_execute_values(conn):
    with conn.cursor() as cursor:
        extras.execute_values(
            cursor, "INSERT INTO invoices (id, supplier) VALUES %s", [(4, "a"), (5, "b")]
        )
    assert ids(conn) == [1, 2, 3, 4, 5]


def test_execute_batch(conn):
    with conn.cursor() as cursor:
        extras.execute_batch(cursor, "DELETE FROM invoices WHERE id = %s", [(1,), (2,)])
    assert ids(conn) == [3]


def test_in_with_a_tuple(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM invoices WHERE id IN %s", ((1, 3, 9),))
        assert cursor.fetchone() == (2,)


def test_several_statements_with_parameters(conn):
    with conn.cursor() as cursor:
        cursor.execute(
            "DELETE FROM invoices WHERE id = %s; SELECT supplier FROM invoices WHERE id = %s",
            (1, 2),
        )
        assert cursor.fetchone() == ("Idom",)


def test_parameters_by_name_and_a_percent_sign(conn):
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM invoices WHERE supplier LIKE '%%%%' AND supplier = %(name)s",
            {"name": "100 %"},
        )
        assert cursor.fetchall() == [(3,)]


def test_except_psycopg2_error(conn):
    caught = None
    try:
        with conn.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM invoices")
    except psycopg2.Error as error:
        caught = error
        conn.rollback()
    assert isinstance(caught, errors.UndefinedColumn)
    assert caught.pgcode == "42703"
    assert ids(conn) == [1, 2, 3]


def test_json(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb, %s::json", (extras.Json({"a": [1]}), extras.Json("b")))
        assert cursor.fetchone() == ({"a": [1]}, "b")


def test_mogrify(conn):
    with conn.cursor() as cursor:
        text = cursor.mogrify("SELECT %s, %s, %s", ("it's", 1, None))
        assert text == b"SELECT 'it''s', 1, NULL"


def test_copy_expert(conn):
    with conn.cursor() as cursor:
        cursor.copy_expert("COPY invoices FROM STDIN WITH CSV", io.StringIO("7,x,1.5\n8,y,\n"))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT id FROM invoices ORDER BY id) TO STDOUT", out)
    assert out.getvalue().split() == ["1", "2", "3", "7", "8"]


def test_copy_from(conn):
    with conn.cursor() as cursor:
        cursor.copy_from(io.StringIO("9\tz\t1\n"), "invoices", columns=("id", "supplier", "total"))
    assert ids(conn) == [1, 2, 3, 9]


def test_autocommit(conn):
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute("DELETE FROM invoices WHERE id = 1")
        assert conn.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE


def test_set_isolation_level(conn):
    conn.set_isolation_level(extensions.ISOLATION_LEVEL_SERIALIZABLE)
    with conn.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("serializable",)


def test_a_server_side_cursor(conn):
    with conn.cursor("by_piece") as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id FROM invoices ORDER BY id")
        assert [pk for (pk,) in cursor] == [1, 2, 3]


def test_callproc(conn):
    with conn.cursor() as cursor:
        cursor.callproc("upper", ("idom",))
        assert cursor.fetchone() == ("IDOM",)


def test_register_uuid(conn):
    extras.register_uuid(conn_or_curs=conn)
    wanted = uuid.UUID(int=7)
    with conn.cursor() as cursor:
        cursor.execute("SELECT %s", (wanted,))
        assert cursor.fetchone() == (wanted,)


def test_identifiers_of_psycopg2_s_sql(conn):
    with conn.cursor() as cursor:
        query = sql.SQL("SELECT {} FROM {} WHERE id = 1").format(
            sql.Identifier("supplier"), sql.Identifier("invoices")
        )
        cursor.execute(query)
        assert cursor.fetchone() == ("Acme",)
    assert query.as_string(conn) == 'SELECT "supplier" FROM "invoices" WHERE id = 1'


def test_a_closing_block_and_the_description_of_a_cursor(conn):
    with closing(conn), closing(conn.cursor()) as cursor:
        cursor.execute("SELECT id, total FROM invoices")
        assert [column[0] for column in cursor.description] == ["id", "total"]
        assert (cursor.rowcount, len(cursor.fetchmany(2))) == (3, 2)
    assert conn.closed
    assert "example-a" not in f"{conn!r} {conn.dsn}"
