"""What the newest look for each problem found. Conditions of the site that are open go on as problems, told as before."""

from django.db import migrations, models

import migration.core.fields

# What the workers noted at each look.
LAST_LOOK = "last look"
# Event and subject of a condition -> code of a problem. A duplicate has the key of its sentence as subject.
CODES = """(VALUES
    ('aws_gone', 'aws', 'aws_gone'), ('readers_gone', 'failing', 'readers_fail'), ('readers_gone', 'gone', 'readers_gone'),
    ('audit_unsealed', 'audit', 'audit_unsealed'), ('workers_gone', 'workers', 'no_worker'),
    ('settings_differ', 'settings', 'secrets_differ'), ('audit_broken', 'audit', 'audit_unsound'),
    ('duplicate', NULL, 'duplicate')
) AS codes (event, subject, code)"""
# One that was noted and never told has no facts.
CARRY_OVER = f"""
INSERT INTO nova_admin.migration_problemrecord (code, findings, began_at, failed_at, told, facts)
SELECT code, '[]', min(began_at), max(seen_at), bool_or(facts IS NOT NULL),
    (array_agg(facts ORDER BY began_at) FILTER (WHERE facts IS NOT NULL))[1]
FROM nova_admin.migration_condition AS condition JOIN {CODES}
    ON condition.event = codes.event AND condition.subject = coalesce(codes.subject, condition.subject)
GROUP BY code;
INSERT INTO nova_admin.migration_problemrecord AS record (code, findings, looked_at)
SELECT 'no_worker', '[]', max(seen_at) FROM nova_admin.migration_condition WHERE event = '{LAST_LOOK}' HAVING count(*) > 0
ON CONFLICT (code) DO UPDATE SET looked_at = excluded.looked_at;
DELETE FROM nova_admin.migration_condition
WHERE event = '{LAST_LOOK}' OR event IN (SELECT codes.event FROM {CODES});
"""  # noqa: S608  # constants
TAKE_BACK = f"""
INSERT INTO nova_admin.migration_condition (event, subject, facts, began_at, seen_at)
SELECT codes.event, coalesce(codes.subject, facts ->> 'key', ''), facts, began_at, coalesce(failed_at, began_at)
FROM nova_admin.migration_problemrecord AS record JOIN {CODES} ON codes.code = record.code
WHERE told AND began_at IS NOT NULL
ON CONFLICT (event, subject) DO NOTHING;
INSERT INTO nova_admin.migration_condition (event, subject, began_at, seen_at)
SELECT '{LAST_LOOK}', '{LAST_LOOK}', looked_at, looked_at
FROM nova_admin.migration_problemrecord WHERE code = 'no_worker' AND looked_at IS NOT NULL
ON CONFLICT (event, subject) DO NOTHING;
"""  # noqa: S608  # constants


class Migration(migrations.Migration):
    dependencies = [("migration", "0056_copies_in_runs")]

    operations = [
        migrations.CreateModel(
            name="ProblemRecord",
            fields=[
                ("code", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("findings", migration.core.fields.OwnJSONField(default=list)),
                ("looked_at", models.DateTimeField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("began_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("told", models.BooleanField(db_default=False, default=False)),
                ("facts", migration.core.fields.MessageField(null=True)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunSQL(CARRY_OVER, TAKE_BACK),
    ]
