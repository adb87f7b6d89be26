from django.db import migrations, models

KINDS = [
    ("migrate", "Migration"),
    ("push", "Push"),
    ("compare", "Comparison"),
    ("move", "Moves"),
    ("layout", "Change of layout"),
    ("test_logins", "Login tests"),
    ("rotate", "Rotation"),
    ("secret_settings", "Key and regions"),
    ("adopt", "Adoptions"),
    ("to_aws", "Copies to AWS"),
    ("to_postgres", "Copies to PostgreSQL"),
]

# On the way back: a former release has no word for them. To it they are pushes, which leave alone what isn't ours.
AS_PUSHES = "UPDATE nova_admin.migration_run SET kind = 'push' WHERE kind = 'adopt'"


class Migration(migrations.Migration):
    dependencies = [("migration", "0062_rotation_reasons")]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, AS_PUSHES),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=16, verbose_name="kind"),
        ),
    ]
