"""Recipients of notices that are added in the browser: their addresses are encrypted."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("migration", "0066_time_zones")]

    operations = [
        migrations.CreateModel(
            name="NoticeRecipient",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "way",
                    models.CharField(
                        choices=[("mail", "Mail"), ("webhook", "Webhook")], max_length=8
                    ),
                ),
                ("target", models.CharField(max_length=64, unique=True)),
                ("host", models.CharField(max_length=255)),
                ("encrypted_address", models.TextField()),
                ("added_by_name", models.CharField(max_length=150)),
                ("added_at", models.DateTimeField(db_default=Now())),
            ],
            options={"ordering": ["-way", "id"], "default_permissions": ()},
        ),
    ]
