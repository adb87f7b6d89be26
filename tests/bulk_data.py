"""Many clients with a history each, made in a few statements: for the pages' query counts and for the studies."""

from django.db import connection
from django.db.backends.utils import CursorWrapper

from credentials.models import ClientRevision
from migration.models import Comparison, DailyComparisons, OpenMismatch

COMPARISONS_EACH = 10

CROWD = """
WITH made AS (
    INSERT INTO public.clients (name, slug)
    SELECT 'Crowd ' || n, 'crowd-' || to_char(n, 'FM000000') FROM generate_series(1, %(clients)s) AS n RETURNING id
), databases AS (
    INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
    SELECT id, 'db.example.test', 'app', 'app', 'example-password-1' FROM made
), emails AS (
    INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)
    SELECT id, 'invoices@example.test', 'example-app-password-2' FROM made WHERE id %% 2 = 0
), reads AS (
    INSERT INTO nova_admin.migration_readcount (client_id, reads, matches, last_read_at)
    SELECT id, 12, 12, now() FROM made
), moves AS (
    INSERT INTO nova_admin.migration_phasechange (client_id, slug, old, new, reason, changed_at)
    SELECT id, 'crowd', 'dual_write', 'dual_read', '', now() FROM made
)
INSERT INTO nova_admin.migration_clientmigration (client_id, phase)
SELECT id, (ARRAY['dual_write', 'dual_read', 'dual_read', 'aws'])[1 + id %% 4] FROM made
"""
# Half of them differ, in two fields each, and one in ten could not be checked: with 50 clients a page is full already.
COMPARED = """
WITH compared AS (
    INSERT INTO nova_admin.migration_comparison
        (client_id, slug, status, error_class, mismatches, revision, compared_at)
    SELECT c.id, c.slug, result.status, '',
        CASE result.status WHEN 'mismatch' THEN %(fields)s::jsonb ELSE '[]' END,
        1, now() - make_interval(days => 3 * (%(each)s - n))
    FROM generate_series(1, %(each)s) AS n CROSS JOIN public.clients c
    CROSS JOIN LATERAL (SELECT CASE
        WHEN c.id %% 2 = 0 THEN 'mismatch' WHEN c.id %% 10 = 1 THEN 'unchecked' ELSE 'match' END AS status
    ) AS result
    RETURNING id, client_id, status, compared_at
)
UPDATE nova_admin.migration_clientmigration m
SET comparison_id = newest.id, comparison_status = newest.status, compared_at = newest.compared_at
FROM (SELECT DISTINCT ON (client_id) * FROM compared ORDER BY client_id, id DESC) AS newest
WHERE newest.client_id = m.client_id
"""
RUN = """
WITH run AS (
    INSERT INTO nova_admin.migration_run (kind, adopt, include_inactive, created_at)
    VALUES ('migrate', false, false, now()) RETURNING id
)
INSERT INTO nova_admin.migration_runitem
    (run_id, client_id, slug, batch, outcome, error_class, comparison_status, finished_at)
SELECT run.id, c.id, c.slug, 0, 'created', '', 'match', now() FROM run, public.clients c
"""
PUSHED = """
INSERT INTO nova_admin.credentials_clientrevision (client_id, revision, pushed_revision)
SELECT client_id, count(*), count(*) FROM nova_admin.credentials_clientwrite GROUP BY client_id
"""
FIELDS = """[
    {"path": "database.password", "kind": "different", "hint": "blank", "expected": "0a1b2c3d",
     "actual": "4e5f6071", "expected_length": "9-16", "actual_length": "17-32"},
    {"path": "email.imap_port", "kind": "type", "hint": "type", "expected": "0a1b2c3e",
     "actual": "4e5f6072", "expected_length": "1-8", "actual_length": "1-8"}
]"""

UNMOVED = """
WITH made AS (
    INSERT INTO public.clients (name, slug)
    SELECT 'Crowd ' || n, 'crowd-' || to_char(n, 'FM0000000') FROM generate_series(1, %(clients)s) AS n RETURNING id
), databases AS (
    INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
    SELECT id, 'db.example.test', 'app', 'app', 'example-password-' || id FROM made
)
INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)
SELECT id, 'invoices@example.test', 'example-app-password-' || id FROM made WHERE id %% 2 = 0
"""


