"""NOVA's role writes these times itself: those that Python can't read would break every page that shows them."""

from django.db import migrations

from migration.core.fields import EARLIEST, LATEST, limit_times
from migration.schema_operations import AddConstraintBriefly

READS = ("last_read_at", "last_mismatch_at", "last_failure_at", "last_answer_at", "counted_since")
PROCESSES = ("aws_error_at", "first_seen_at", "last_read_at")


def forget_unreadable(table: str, columns: tuple[str, ...]) -> str:
    """Make the statement that deletes the rows that the constraint would refuse."""
    unreadable = " OR ".join(
        f"{column} NOT BETWEEN '{EARLIEST.isoformat()}' AND '{LATEST.isoformat()}'"
        for column in columns
    )
    return f"DELETE FROM {table} WHERE {unreadable}"  # noqa: S608  # its own names


class Migration(migrations.Migration):
    dependencies = [("migration", "0014_schema_class")]

    # NOVA's reader writes both tables: no lock lasts while rows are looked at.
    atomic = False

    operations = [
        migrations.RunSQL(forget_unreadable("migration_readcount", READS), migrations.RunSQL.noop),
        migrations.RunSQL(
            forget_unreadable("migration_readerprocess", PROCESSES), migrations.RunSQL.noop
        ),
        AddConstraintBriefly("readcount", limit_times("readcount", *READS)),
        AddConstraintBriefly("readerprocess", limit_times("readerprocess", *PROCESSES)),
    ]
