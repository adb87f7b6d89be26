"""A background search for copies may be for some clients alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0069_sweep_ids")]

    operations = [
        migrations.AddField("copysearch", "chosen", models.JSONField(null=True)),
    ]
