"""A campaign can go on without clients that it could not move."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0030_kept_counts")]

    operations = [
        migrations.AddField(
            model_name="waveclient",
            name="left_out_at",
            field=models.DateTimeField(null=True),
        )
    ]
