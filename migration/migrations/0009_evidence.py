"""Evidence counts from the entry into a phase, and an override of missing evidence is kept with the move.

A trigger notes when the reader last failed at AWS and when AWS last answered it: it works with readers of every release.
"""

from django.db import migrations, models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

import migration.core.fields
from migration.schema_operations import ChangeTogether

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

NOTE_READ = """
CREATE OR REPLACE FUNCTION nova_admin.note_read() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    compared bigint := NEW.matches + NEW.mismatches;
    failed bigint := NEW.aws_failures;
    counted bigint := NEW.reads;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        compared := compared - OLD.matches - OLD.mismatches;
        failed := failed - OLD.aws_failures;
        counted := counted - OLD.reads;
    END IF;
    IF failed > 0 THEN
        NEW.last_failure_at := now();
    END IF;
    IF counted > compared + failed THEN
        NEW.last_answer_at := now();
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


def override_columns(model_name: str) -> list[migrations.operations.base.Operation]:
    """The columns of an override on a model, with the bound of its reason."""
    return [
        migrations.AddField(
            model_name,
            "overridden",
            migration.core.fields.MessageListField(
                db_default=[],
                default=list,
                **({"verbose_name": "overridden evidence"} if model_name == "moverequest" else {}),
            ),
        ),
        migrations.AddField(
            model_name,
            "override_reason",
            models.TextField(
                blank=True,
                db_default="",
                **(
                    {"verbose_name": "reason of the override"}
                    if model_name == "moverequest"
                    else {}
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name,
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("override_reason"), 500),
                name=f"{model_name}_override_reason_is_short",
            ),
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [("migration", "0008_messages")]

    # NOVA's reader reads and writes the tables of what changes last: its locks don't last while rows are filled.
    atomic = False

    operations = [
        ChangeTogether(
            *override_columns("phasechange"),
            *override_columns("moverequest"),
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
            migrations.AddField(
                "readcount",
                "last_failure_at",
                models.DateTimeField(null=True, verbose_name="last failure at AWS"),
            ),
            migrations.AddField(
                "readcount",
                "last_answer_at",
                models.DateTimeField(null=True, verbose_name="last answer of AWS"),
            ),
            migrations.AddField(
                "clientmigration", "streak_counted_at", models.DateTimeField(null=True)
            ),
            migrations.AddField(
                "clientmigration", "reads_at_entry", models.JSONField(db_default={}, default=dict)
            ),
            migrations.RunSQL(NOTE_READ, FORGET_READ),
            adds=("migration_clientmigration", "reads_at_entry"),
        ),
        migrations.RunSQL(BEGIN_ANEW, migrations.RunSQL.noop),
    ]
