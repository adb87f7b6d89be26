"""What was stored as text becomes messages, carried over in English as it is; typed reasons are bounded from now on.

One statement a table. Backwards, a message becomes its English text again.
"""

from django.db import migrations, models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

import migration.core.fields
from migration.schema_operations import ChangeTogether

# As `Message.from_text_without_key` makes it.
OF_TEXT = "jsonb_build_object('key', '', 'values', '{{}}'::jsonb, 'text', {})"
REASON_IS_SHORT = "char_length(reason) <= 500"


def messages_of(table: str) -> migrations.RunSQL:
    """The column `message` as JSON, NULL where it was empty."""
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ALTER COLUMN message DROP NOT NULL,
        ALTER COLUMN message TYPE jsonb USING CASE WHEN message <> '' THEN {OF_TEXT.format("message")} END
        """,
        f"""
        ALTER TABLE {table} ALTER COLUMN message TYPE text USING coalesce(message ->> 'text', ''),
        ALTER COLUMN message SET NOT NULL
        """,
        state_operations=[
            migrations.AlterField(
                model_name=table.removeprefix("migration_"),
                name="message",
                field=migration.core.fields.MessageField(
                    null=True,
                    verbose_name="result" if "resolution" in table else "message",
                ),
            )
        ],
    )


# What was typed and what was ours stood in one column and can't be told apart again: all of it is carried over as ours.
NOTES = migrations.RunSQL(
    [
        "ALTER TABLE migration_phasechange RENAME COLUMN reason TO note",
        f"""
        ALTER TABLE migration_phasechange ALTER COLUMN note DROP NOT NULL,
        ALTER COLUMN note TYPE jsonb USING CASE WHEN note <> '' THEN {OF_TEXT.format("note")} END,
        ADD COLUMN reason text NOT NULL DEFAULT ''
        """,
        "ALTER TABLE migration_phasechange ALTER COLUMN reason DROP DEFAULT",
    ],
    [
        """
        UPDATE migration_phasechange
        SET reason = concat_ws(' ', nullif(reason, ''), note ->> 'text') WHERE note IS NOT NULL
        """,
        "ALTER TABLE migration_phasechange DROP COLUMN note",
    ],
    state_operations=[
        migrations.AddField(
            model_name="phasechange",
            name="note",
            field=migration.core.fields.MessageField(null=True, verbose_name="note"),
        )
    ],
)

REASONS = migrations.RunSQL(
    f"""
    UPDATE migration_moverequest SET reasons = (
        SELECT jsonb_agg({OF_TEXT.format("line")} ORDER BY number)
        FROM jsonb_array_elements_text(reasons) WITH ORDINALITY AS lines (line, number)
    ) WHERE reasons <> '[]'
    """,  # noqa: S608  # its own texts
    """
    UPDATE migration_moverequest SET reasons = (
        SELECT jsonb_agg(line -> 'text' ORDER BY number)
        FROM jsonb_array_elements(reasons) WITH ORDINALITY AS lines (line, number)
    ) WHERE reasons <> '[]'
    """,
    state_operations=[
        migrations.AlterField(
            model_name="moverequest",
            name="reasons",
            field=migration.core.fields.MessageListField(
                default=list, verbose_name="checks that fail"
            ),
        )
    ],
)


class BoundReasons(migrations.AddConstraint):
    """Adds the bound; rows of the first release that are longer keep what was typed, and may be updated."""

    def __init__(self, model_name: str) -> None:
        name = f"{model_name}_reason_is_short"
        condition = LessThanOrEqual(Length("reason"), 500)
        super().__init__(model_name, models.CheckConstraint(condition=condition, name=name))

    def deconstruct(self):
        return self.__class__.__name__, [self.model_name], {}

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        table = f"{app_label}_{self.model_name}"
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"SELECT max(id) FROM {table} WHERE NOT ({REASON_IS_SHORT})")  # noqa: S608
            (last,) = cursor.fetchone()
        longer = f" OR id <= {last}" if last else ""
        schema_editor.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {self.constraint.name} CHECK ({REASON_IS_SHORT}{longer})"
        )


class Migration(migrations.Migration):
    dependencies = [("migration", "0006_first_release")]

    operations = [
        ChangeTogether(
            messages_of("migration_comparison"),
            messages_of("migration_runitem"),
            messages_of("migration_resolution"),
            NOTES,
            REASONS,
            *map(BoundReasons, ("phasechange", "moverequest", "resolution", "reveal")),
        ),
    ]
