"""A search for copies whose process is gone is marked as interrupted, or begun again by a worker."""

from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [("migration", "0015_readable_times")]

    operations = [
        ChangeTogether(
            migrations.AddField(
                model_name="copysearch",
                name="interrupted_at",
                field=models.DateTimeField(null=True, verbose_name="interrupted"),
            ),
            migrations.AddField(
                model_name="copysearch",
                name="in_background",
                field=models.BooleanField(db_default=False, default=False),
            ),
            migrations.AddField(
                model_name="copysearch",
                name="tries",
                field=models.PositiveSmallIntegerField(db_default=0, default=0),
            ),
        ),
    ]
