"""A worker's row tells how far its host's clock is from PostgreSQL's."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0046_differing_secrets")]

    operations = [
        migrations.AddField(
            model_name="worker",
            name="clock_ahead",
            field=models.DurationField(null=True),
        ),
    ]