STANDINGS = """
WITH moves AS (
    INSERT INTO nova_admin.migration_phasechange (client_id, slug, old, new, reason, changed_at)
    SELECT id, slug, 'dual_write', 'dual_read', '', now() FROM public.clients
)
INSERT INTO nova_admin.migration_clientmigration (client_id, phase)
SELECT id, (ARRAY['dual_write', 'dual_read', 'dual_read', 'aws'])[1 + id %% 4] FROM public.clients
ON CONFLICT (client_id) DO UPDATE SET phase = excluded.phase
"""

# Of every twenty clients one was compared too long ago, one waits for a push, and the push of one was refused. One each
# failed in a push, failed in a comparison and was refused a move; these differ too, as every second client does.
TROUBLE = """
UPDATE nova_admin.migration_clientmigration SET compared_at = compared_at - interval '1 hour' WHERE client_id % 20 = 5;
UPDATE nova_admin.credentials_clientrevision SET pushed_revision = revision - 1 WHERE client_id % 20 IN (13, 16);
UPDATE nova_admin.migration_clientmigration m SET refused_revision = kept.revision
FROM nova_admin.credentials_clientrevision kept WHERE kept.client_id = m.client_id AND m.client_id % 20 = 16;
WITH runs AS (
    INSERT INTO nova_admin.migration_run
        (kind, move_from, move_to, adopt, include_inactive, state, created_at, finished_at)
    VALUES ('push', '', '', false, false, 'finished', now(), now()),
        ('compare', '', '', false, false, 'finished', now(), now()),
        ('move', 'dual_read', 'aws', false, false, 'finished', now(), now())
    RETURNING id, kind
)
INSERT INTO nova_admin.migration_runitem
    (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status, finished_at)
SELECT runs.id, runs.kind, c.id, c.slug, 0, failed.outcome, failed.error_class, '', now()
FROM runs
JOIN (VALUES ('push', 4, 'failed', 'throttled'), ('compare', 8, 'failed', 'unavailable'), ('move', 12, 'refused', ''))
    AS failed (kind, rest, outcome, error_class) USING (kind)
JOIN public.clients c ON c.id % 20 = failed.rest
"""


def make_trouble() -> None:
    """Have some of the clients of `make_history` wait, and some whose newest push, comparison or move failed."""
    with connection.cursor() as cursor:
        cursor.execute(TROUBLE)
        cursor.execute("ANALYZE")


def make_history(*, comparisons_each: int) -> None:
    """A history of the clients of `make_unmoved`: in each phase, compared so often, in one run."""
    asked = {"each": comparisons_each, "fields": FIELDS}
    with connection.cursor() as cursor:
        for statement in (STANDINGS, COMPARED, RUN):
            cursor.execute(statement, asked if "%" in statement else None)
        cursor.execute(
            "UPDATE nova_admin.credentials_clientrevision SET pushed_revision = revision"
        )
        _keep_counts(cursor)


def make_crowd(clients: int, *, comparisons_each: int = COMPARISONS_EACH) -> None:
    """So many clients in every phase but the last, compared so often over a month, and one run over all of them."""
    asked = {"clients": clients, "each": comparisons_each, "fields": FIELDS}
    with connection.cursor() as cursor:
        for statement in (CROWD, COMPARED, RUN, PUSHED):
            cursor.execute(statement, asked if "%" in statement else None)
        cursor.execute("DELETE FROM nova_admin.credentials_clientwrite")
        _keep_counts(cursor)


def _keep_counts(cursor: CursorWrapper) -> None:
    ids = list(Comparison.objects.values_list("pk", flat=True))
    OpenMismatch.objects.open_and_close(ids)
    DailyComparisons.objects.count_up(ids)
    cursor.execute("ANALYZE")


def make_unmoved(clients: int, *, indexes: bool = True) -> None:
    """So many clients that only PostgreSQL holds, with their writes folded as the workers do it every minute.

    No slug is the beginning of another. `indexes`: those of `docs/run.md`, which NOVA's owner has to make.
    """
    with connection.cursor() as cursor:
        for table in ("client_database_credentials", "client_email_credentials"):
            if indexes:
                cursor.execute(f"CREATE INDEX ON public.{table} (client_id)")
        cursor.execute(UNMOVED, {"clients": clients})
        ClientRevision.objects.fold_writes()
        cursor.execute("ANALYZE")
