"""A run that somebody had to approve begins with the approval."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0048_created_by")]

    operations = [
        migrations.AddField(
            model_name="run", name="began_at", field=models.DateTimeField(null=True)
        ),
    ]
