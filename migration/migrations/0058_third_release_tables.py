"""What release 0.3.0 brought beside its changes to rows that were there.

When an event happened, where that was before it was written, and the orders in which histories read events; the reason
of a rotation; time zones that users choose; recipients of notices, whose addresses are encrypted; links by which people
choose their own passwords; searches for copies of some clients; ids of the schedule's comparisons of their own, so that
those of other runs have no gaps.
"""

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Coalesce, Now

from migration.schema_operations import (
    ID,
    ChangeTogether,
    add_fields,
    create_model,
    kept_name,
    require_name,
    to_user,
)

NEWEST_FIRST = (
    models.OrderBy(Coalesce("happened_at", "at"), descending=True),
    models.OrderBy(models.F("id"), descending=True),
)


class Migration(migrations.Migration):
    replaces = [
        ("migration", "0058_open_items_by_client"),
        ("migration", "0059_events"),
        ("migration", "0062_rotation_reasons"),
        ("migration", "0066_time_zones"),
        ("migration", "0067_notice_recipients"),
        ("migration", "0068_password_links"),
        ("migration", "0069_sweep_ids"),
        ("migration", "0070_searches_of_some"),
        ("migration", "0071_alter_plan_class"),
    ]

    dependencies = [
        ("migration", "0053_evidence_layouts_and_slugs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            # The open items of some clients have an index of their own, which no look at a run's batches takes.
            migrations.RemoveIndex("runitem", "open_item_client"),
            migrations.AddIndex(
                "runitem",
                models.Index(
                    condition=models.Q(finished_at=None), fields=["client"], name="open_item_client"
                ),
            ),
            # Backward it stays: the audit is never changed, and a release that doesn't know it writes none.
            migrations.RunSQL(
                "ALTER TABLE nova_admin.migration_auditevent ADD COLUMN IF NOT EXISTS happened_at timestamptz",
                migrations.RunSQL.noop,
                state_operations=[
                    *add_fields("auditevent", happened_at=models.DateTimeField(null=True))
                ],
            ),
            *(
                migrations.AddIndex("auditevent", index)
                for index in (
                    models.Index(
                        models.F("client_id"),
                        *NEWEST_FIRST,
                        condition=models.Q(client_id__isnull=False),
                        name="audit_history",
                    ),
                    models.Index(fields=["correlation", "slug", "-id"], name="audit_of_group"),
                    models.Index(
                        *NEWEST_FIRST,
                        condition=models.Q(
                            ("slug", ""),
                            ~models.Q(correlation__startswith="run "),
                            ("code__in", ["request", "approval", "cancellation"]),
                            _connector="OR",
                        ),
                        name="audit_by_hand",
                    ),
                )
            ),
            *add_fields(
                "rotation",
                reason=models.TextField("reason", blank=True, default="", db_default=""),
            ),
            *add_fields("copysearch", chosen=models.JSONField(null=True)),
            create_model(
                "TimeZoneChoice",
                user=models.OneToOneField(
                    settings.AUTH_USER_MODEL,
                    models.CASCADE,
                    primary_key=True,
                    serialize=False,
                    related_name="+",
                ),
                name=models.CharField(max_length=64),
                options={"default_permissions": ()},
            ),
            create_model(
                "NoticeRecipient",
                id=ID,
                way=models.CharField(
                    max_length=8, choices=[("mail", "Mail"), ("webhook", "Webhook")]
                ),
                target=models.CharField(max_length=64, unique=True),
                host=models.CharField(max_length=255),
                encrypted_address=models.TextField(),
                added_by_name=models.CharField(max_length=150),
                added_at=models.DateTimeField(db_default=Now()),
                options={"ordering": ["-way", "id"], "default_permissions": ()},
            ),
            create_model(
                "PasswordLink",
                id=ID,
                user_name=kept_name("user"),
                by_name=kept_name(),
                digest=models.CharField(max_length=64),
                made_at=models.DateTimeField(),
                ends_at=models.DateTimeField(),
                by=to_user(),
                user=models.OneToOneField(
                    settings.AUTH_USER_MODEL, models.CASCADE, related_name="+"
                ),
                options={
                    "default_permissions": (),
                    "constraints": [
                        require_name("passwordlink", "user"),
                        require_name("passwordlink", "by"),
                    ],
                },
            ),
            migrations.RunSQL(
                "CREATE SEQUENCE nova_admin.migration_sweep_id START 1000000001",
                "DROP SEQUENCE nova_admin.migration_sweep_id",
            ),
        ),
    ]
