"""Notes when a campaign was requested, and when a link of the audit's chain was made."""

from django.db import migrations, models
from django.db.models.functions import Now

from migration.schema_operations import ChangeTogether

# A campaign that waits was last changed when somebody was asked. An approval covered who was there when it was given.
NOTE_REQUESTS = """
UPDATE nova_admin.migration_campaign SET asked_at = coalesce(approved_at, changed_at)
WHERE approved_at IS NOT NULL OR state = 'requested'
"""

ADD_SEALED_AT = (
    "ALTER TABLE nova_admin.migration_auditlink ADD COLUMN IF NOT EXISTS sealed_at timestamptz"
)


class Migration(migrations.Migration):
    dependencies = [("migration", "0050_secret_slug")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="campaign", name="asked_at", field=models.DateTimeField(null=True)
            ),
            migrations.AlterField(
                model_name="groupmember",
                name="added_at",
                field=models.DateTimeField(db_default=Now()),
            ),
        ),
        # Links that hold it don't verify without it: it stays on the way back, and is found there again.
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(ADD_SEALED_AT, migrations.RunSQL.noop)],
            [
                migrations.AddField(
                    model_name="auditlink", name="sealed_at", field=models.DateTimeField(null=True)
                )
            ],
        ),
        migrations.RunSQL(NOTE_REQUESTS, migrations.RunSQL.noop),
    ]
