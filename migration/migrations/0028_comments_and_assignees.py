"""Comments on clients. A mismatch is assigned to somebody: only a client has an owner."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

from migration.schema_operations import ChangeTogether


class Migration(migrations.Migration):
    dependencies = [
        ("credentials", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("migration", "0027_saved_views"),
    ]

    operations = [
        migrations.RenameField(model_name="openmismatch", old_name="owner", new_name="assignee"),
        ChangeTogether(
            migrations.AlterField(
                model_name="openmismatch",
                name="assignee",
                field=models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                    verbose_name="assigned to",
                ),
            ),
            migrations.CreateModel(
                name="ClientComment",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("slug", models.CharField(max_length=100)),
                    ("text", models.TextField(verbose_name="comment")),
                    (
                        "by_name",
                        models.CharField(blank=True, db_default="", default="", max_length=150),
                    ),
                    ("left_at", models.DateTimeField(default=django.utils.timezone.now)),
                    (
                        "by",
                        models.ForeignKey(
                            null=True,
                            on_delete=django.db.models.deletion.SET_NULL,
                            related_name="+",
                            to=settings.AUTH_USER_MODEL,
                        ),
                    ),
                    (
                        "client",
                        models.ForeignKey(
                            db_constraint=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="comments",
                            to="credentials.client",
                        ),
                    ),
                ],
                options={
                    "verbose_name": "comment on a client",
                    "ordering": ["-id"],
                    "default_permissions": ("delete",),
                    "indexes": [models.Index(fields=["client", "-id"], name="comment_of_client")],
                    "constraints": [
                        models.CheckConstraint(
                            condition=LessThanOrEqual(Length("text"), 500),
                            name="clientcomment_text_is_short",
                        ),
                        models.CheckConstraint(
                            condition=models.Q(
                                ("by", None),
                                models.Q(("by_name", ""), _negated=True),
                                _connector="OR",
                            ),
                            name="clientcomment_by_is_named",
                        ),
                    ],
                },
            ),
        ),
    ]
