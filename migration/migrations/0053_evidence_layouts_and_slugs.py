"""What release 0.2.0 changed in tables that NOVA's reader uses: each lock lasts for a moment.

Evidence counts from the entry into a phase. A trigger notes when the reader last failed at AWS, what that came to, how
many good reads followed it, and when AWS last answered: the reader names an outcome in a setting of the transaction in
which it counts, so its statement is the same for tables of every release. Each client's layout, and the slug by which
its secrets are named, stand beside its phase.
"""

from django.conf import settings
from django.db import migrations, models

from migration.core.fields import EARLIEST, LATEST, limit_times
from migration.schema_operations import AddConstraintBriefly, ChangeTogether, add_fields
from nova_credentials.tables import CLIENTS

LAYOUTS = [("client", "One secret per client"), ("service", "One secret per service")]
NOTE_READ = """
CREATE OR REPLACE FUNCTION nova_admin.note_read() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- Whoever counts writes what it likes: no number is too large for these.
    matched numeric := NEW.matches;
    compared numeric := NEW.matches::numeric + NEW.mismatches;
    failed numeric := NEW.aws_failures;
    counted numeric := NEW.reads;
    outcome text := coalesce(current_setting('nova_reader.outcome', true), '');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        matched := matched - OLD.matches;
        compared := compared - OLD.matches - OLD.mismatches;
        failed := failed - OLD.aws_failures;
        counted := counted - OLD.reads;
    END IF;
    IF outcome = 'congested' THEN
        NEW.congested_reads := NEW.congested_reads + 1;
    ELSIF outcome = 'stale' THEN
        NEW.stale_reads := NEW.stale_reads + 1;
        outcome := 'unavailable';
    END IF;
    IF counted > compared + failed THEN
        NEW.last_answer_at := now();
        -- In dual read it was not compared, as a push was pending: AWS's answer was not looked at.
        IF EXISTS (
            SELECT FROM nova_admin.migration_clientmigration
            WHERE client_id = NEW.client_id AND phase IN ('aws', 'purged')
        ) THEN
            matched := matched + counted - compared - failed;
        END IF;
    END IF;
    IF failed > 0 THEN
        NEW.last_failure_at := now();
        NEW.last_failure_class := left(outcome, 20);
        NEW.good_reads_since_failure := 0;
    ELSIF matched > 0 THEN
        NEW.good_reads_since_failure := least(NEW.good_reads_since_failure + matched, 9223372036854775807);
    END IF;
    RETURN NEW;
END
$function$;
REVOKE ALL ON FUNCTION nova_admin.note_read() FROM PUBLIC;
CREATE OR REPLACE TRIGGER note_read BEFORE INSERT OR UPDATE OF reads ON nova_admin.migration_readcount
FOR EACH ROW EXECUTE FUNCTION nova_admin.note_read()
"""
FORGET_READ = """
DROP TRIGGER IF EXISTS note_read ON nova_admin.migration_readcount;
DROP FUNCTION IF EXISTS nova_admin.note_read()
"""

COUNTS = ", ".join(
    f"'{name}', {name}" for name in ("reads", "matches", "mismatches", "aws_failures")
)
# What was counted before this schema migration may be older than the client's phase: it proves nothing.
BEGIN_ANEW = f"""
UPDATE migration_clientmigration AS kept
SET clean_streak = 0,
    reads_at_entry = coalesce(
        (SELECT jsonb_build_object({COUNTS}) FROM migration_readcount AS r WHERE r.client_id = kept.client_id), '{{}}'
    )
"""  # noqa: S608  # its own names
# NOVA's role writes these times itself: those that Python can't read would break every page that shows them.
TIMES = ("last_read_at", "last_mismatch_at", "last_failure_at", "last_answer_at", "counted_since")
UNREADABLE = " OR ".join(
    f"{column} NOT BETWEEN '{EARLIEST.isoformat()}' AND '{LATEST.isoformat()}'" for column in TIMES
)
FORGET_UNREADABLE = f"DELETE FROM migration_readcount WHERE {UNREADABLE}"  # noqa: S608  # its own names
# A client that has secrets of both layouts, as the setting was changed: those that a push has met last.
FILL_LAYOUTS = f"""
INSERT INTO migration_clientmigration AS kept (client_id, phase, layout)
SELECT DISTINCT ON (c.id) c.id, 'postgres',
    CASE WHEN s.name = %(prefix)s || '/' || c.slug THEN 'client' ELSE 'service' END
FROM migration_secret AS s JOIN {CLIENTS} AS c ON c.id = s.client_id
WHERE s.name = %(prefix)s || '/' || c.slug
    OR s.name IN (
        %(prefix)s || '/' || c.slug || '/database', %(prefix)s || '/' || c.slug || '/email',
        %(prefix)s || '/' || c.slug || '/aws'
    )
ORDER BY c.id, s.seen_at DESC, s.name
ON CONFLICT (client_id) DO UPDATE SET layout = excluded.layout
"""  # noqa: S608  # constants


