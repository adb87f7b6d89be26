"""Groups of clients: labels that people put on them."""

import django.db.models.deletion
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0001_initial"),
        ("migration", "0020_leases"),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="ClientGroup",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("name", models.CharField(max_length=100, verbose_name="name")),
                    ("key", models.CharField(editable=False, max_length=300, unique=True)),
                ],
                options={
                    "verbose_name": "client group",
                    "verbose_name_plural": "client groups",
                    "ordering": ["key"],
                },
            ),
            migrations.CreateModel(
                name="GroupMember",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="group_members",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "group",
                        models.ForeignKey(
                            db_index=False,
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="members",
                            to="migration.clientgroup",
                        ),
                    ),
                ],
                options={
                    "default_permissions": (),
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("group", "client"), name="one_client_in_group"
                        )
                    ],
                },
            ),
        ),
    ]
