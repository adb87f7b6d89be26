"""Proofs that NOVA's writes are counted; which columns NOVA added, and what of others on its tables is accepted."""

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def to_user():
    return models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")


class Migration(migrations.Migration):
    replaces = [("credentials", "0003_counting"), ("credentials", "0004_mapped_columns")]

    dependencies = [
        ("credentials", "0002_first_release"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            "CountingGap",
            [
                ("id", ID),
                ("proved_at", models.DateTimeField(null=True)),
                ("found_at", models.DateTimeField(default=timezone.now)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            "CountingProof",
            [
                ("table", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("outcome", models.CharField(max_length=10)),
                ("tried_at", models.DateTimeField()),
                ("held_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            "CountingTriggers",
            [
                ("id", ID),
                ("identities", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            "AcceptedObject",
            [
                ("id", ID),
                ("kind", models.CharField("kind", max_length=40)),
                ("name", models.TextField("name")),
                ("table", models.CharField("table", max_length=100)),
                ("owner", models.TextField("owner in PostgreSQL")),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.TextField("reason")),
                ("username", models.CharField("user", max_length=150, blank=True)),
                ("accepted_at", models.DateTimeField("accepted", default=timezone.now)),
                ("accepted_by", to_user()),
            ],
            {
                "verbose_name": "accepted object",
                "verbose_name_plural": "accepted objects",
                "ordering": ["-id"],
                "permissions": [("accept_object", "Can accept objects of others on NOVA's tables")],
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "table", "name", "owner", "digest"),
                        name="object_accepted_once",
                    ),
                    models.CheckConstraint(
                        condition=LessThanOrEqual(Length("reason"), 500),
                        name="accepted_reason_is_short",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            "ColumnMapping",
            [
                ("id", ID),
                ("table", models.CharField("table", max_length=100)),
                ("column", models.TextField("column")),
                (
                    "use",
                    models.CharField(
                        "use",
                        max_length=10,
                        choices=[("secret", "Secret"), ("plain", "Plain"), ("ignore", "Ignored")],
                    ),
                ),
                ("column_type", models.TextField("type")),
                ("username", models.CharField("user", max_length=150, blank=True)),
                ("mapped_at", models.DateTimeField("mapped", default=timezone.now)),
                ("mapped_by", to_user()),
            ],
            {
                "verbose_name": "mapped column",
                "verbose_name_plural": "mapped columns",
                "ordering": ["table", "column"],
                "permissions": [("map_column", "Can map columns of NOVA's tables")],
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("table", "column"), name="one_mapping_a_column")
                ],
            },
        ),
    ]
