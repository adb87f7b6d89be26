"""A database as NOVA's own scripts leave it: its tables made by plain SQL, with rows, seen from outside Django."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.templates import claim_copy

CLIENTS = """
CREATE TABLE clients (
    id SERIAL PRIMARY KEY, name VARCHAR(255) NOT NULL, slug VARCHAR(100) UNIQUE NOT NULL,
    description TEXT, is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW()
)
"""
DATABASES = """
CREATE TABLE client_database_credentials (
    id SERIAL PRIMARY KEY, client_id INTEGER NOT NULL REFERENCES clients(id) ON DELETE CASCADE,
    db_host VARCHAR(255) NOT NULL, db_port INTEGER NOT NULL DEFAULT 5432,
    db_name VARCHAR(255) NOT NULL, db_user VARCHAR(255) NOT NULL, db_password_encrypted TEXT NOT NULL,
    label VARCHAR(100), is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW()
)
"""
EMAILS = """
CREATE TABLE client_email_credentials (
    id SERIAL PRIMARY KEY, client_id INTEGER NOT NULL REFERENCES clients(id) ON DELETE CASCADE,
    email_provider VARCHAR(50) DEFAULT 'gmail',
    imap_host VARCHAR(255) DEFAULT 'imap.gmail.com', imap_port INTEGER DEFAULT 993,
    smtp_host VARCHAR(255) DEFAULT 'smtp.gmail.com', smtp_port INTEGER DEFAULT 587,
    email_user VARCHAR(255) NOT NULL, email_password_encrypted TEXT NOT NULL, sender_whitelist TEXT,
    label VARCHAR(100), is_primary BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW()
)
"""
SCHEMAS = """
CREATE TABLE client_database_schemas (
    id SERIAL PRIMARY KEY, client_id INTEGER NOT NULL REFERENCES clients(id) ON DELETE CASCADE,
    database_credential_id INTEGER NOT NULL
        REFERENCES client_database_credentials(id) ON DELETE CASCADE,
    table_name VARCHAR(255) NOT NULL, schema_definition JSON NOT NULL, description TEXT,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW(),
    UNIQUE (client_id, table_name)
)
"""
LEGACY = """
CREATE TABLE client_credentials (
    id SERIAL PRIMARY KEY, client_name VARCHAR(255) NOT NULL, client_slug VARCHAR(100) UNIQUE NOT NULL,
    db_host VARCHAR(255) NOT NULL, db_port INTEGER NOT NULL, db_name VARCHAR(255) NOT NULL,
    db_user VARCHAR(255) NOT NULL, db_password VARCHAR(255) NOT NULL, is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW()
)
"""
TABLES = (CLIENTS, DATABASES, EMAILS, SCHEMAS, LEGACY)

ROWS = """
INSERT INTO public.clients (name, slug, is_active) VALUES ('IDOM', 'idom', NULL), ('Acme', 'acme', TRUE);
INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted, is_primary)
    VALUES (1, 'db.example.test', 'railway', 'postgres', E'  example \\' " \\\\ \\n password ', NULL),
           (2, 'db.example.test', 'acme', 'acme', 'example-password-1', TRUE);
INSERT INTO public.client_email_credentials (client_id, email_provider, imap_host, imap_port, smtp_host, smtp_port,
                                      email_user, email_password_encrypted)
    VALUES (2, NULL, NULL, NULL, NULL, NULL, 'invoices@example.test', 'example-app-password-2');
INSERT INTO public.client_database_schemas (client_id, database_credential_id, table_name, schema_definition)
    VALUES (2, 2, 'invoices', '{"columns": ["id"]}');
INSERT INTO client_credentials (client_name, client_slug, db_host, db_port, db_name, db_user, db_password, is_active)
    VALUES ('Gone', 'not-in-clients', 'db.example.test', 5432, 'gone', 'gone', 'example-password-4', TRUE);
"""

# Everything about a table that NOVA's statements can notice; this app's own tables and triggers are not asked for.
CATALOGUE = """
SELECT 'column', table_name, column_name, data_type, character_maximum_length::text, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' AND table_name = ANY(%(tables)s)
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
FROM pg_constraint WHERE conrelid::regclass::text = ANY(%(tables)s) AND contype <> 'n'
UNION ALL
SELECT 'index', tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE tablename = ANY(%(tables)s)
UNION ALL
SELECT 'owner', tablename, tableowner, NULL, NULL, NULL, NULL FROM pg_tables WHERE tablename = ANY(%(tables)s)
ORDER BY 1, 2, 3
"""


@contextmanager
def database(template: str = "", *, server: str = "") -> Iterator[str]:
    """An empty database on the test server, or a copy of one in `templates`, by its URI; dropped afterwards."""
    server, name = server or os.environ["DATABASE_URL"], f"nova_{uuid4().hex}"
    identifier = sql.Identifier(name)
    uri = make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as connection:
        # By files: block by block through the log, as it is otherwise, takes twice as long, to make and to drop.
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(make.format(identifier, sql.Identifier(template or "template1")))
        try:
            if template:
                claim_copy(uri)
            yield uri
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def catalogue(connection: psycopg.Connection, tables: list[str]) -> list[tuple[str, ...]]:
    return connection.execute(CATALOGUE, {"tables": tables}).fetchall()


def contents(
    connection: psycopg.Connection, tables: list[str]
) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: connection.execute(
            sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(table))
        ).fetchall()
        for table in tables
    }
