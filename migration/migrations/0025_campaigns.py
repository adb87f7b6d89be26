"""Campaigns: waves of client groups, the runs that are their steps or their rollbacks, and the stop rule."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import migration.core.fields
from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0005_pushed_at"),
        ("migration", "0024_item_acts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            migrations.CreateModel(
                name="WaveClient",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100)),
                    ("failures_before", models.BigIntegerField(default=0)),
                    ("mismatches_before", models.BigIntegerField(default=0)),
                ],
                options={
                    "default_permissions": (),
                },
            ),
            migrations.AddField(
                model_name="groupmember",
                name="added_at",
                field=models.DateTimeField(
                    db_default=django.db.models.functions.datetime.Now(),
                    default=django.utils.timezone.now,
                ),
            ),
            migrations.AddField(
                model_name="run",
                name="only_where_equal",
                field=models.BooleanField(db_default=False, default=False),
            ),
            migrations.CreateModel(
                name="Campaign",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    (
                        "state",
                        models.CharField(
                            choices=[
                                ("requested", "Requested"),
                                ("running", "Running"),
                                ("stopped", "Stopped"),
                                ("finished", "Finished"),
                                ("cancelled", "Cancelled"),
                            ],
                            db_index=True,
                            default="running",
                            max_length=16,
                            verbose_name="state",
                        ),
                    ),
                    (
                        "goal",
                        models.CharField(
                            choices=[
                                ("postgres", "PostgreSQL"),
                                ("dual_write", "Dual write"),
                                ("dual_read", "Dual read"),
                                ("aws", "AWS (cut over)"),
                                ("purged", "Purged"),
                            ],
                            max_length=16,
                            verbose_name="goal",
                        ),
                    ),
                    (
                        "wave_size",
                        models.PositiveIntegerField(
                            default=0, verbose_name="most clients in a wave"
                        ),
                    ),
                    (
                        "soak_minutes",
                        models.PositiveIntegerField(default=0, verbose_name="soak time in minutes"),
                    ),
                    ("most_mismatches", models.PositiveIntegerField(default=1)),
                    ("most_failed_reads", models.PositiveIntegerField(default=1)),
                    ("most_refused", models.PositiveIntegerField(default=1)),
                    ("begins_at", models.TimeField(null=True)),
                    ("ends_at", models.TimeField(null=True)),
                    (
                        "rolls_back",
                        models.BooleanField(
                            default=False, verbose_name="rolls back when it stops by itself"
                        ),
                    ),
                    ("reason", models.TextField(blank=True, verbose_name="reason")),
                    (
                        "by_name",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=150,
                            verbose_name="started by",
                        ),
                    ),
                    (
                        "approved_by_name",
                        models.CharField(
                            blank=True,
                            db_default="",
                            default="",
                            max_length=150,
                            verbose_name="approved by",
                        ),
                    ),
                    ("approved_at", models.DateTimeField(null=True)),
                    (
                        "steered_by_name",
                        models.CharField(blank=True, db_default="", default="", max_length=150),
                    ),
                    ("stopped_because", migration.core.fields.MessageField(null=True)),
                    (
                        "created_at",
                        models.DateTimeField(
                            default=django.utils.timezone.now, verbose_name="started"
                        ),
                    ),
                    ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                    (
                        "approved_by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
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
                    (
                        "steered_by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
                    ),
                ],
                options={
                    "verbose_name": "campaign",
                    "verbose_name_plural": "campaigns",
                    "ordering": ["-id"],
                    "default_permissions": ("view", "add", "change"),
                },
            ),
            migrations.CreateModel(
                name="Wave",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("position", models.PositiveIntegerField()),
                    ("part", models.PositiveIntegerField(default=1)),
                    ("group_name", models.CharField(max_length=100, verbose_name="client group")),
                    ("goes_on_without_group", models.BooleanField(default=False)),
                    ("began_at", models.DateTimeField(null=True, verbose_name="began")),
                    ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                    ("watched_since", models.DateTimeField(null=True)),
                    ("rollback_is_due", models.BooleanField(default=False)),
                    (
                        "campaign",
                        models.ForeignKey(
                            db_index=False,
                            on_delete=django.db.models.deletion.CASCADE,
                            related_name="waves",
                            to="migration.campaign",
                        ),
                    ),
                    (
                        "group",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to="migration.clientgroup",
                        ),
                    ),
                ],
                options={
                    "ordering": ["position", "part"],
                    "default_permissions": (),
                },
            ),
        ),
        ChangeTogether(
            migrations.AddField(
                model_name="run",
                name="wave",
                field=models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="runs",
                    to="migration.wave",
                ),
            ),
            migrations.AddConstraint(
                model_name="run",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("wave", None),
                        models.Q(
                            ("override_reason", ""), models.Q(("move_to", "purged"), _negated=True)
                        ),
                        _connector="OR",
                    ),
                    name="run_of_campaign_overrides_nothing",
                ),
            ),
            migrations.AddField(
                model_name="waveclient",
                name="client",
                field=models.ForeignKey(
                    db_constraint=False,
                    on_delete=django.db.models.deletion.DO_NOTHING,
                    related_name="wave_clients",
                    to="credentials.client",
                ),
            ),
            migrations.AddField(
                model_name="waveclient",
                name="wave",
                field=models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="taken",
                    to="migration.wave",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("by", None), models.Q(("by_name", ""), _negated=True), _connector="OR"
                    ),
                    name="campaign_by_is_named",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("approved_by", None),
                        models.Q(("approved_by_name", ""), _negated=True),
                        _connector="OR",
                    ),
                    name="campaign_approved_by_is_named",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        ("steered_by", None),
                        models.Q(("steered_by_name", ""), _negated=True),
                        _connector="OR",
                    ),
                    name="campaign_steered_by_is_named",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=django.db.models.lookups.LessThanOrEqual(
                        django.db.models.functions.text.Length("reason"), 500
                    ),
                    name="campaign_reason_is_short",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(("goal__in", ["dual_write", "dual_read", "aws"])),
                    name="campaign_never_purges",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(("approved_by", models.F("by")), _negated=True),
                    name="campaign_approved_by_another",
                ),
            ),
            migrations.AddConstraint(
                model_name="campaign",
                constraint=models.CheckConstraint(
                    condition=models.Q(
                        models.Q(("begins_at", None), ("ends_at", None)),
                        models.Q(("begins_at__isnull", False), ("ends_at__isnull", False)),
                        _connector="OR",
                    ),
                    name="campaign_hours_have_two_ends",
                ),
            ),
            migrations.AddConstraint(
                model_name="wave",
                constraint=models.UniqueConstraint(
                    fields=("campaign", "position", "part"), name="one_wave_at_a_place"
                ),
            ),
            migrations.AddConstraint(
                model_name="waveclient",
                constraint=models.UniqueConstraint(
                    fields=("wave", "client"), name="one_client_in_wave"
                ),
            ),
        ),
    ]
