"""The workers count the clients of a site with very many, and keep the newest counts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migration", "0029_undone_copies")]

    operations = [
        migrations.CreateModel(
            name="KeptCounts",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("counted_at", models.DateTimeField()),
                ("counts", models.JSONField()),
            ],
            options={"default_permissions": ()},
        )
    ]
