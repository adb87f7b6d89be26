"""A copy to PostgreSQL notes what it needs to be undone."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [("migration", "0028_comments_and_assignees")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="resolution",
                name="kept_versions",
                field=models.JSONField(null=True),
            ),
            migrations.AddField(
                model_name="resolution", name="revision", field=models.BigIntegerField(null=True)
            ),
            migrations.AlterField(
                model_name="resolution",
                name="kind",
                field=models.CharField(
                    choices=[
                        ("check", "Checked again"),
                        ("to_aws", "Copied PostgreSQL to AWS"),
                        ("to_postgres", "Copied AWS to PostgreSQL"),
                        ("acknowledge", "Acknowledged"),
                        ("to_former", "Put the former values back"),
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
        )
    ]
