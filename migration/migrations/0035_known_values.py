"""What is known of each credential's value: since when it exists, and where it stood in clear. Versions are restored."""

import django.db.models.deletion
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0001_initial"),
        ("migration", "0034_layouts"),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="NotedClient",
                fields=[
                    (
                        "client",
                        models.OneToOneField(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            primary_key=True,
                            related_name="noted_client",
                            serialize=False,
                            to="credentials.client",
                        ),
                    ),
                    ("revision", models.BigIntegerField()),
                    ("key_id", models.CharField(blank=True, max_length=16)),
                ],
                options={"default_permissions": ()},
            ),
            migrations.CreateModel(
                name="KnownValue",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("kind", models.CharField(max_length=16)),
                    ("credential_id", models.IntegerField()),
                    ("digest", models.CharField(blank=True, max_length=64)),
                    ("key_id", models.CharField(blank=True, max_length=16)),
                    ("since", models.DateTimeField(verbose_name="at least since")),
                    ("set_at", models.DateTimeField()),
                    ("replaced_at", models.DateTimeField(null=True)),
                    ("stands_in_tables", models.BooleanField()),
                    ("stood_in_tables", models.BooleanField()),
                    ("stood_in_copy", models.BooleanField(db_default=False, default=False)),
                    ("stood_in_legacy", models.BooleanField(db_default=False, default=False)),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="known_values",
                            to="credentials.client",
                        ),
                    ),
                ],
                options={
                    "default_permissions": (),
                    "indexes": [
                        models.Index(
                            fields=["client", "kind", "credential_id"],
                            name="known_value_of_credential",
                        ),
                        models.Index(
                            condition=models.Q(("replaced_at", None), ("stands_in_tables", False)),
                            fields=["client"],
                            name="known_value_to_rotate",
                        ),
                    ],
                },
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
                        ("to_version", "Restored a former version"),
                    ],
                    max_length=16,
                    verbose_name="kind",
                ),
            ),
        )
    ]
