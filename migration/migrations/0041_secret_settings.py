"""What AWS says of a secret beside its value, and runs that make it as the settings say."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [("migration", "0040_offboardings")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="secret",
                name="facts",
                field=models.JSONField(db_default={}, default=dict),
            ),
            migrations.AddField(
                model_name="secret",
                name="described_at",
                field=models.DateTimeField(null=True),
            ),
            migrations.AddField(
                model_name="run",
                name="secret_settings",
                field=models.JSONField(null=True),
            ),
            migrations.AlterField(
                model_name="run",
                name="kind",
                field=models.CharField(
                    choices=[
                        ("migrate", "Migration"),
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Moves"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
            migrations.AlterField(
                model_name="runitem",
                name="act",
                field=models.CharField(
                    blank=True,
                    choices=[
                        ("push", "Push"),
                        ("compare", "Comparison"),
                        ("move", "Move"),
                        ("layout", "Change of layout"),
                        ("test_logins", "Login tests"),
                        ("rotate", "Rotation"),
                        ("secret_settings", "Key and regions"),
                    ],
                    db_default="",
                    default="",
                    max_length=16,
                    verbose_name="act",
                ),
            ),
        ),
    ]
