"""The schedule's comparisons have ids of their own, so that those of other runs have no gaps."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("migration", "0068_password_links")]

    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE nova_admin.migration_sweep_id START 1000000001",
            "DROP SEQUENCE nova_admin.migration_sweep_id",
        ),
    ]
