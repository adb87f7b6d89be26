"""NOVA's Alembic, asked to autogenerate on a migrated database, proposes nothing that concerns the site's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from nova_admin.database.schema import CARRIED_OVER
from tests import nova_database
from tests.attacks.hostile import copied_hostile_database
from tests.first_release.load import load_database
from tests.migrated import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.hostile import Hostile

NOVA_TABLES = {
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_database_schemas",
    "client_credentials",
}


def required(name: str, kind: object, default: object = None) -> sa.Column:
    return sa.Column(name, kind, nullable=False, server_default=default)


def common() -> list[sa.Column]:
    now = sa.text("now()")
    return [
        sa.Column("id", sa.Integer, primary_key=True),
        required("created_at", sa.DateTime, now),
        required("updated_at", sa.DateTime, now),
    ]


def of_client() -> sa.Column:
    key = sa.ForeignKey("clients.id", ondelete="CASCADE")
    return sa.Column("client_id", sa.Integer, key, nullable=False)


def login() -> list[sa.Column]:
    primary = sa.Column("is_primary", sa.Boolean, server_default=sa.text("true"))
    return [*common(), of_client(), sa.Column("label", sa.String(100)), primary]


def novas_models() -> sa.MetaData:
    """A stand-in for NOVA's models: its five tables, as its own statements make them."""
    metadata, text = sa.MetaData(), sa.String(255)
    sa.Table(
        "clients", metadata, *common(), required("name", text),
        sa.Column("slug", sa.String(100), nullable=False, unique=True),
        sa.Column("description", sa.Text),
        sa.Column("is_active", sa.Boolean, server_default=sa.text("true")),
    )  # fmt: skip
    sa.Table(
        "client_database_credentials", metadata, *login(),
        *(required(name, text) for name in ("db_host", "db_name", "db_user")),
        required("db_port", sa.Integer, "5432"), required("db_password_encrypted", sa.Text),
    )  # fmt: skip
    sa.Table(
        "client_email_credentials", metadata, *login(),
        sa.Column("email_provider", sa.String(50), server_default="gmail"),
        sa.Column("imap_host", text, server_default="imap.gmail.com"),
        sa.Column("imap_port", sa.Integer, server_default="993"),
        sa.Column("smtp_host", text, server_default="smtp.gmail.com"),
        sa.Column("smtp_port", sa.Integer, server_default="587"),
        required("email_user", text), required("email_password_encrypted", sa.Text),
        sa.Column("sender_whitelist", sa.Text),
    )  # fmt: skip
    key = sa.ForeignKey("client_database_credentials.id", ondelete="CASCADE")
    sa.Table(
        "client_database_schemas", metadata, *common(), of_client(),
        sa.Column("database_credential_id", sa.Integer, key, nullable=False),
        required("table_name", text), required("schema_definition", sa.JSON),
        sa.Column("description", sa.Text), sa.UniqueConstraint("client_id", "table_name"),
    )  # fmt: skip
    sa.Table(
        "client_credentials", metadata, *common(),
        *(required(f"client_{name}", text) for name in ("name",)),
        sa.Column("client_slug", sa.String(100), nullable=False, unique=True),
        *(required(f"db_{name}", text) for name in ("host", "name", "user", "password")),
        required("db_port", sa.Integer), required("is_active", sa.Boolean),
    )  # fmt: skip
    return metadata


def proposed(uri: str) -> list[object]:
    """What `alembic revision --autogenerate` would write, types and defaults compared too."""
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(uri))
    options = {"compare_type": True, "compare_server_default": True}
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts=options)
            return list(compare_metadata(context, novas_models()))
    finally:
        engine.dispose()


@pytest.fixture
def migrated() -> Iterator[Hostile]:
    with copied_hostile_database("of_alembic", migrate_untouched) as hostile:
        yield hostile


def migrate_untouched(hostile: Hostile) -> None:
    hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
    assert proposed(hostile.of(hostile.nova)) == []
    migrate(hostile.of(hostile.site))


def test_nothing_is_proposed_on_a_migrated_database_even_where_novas_role_may_read_it(migrated):
    assert proposed(migrated.of(migrated.nova)) == []

    migrated.run(
        f"GRANT USAGE ON SCHEMA nova_admin TO {migrated.nova}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA nova_admin TO {migrated.nova}",
    )

    assert proposed(migrated.of(migrated.nova)) == []


def test_the_first_releases_tables_were_proposed_to_be_dropped():
    with nova_database.database() as uri:
        load_database(uri)

        operations = proposed(uri)

    dropped = {operation[1].name for operation in operations if operation[0] == "remove_table"}
    assert dropped == {*CARRIED_OVER}
