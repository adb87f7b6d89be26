"""NOVA gives a client another slug: the former one is noted as the name of its secrets, and NOVA is never failed."""

import time

import psycopg
import pytest

from tests.migrated import migrated_nova_database

PHASES = "nova_admin.migration_clientmigration"


@pytest.fixture
def uri():
    with migrated_nova_database() as uri:
        yield uri


@pytest.fixture
def client(connection):
    """Client 2, cut over."""
    connection.execute(
        f"INSERT INTO {PHASES} (client_id, phase, layout) VALUES (2, 'aws', 'client')"
    )
    return connection.execute("SELECT slug FROM public.clients WHERE id = 2").fetchone()[0]


def rename(connection, slug: str) -> None:
    connection.execute("UPDATE public.clients SET slug = %s WHERE id = 2", [slug])


def noted(connection) -> str | None:
    query = f"SELECT secret_slug FROM {PHASES} WHERE client_id = 2"
    return connection.execute(query).fetchone()[0]


def test_the_first_of_several_former_slugs_is_noted_until_the_client_has_it_again(
    connection, client
):
    for slug, note in (("b", client), ("c", client), (client, None), ("b", client)):
        rename(connection, slug)
        assert noted(connection) == note


def test_of_what_is_undone_nothing_is_noted(connection, client):
    with connection.transaction(force_rollback=True):
        rename(connection, "b")

    assert noted(connection) is None


def test_other_changes_of_a_client_note_nothing(connection, client):
    connection.execute("UPDATE public.clients SET name = 'Other', slug = slug WHERE id = 2")

    assert noted(connection) is None


@pytest.mark.parametrize(
    ("phase", "layout", "is_noted"),
    [("postgres", None, False), ("postgres", "client", True), ("dual_write", None, False)],
)
def test_a_client_without_secrets_needs_no_note(connection, client, phase, layout, is_noted):
    connection.execute(f"UPDATE {PHASES} SET phase = %s, layout = %s", [phase, layout])

    rename(connection, "b")

    assert noted(connection) == (client if is_noted else None)


def test_a_slug_that_a_trigger_of_novas_makes_is_noted_too(connection, client):
    connection.execute(
        "CREATE FUNCTION public.make_slug() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.slug := lower(NEW.name); RETURN NEW; END';"
        "CREATE TRIGGER make_slug BEFORE UPDATE ON public.clients"
        " FOR EACH ROW EXECUTE FUNCTION public.make_slug()"
    )

    connection.execute("UPDATE public.clients SET name = 'Made' WHERE id = 2")

    assert noted(connection) == client


@pytest.mark.parametrize(
    "sabotage",
    [
        f"ALTER TABLE {PHASES} RENAME TO other",
        f"ALTER TABLE {PHASES} ADD CONSTRAINT never CHECK (secret_slug IS NULL)",
        f"DROP INDEX nova_admin.client_secret_slug; ALTER TABLE {PHASES} DROP COLUMN secret_slug",
    ],
)
def test_an_error_loses_the_note_and_neither_the_count_nor_novas_statement(
    connection, client, sabotage
):
    connection.execute(sabotage)

    rename(connection, "b")

    counted = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = 2"
    assert connection.execute(counted).fetchone() == (1,)
    assert connection.execute("SELECT slug FROM public.clients WHERE id = 2").fetchone() == ("b",)


def test_novas_own_limit_of_waiting_holds_while_the_site_has_the_client(uri, connection, client):
    with psycopg.connect(uri) as site:
        site.execute(f"UPDATE {PHASES} SET clean_streak = 1 WHERE client_id = 2")
        connection.execute("SET lock_timeout = '50ms'")

        with pytest.raises(psycopg.errors.LockNotAvailable):
            rename(connection, "b")
        connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

    rename(connection, "b")
    assert noted(connection) == client


def test_renaming_all_clients_at_once_takes_a_few_times_as_long_as_any_other_change(
    connection, client
):
    connection.execute(
        "INSERT INTO public.clients (slug, name) SELECT 'many-' || n, 'Many' FROM generate_series(1, 3000) n;"
        f"INSERT INTO {PHASES} (client_id, phase, layout)"
        " SELECT id, 'aws', 'client' FROM public.clients WHERE slug LIKE 'many-%'"
    )

    def time_of(statement: str) -> float:
        began = time.perf_counter()
        connection.execute(statement)
        return time.perf_counter() - began

    named = time_of("UPDATE public.clients SET name = 'Other'")
    assert time_of("UPDATE public.clients SET slug = 'x' || slug") < 10 * named

    left = f"SELECT count(*) FROM {PHASES} WHERE secret_slug IS NULL"
    assert connection.execute(left).fetchone() == (0,)
