"""A background search for copies may be for some clients alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0069_sweep_ids")]

    operations = [
        migrations.AddField("copysearch", "chosen", models.JSONField(null=True)),
        # Words alone: no SQL.
        migrations.AlterField(
            model_name="readerprocess",
            name="access_key_end",
            field=models.CharField(db_default="", max_length=4, verbose_name="Access key"),
        ),
        migrations.AlterField(
            model_name="unsearchedplace",
            name="reason",
            field=models.CharField(
                choices=[
                    ("no_right", "this site's role may not read it"),
                    ("type", "its type is not searched"),
                    ("row_security", "row security hides rows from this site's role"),
                    ("foreign_table", "a foreign table: its rows are in another database"),
                    ("materialized_view", "a materialized view"),
                    ("other_session", "a temporary table of another session"),
                    ("large_objects", "large objects are not searched"),
                    ("busy", "it stayed locked: search again"),
                    ("changed", "it was rebuilt while it was read: search again"),
                    ("read_failed", "reading it failed"),
                    (
                        "secret_unread",
                        "AWS did not return these values, so they were not searched for",
                    ),
                    ("short_value", "a secret value is too short to be looked for"),
                ],
                max_length=32,
                verbose_name="reason",
            ),
        ),
    ]
