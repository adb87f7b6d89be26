"""When AWS was last seen to have a client's rows."""

from django.db import migrations, models

# A client with nothing pending was pushed at some time up to now: its earlier failures need no attention.
FILL = """
UPDATE credentials_clientrevision AS kept SET pushed_at = now()
WHERE pushed_revision >= revision + (
    SELECT count(*) FROM credentials_clientwrite AS written WHERE written.client_id = kept.client_id
)
"""


class Migration(migrations.Migration):
    dependencies = [("credentials", "0004_counting_and_mapping")]

    # NOVA's reader reads the table: the lock of the new column doesn't last while rows are filled. Each statement can
    # be run again, if the first run is ended between them.
    atomic = False

    operations = [
        migrations.RunSQL(
            "ALTER TABLE credentials_clientrevision ADD COLUMN IF NOT EXISTS pushed_at timestamptz",
            "ALTER TABLE credentials_clientrevision DROP COLUMN IF EXISTS pushed_at",
            state_operations=[
                migrations.AddField(
                    model_name="clientrevision",
                    name="pushed_at",
                    field=models.DateTimeField(null=True),
                )
            ],
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
