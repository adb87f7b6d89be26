"""A background search for copies may be for some clients alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0068_password_links")]

    operations = [
        migrations.AddField("copysearch", "chosen", models.JSONField(null=True)),
    ]