def fill_layouts(_apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute(FILL_LAYOUTS, {"prefix": settings.NOVA_SECRET_PREFIX})


def make_index(name, column, where, condition):
    """Index a column of the few rows that have it. It locks out writers alone, and NOVA writes none of these rows."""
    return migrations.RunSQL(
        f"CREATE INDEX IF NOT EXISTS {name} ON migration_clientmigration ({column}) WHERE {where}",
        f"DROP INDEX IF EXISTS {name}",
        state_operations=[
            migrations.AddIndex(
                "clientmigration", models.Index(condition=condition, fields=[column], name=name)
            )
        ],
    )


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0009_evidence"),
        ("migration", "0015_readable_times"),
        ("migration", "0034_layouts"),
        ("migration", "0050_secret_slug"),
        ("migration", "0053_read_outcomes"),
    ]

    dependencies = [("migration", "0052_second_release_columns")]

    # The lock of the new columns doesn't last while rows are filled, checked and indexed.
    atomic = False

    operations = [
        ChangeTogether(
            migrations.AlterModelOptions(
                "clientmigration",
                {
                    "permissions": [
                        ("move_client", "Can move clients between phases"),
                        ("purge_client", "Can purge clients"),
                        ("resolve_mismatch", "Can resolve mismatches"),
                        ("override_gate", "Can move clients although evidence is missing"),
                    ]
                },
            ),
            *add_fields(
                "readcount",
                last_failure_at=models.DateTimeField("last failure at AWS", null=True),
                last_answer_at=models.DateTimeField("last answer of AWS", null=True),
                last_failure_class=models.CharField(max_length=20, default="", db_default=""),
                good_reads_since_failure=models.BigIntegerField(default=0, db_default=0),
                congested_reads=models.BigIntegerField(default=0, db_default=0),
                stale_reads=models.BigIntegerField(default=0, db_default=0),
            ),
            *add_fields(
                "clientmigration",
                streak_counted_at=models.DateTimeField(null=True),
                reads_at_entry=models.JSONField(default=dict, db_default={}),
                layout=models.CharField(max_length=16, null=True, choices=LAYOUTS),
                other_secrets=models.CharField(
                    max_length=8,
                    blank=True,
                    default="",
                    db_default="",
                    choices=[("begun", "Begun"), ("kept", "Kept")],
                ),
                other_secrets_since=models.DateTimeField(null=True),
                secret_slug=models.CharField(max_length=512, null=True),
                other_slug=models.CharField(max_length=512, null=True),
            ),
            migrations.RunSQL(NOTE_READ, FORGET_READ),
            adds=("migration_clientmigration", "reads_at_entry"),
        ),
        migrations.RunSQL(BEGIN_ANEW, migrations.RunSQL.noop),
        migrations.RunSQL(FORGET_UNREADABLE, migrations.RunSQL.noop),
        AddConstraintBriefly("readcount", limit_times("readcount", *TIMES)),
        make_index(
            "client_other_secrets",
            "other_secrets_since",
            "NOT (other_secrets = '')",
            ~models.Q(other_secrets=""),
        ),
        *(
            make_index(
                f"client_{column}",
                column,
                f"{column} IS NOT NULL",
                models.Q((f"{column}__isnull", False)),
            )
            for column in ("secret_slug", "other_slug")
        ),
        migrations.RunPython(fill_layouts, migrations.RunPython.noop),
    ]
