"""Runs that copy one store of their clients to the other. A way back takes these runs; what they did stays recorded."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether

# A former release has no word for them.
FORGET = """
DELETE FROM nova_admin.migration_runitem WHERE act IN ('to_aws', 'to_postgres');
DELETE FROM nova_admin.migration_run WHERE kind IN ('to_aws', 'to_postgres');
"""


class Migration(migrations.Migration):
    dependencies = [("migration", "0055_owners_of_mismatches")]

    operations = [
        ChangeTogether(
            migrations.AlterField(
                "run",
                "kind",
                models.CharField(
                    choices=[
                        ("migrate", "Migration"),
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Moves"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                        ("to_aws", "Copies to AWS"),
                        ("to_postgres", "Copies to PostgreSQL"),
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
            migrations.AlterField(
                "runitem",
                "act",
                models.CharField(
                    blank=True,
                    choices=[
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Move"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                        ("to_aws", "Copy to AWS"),
                        ("to_postgres", "Copy to PostgreSQL"),
                    ],
                    db_default="",
                    default="",
                    max_length=16,
                    verbose_name="act",
                ),
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, FORGET),
    ]
