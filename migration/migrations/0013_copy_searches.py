"""Searches for copies of secret values: where they were found and what was not looked at, without values."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0003_counting"),
        ("migration", "0011_database_identity"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="CopySearch",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    (
                        "requested_at",
                        models.DateTimeField(
                            db_default=django.db.models.functions.datetime.Now(),
                            default=django.utils.timezone.now,
                            verbose_name="requested",
                        ),
                    ),
                    ("started_at", models.DateTimeField(null=True, verbose_name="started")),
                    ("seen_at", models.DateTimeField(null=True)),
                    ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                    (
                        "clients",
                        models.PositiveIntegerField(
                            db_default=0, default=0, verbose_name="clients"
                        ),
                    ),
                    (
                        "bytes_read",
                        models.BigIntegerField(db_default=0, default=0, verbose_name="bytes read"),
                    ),
                    ("tables_done", models.PositiveIntegerField(db_default=0, default=0)),
                    (
                        "tables",
                        models.PositiveIntegerField(db_default=0, default=0, verbose_name="tables"),
                    ),
                    (
                        "by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                            verbose_name="started by",
                        ),
                    ),
                ],
                options={
                    "verbose_name": "search for copies",
                    "verbose_name_plural": "searches for copies",
                    "ordering": ["-id"],
                },
            ),
            migrations.CreateModel(
                name="UnsearchedPlace",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    (
                        "slug",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=100,
                            verbose_name="slug",
                        ),
                    ),
                    ("place", models.CharField(max_length=600, verbose_name="place")),
                    (
                        "reason",
                        models.CharField(
                            choices=[
                                ("no_right", "this site's role may not read it"),
                                ("type", "its type is not searched"),
                                ("row_security", "row security hides rows from this site's role"),
                                (
                                    "foreign_table",
                                    "a foreign table: its rows are in another database",
                                ),
                                ("materialized_view", "a materialized view"),
                                ("other_session", "a temporary table of another session"),
                                ("large_objects", "large objects are not searched"),
                                ("busy", "it stayed locked: search again"),
                                ("changed", "it was rebuilt while it was read: search again"),
                                ("read_failed", "reading it failed"),
                                (
                                    "secret_unread",
                                    "AWS did not give these values, so they were not looked for",
                                ),
                                ("short_value", "a secret value is too short to be looked for"),
                            ],
                            max_length=32,
                            verbose_name="reason",
                        ),
                    ),
                    (
                        "detail",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=200,
                            verbose_name="detail",
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            null=True,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "search",
                        models.ForeignKey(
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="unsearched_places",
                            to="migration.copysearch",
                        ),
                    ),
                ],
                options={
                    "ordering": ["slug", "place"],
                },
            ),
            migrations.CreateModel(
                name="FoundCopy",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100, verbose_name="slug")),
                    ("table", models.CharField(max_length=200, verbose_name="table")),
                    ("column", models.CharField(max_length=100, verbose_name="column")),
                    ("rows", models.BigIntegerField(verbose_name="rows")),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "search",
                        models.ForeignKey(
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="found_copies",
                            to="migration.copysearch",
                        ),
                    ),
                ],
                options={
                    "ordering": ["slug", "table", "column"],
                    "indexes": [
                        models.Index(fields=["search", "client"], name="found_copy_of_client")
                    ],
                },
            ),
            migrations.CreateModel(
                name="Redaction",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100, verbose_name="slug")),
                    ("table", models.CharField(max_length=200, verbose_name="table")),
                    ("column", models.CharField(max_length=100, verbose_name="column")),
                    ("rows", models.BigIntegerField(verbose_name="rows")),
                    (
                        "redacted_at",
                        models.DateTimeField(
                            db_default=django.db.models.functions.datetime.Now(),
                            default=django.utils.timezone.now,
                            verbose_name="redacted",
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="redactions",
                            to="credentials.client",
                        ),
                    ),
                ],
                options={
                    "verbose_name": "redaction",
                    "verbose_name_plural": "redactions",
                    "ordering": ["-id"],
                    "indexes": [models.Index(fields=["client", "-id"], name="redaction_of_client")],
                },
            ),
            migrations.CreateModel(
                name="SearchedClient",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100, verbose_name="slug")),
                    ("searched_at", models.DateTimeField(verbose_name="searched")),
                    (
                        "rows_found",
                        models.BigIntegerField(
                            db_default=0, default=0, verbose_name="rows with a copy"
                        ),
                    ),
                    (
                        "not_looked_at",
                        models.PositiveIntegerField(
                            db_default=0, default=0, verbose_name="places not looked at"
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="copy_searches",
                            to="credentials.client",
                        ),
                    ),
                    (
                        "search",
                        models.ForeignKey(
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="searched_clients",
                            to="migration.copysearch",
                        ),
                    ),
                ],
                options={
                    "indexes": [
                        models.Index(
                            fields=["client", "-searched_at"], name="copy_search_of_client"
                        )
                    ],
                    "constraints": [
                        models.UniqueConstraint(
                            fields=("search", "client"), name="searched_client_once"
                        )
                    ],
                },
            ),
        ),
    ]
