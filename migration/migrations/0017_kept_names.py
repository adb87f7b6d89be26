"""Records keep the names of people, the database keeps the people, and user administration is a role of its own."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

from migration.schema_operations import ChangeTogether

USER_ADMINISTRATION = {
    f"{action}_{model}"
    for action in ("view", "add", "change", "delete")
    for model in ("user", "group")
}
# The foreign keys whose users' names are kept beside them, by model, with the label of the name's column.
KEPT = (
    ("copysearch", "by", "started by"),
    ("databaseclaim", "by", None),
    ("moverequest", "decided_by", "decided by"),
    ("moverequest", "requested_by", "requested by"),
    ("phasechange", "by", None),
    ("resolution", "by", None),
    ("run", "by", "started by"),
    ("run", "steered_by", None),
    ("writestop", "by", None),
    ("writestop", "started_by", None),
)

KEEP_USERS = """
CREATE FUNCTION refuse_user_deletion() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'users are deactivated, never deleted' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER users_are_kept BEFORE DELETE ON auth_user FOR EACH ROW EXECUTE FUNCTION refuse_user_deletion();
"""
LET_USERS_GO = "DROP TRIGGER users_are_kept ON auth_user; DROP FUNCTION refuse_user_deletion()"


def make_name_field(label):
    return models.CharField(label, blank=True, db_default="", default="", max_length=150)


def make_user_field():
    return models.ForeignKey(
        settings.AUTH_USER_MODEL,
        django.db.models.deletion.SET_NULL,
        null=True,
        related_name="+",
    )


def require_kept_name(model, of):
    return models.CheckConstraint(
        condition=models.Q(**{of: None}) | ~models.Q(**{f"{of}_name": ""}),
        name=f"{model}_{of}_is_named",
    )


def separate_user_administration(apps, schema_editor):
    """Move what the role Administrator had over users and groups to a role of its own, with everybody who had it."""
    using = schema_editor.connection.alias
    groups = apps.get_model("auth", "Group").objects.using(using)
    role = groups.filter(name="Administrator").first()
    if role is None:
        return  # `migrate` has yet to make the roles
    grants = apps.get_model("migration", "RoleGrant").objects.using(using)
    given = grants.filter(
        group=role,
        permission__content_type__app_label="auth",
        permission__codename__in=USER_ADMINISTRATION,
    )
    held = role.permissions.filter(pk__in=given.values("permission"))
    # What somebody took away from the role is not given back to its members.
    if held.filter(codename="change_user").exists():
        new, _created = groups.get_or_create(name="User administrator")
        new.user_set.add(*role.user_set.all())
    role.permissions.remove(*held)
    given.delete()


class Migration(migrations.Migration):
    dependencies = [
        ("migration", "0016_resumed_searches"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        ChangeTogether(
            *(
                migrations.AddField(
                    model_name=model, name=f"{of}_name", field=make_name_field(label)
                )
                for model, of, label in KEPT
            ),
            *(
                migrations.RunSQL(
                    f"UPDATE migration_{model} SET {of}_name = username FROM auth_user WHERE auth_user.id = {of}_id",  # noqa: S608  # its own names
                    migrations.RunSQL.noop,
                )
                for model, of, _label in KEPT
            ),
            # A row that was updated twice waits for the check of its foreign keys, and its table can't be altered meanwhile.
            migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
            *(
                migrations.AddConstraint(model_name=model, constraint=require_kept_name(model, of))
                for model, of, _label in KEPT
            ),
            migrations.CreateModel(
                name="PasswordReset",
                fields=[
                    (
                        "id",
                        models.BigAutoField(
                            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                        ),
                    ),
                    ("user", make_user_field()),
                    ("user_name", make_name_field("user")),
                    ("by", make_user_field()),
                    ("by_name", make_name_field(None)),
                    (
                        "what",
                        models.CharField(
                            choices=[
                                ("account", "New account"),
                                ("password", "Password"),
                                ("factor", "Second factor"),
                            ],
                            max_length=16,
                        ),
                    ),
                    ("reset_at", models.DateTimeField(db_default=Now())),
                ],
                options={
                    "ordering": ["-id"],
                    "default_permissions": (),
                    "indexes": [models.Index(fields=["-reset_at"], name="recent_password_reset")],
                    "constraints": [
                        require_kept_name("passwordreset", "user"),
                        require_kept_name("passwordreset", "by"),
                    ],
                },
            ),
        ),
        migrations.RunSQL(KEEP_USERS, LET_USERS_GO),
        migrations.RunPython(separate_user_administration, migrations.RunPython.noop),
    ]
