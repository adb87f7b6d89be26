"""Databases of released versions, filled with many clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from tests.checkout import ROOT
from tests.first_release.load import load_database

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = ROOT / "tests" / "nova_credentials" / "kept"

# By one role in one transaction without triggers: as if it had been there for long. `{site}` is the site's schema.
FILL = """
SET session_replication_role = replica;
INSERT INTO public.clients (name, slug)
    SELECT 'Many ' || n, 'many-' || to_char(n, 'FM000000') FROM generate_series(1, {clients}) AS n;
INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
    SELECT id, 'db.example.test', 'app', 'app', 'example-password-1' FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)
    SELECT id, 'invoices@example.test', 'example-app-password-2' FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.client_aws_credentials (client_id, access_key_id, secret_access_key)
    SELECT id, 'EXAMPLEKEY', 'example-secret-3' FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.migration_secret (name, arn, version_id, seen_at, client_id)
    SELECT 'nova/clients/' || slug, 'arn', 'v', now(), id FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.credentials_clientrevision (client_id, revision, pushed_revision)
    SELECT id, 3, 3 FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.migration_readcount (client_id, reads, matches, last_read_at)
    SELECT id, 12, 12, now() FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.migration_clientmigration (client_id, phase)
    SELECT id, (ARRAY['dual_write', 'dual_read', 'dual_write', 'aws'])[1 + id % 4]
    FROM public.clients WHERE slug LIKE 'many-%';
INSERT INTO {site}.migration_comparison
    (slug, status, error_class, message, mismatches, revision, compared_at, client_id)
    SELECT slug, 'match', '', {empty}, '[]', 3, now(), id FROM public.clients, generate_series(1, 2)
    WHERE slug LIKE 'many-%';
INSERT INTO {site}.migration_run (kind, adopt, include_inactive, created_at) VALUES ('migrate', false, false, now());
INSERT INTO {site}.migration_runitem
    (run_id, client_id, slug, batch, outcome, error_class, message, comparison_status, finished_at)
    SELECT (SELECT max(id) FROM {site}.migration_run), id, slug, 0, 'created', '', {empty}, 'match', now()
    FROM public.clients WHERE slug LIKE 'many-%';
RESET session_replication_role;
"""

# What the site has told and is not over yet; the first release told nobody.
OPEN_CONDITIONS = """
INSERT INTO nova_admin.migration_condition (event, subject, facts, began_at, seen_at)
    SELECT event, subject, '{"key": "", "values": {}, "text": "x"}', now() - interval '1 h', now()
    FROM (VALUES ('aws_gone', 'aws'), ('readers_gone', 'gone'), ('audit_unsealed', 'audit')) AS told (event, subject)
"""
CONDITIONS_THERE = "SELECT to_regclass('nova_admin.migration_condition') IS NOT NULL"


def load_first(uri: str) -> None:
    load_database(uri)


def load_kept(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as there:
        there.execute((KEPT / "site-0.2.0.sql").read_text("utf-8"))


# Each released version: what loads its tables, and the schema that has the site's.
RELEASES: dict[str, tuple[Callable[[str], None], str]] = {
    "first release": (load_first, "public"),
    "0.2.0": (load_kept, "nova_admin"),
}


def fill(uri: str, site: str, clients: int) -> None:
    with psycopg.connect(uri, autocommit=True) as there:
        empty = "''" if site == "public" else "NULL"
        for statement in FILL.format(site=site, clients=clients, empty=empty).split(";\n"):
            if statement.strip():
                there.execute(statement)
        if there.execute(CONDITIONS_THERE).fetchone() == (True,):
            there.execute(OPEN_CONDITIONS)
        there.execute("VACUUM ANALYZE")
