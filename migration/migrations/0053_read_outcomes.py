"""What a failed read came to, how many good ones followed it, and the reads that NOVA's own processes were too busy for.

The reader names its outcome in a setting of the transaction in which it counts; the trigger stores it. So the reader's
statement is the same for tables of every release.
"""

from importlib import import_module

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

evidence = import_module("migration.migrations.0009_evidence")

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
$function$
"""
COUNT = models.BigIntegerField(db_default=0, default=0)


class Migration(migrations.Migration):
    dependencies = [("migration", "0052_shared_facts")]

    # NOVA's reader writes the table.
    operations = [
        ChangeTogether(
            migrations.AddField(
                "readcount",
                "last_failure_class",
                models.CharField(db_default="", default="", max_length=20),
            ),
            *(
                migrations.AddField("readcount", name, COUNT.clone())
                for name in ("good_reads_since_failure", "congested_reads", "stale_reads")
            ),
            migrations.RunSQL(NOTE_READ, evidence.NOTE_READ),
        ),
    ]
