"""Changes tables with one rendering of their models, and so that nobody is locked out for long. Knows no table."""

from collections.abc import Iterator

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddConstraint
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class ChangeTogether(Operation):
    """Apply operations that can do with the models as they were before, or are after, all of them.

    Django renders a changed model and all its relatives anew after each operation, which is most of the time of
    `migrate`. Here that is done once. So a model can't be made and then altered in the same `ChangeTogether`.

    A schema migration that changes what NOVA's reader uses and also fills many rows is `atomic = False`, so that the
    lock of the change doesn't last while rows are filled. One that is ended in between is begun again: `adds`, a
    (table, column) of the change, tells that the change is made already.
    """

    # In a schema migration that is not atomic it has a transaction of its own.
    atomic = True

    def __init__(self, *operations: Operation, adds: tuple[str, str] | None = None) -> None:
        self.operations, self.adds = operations, adds
        self.reversible = all(operation.reversible for operation in operations)  # type: ignore[misc]

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        # Without rendered models Django has none to render anew.
        rendered = state.__dict__.pop("apps", None)
        for operation in self.operations:
            operation.state_forwards(app_label, state)
        if rendered is not None:
            state.apps = rendered
            changed = [(app_label, name) for name in name_changed_models(self.operations)]
            state.reload_models(changed, delay=False)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if self.adds and has_column(schema_editor, *self.adds):
            return
        for operation in self.operations:
            operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if self.adds and not has_column(schema_editor, *self.adds):
            return
        for operation in reversed(self.operations):
            operation.database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return "; ".join(operation.describe() for operation in self.operations)


class AddConstraintBriefly(AddConstraint):
    """Add a check to a table that NOVA's reader writes, then look at its rows, which locks nobody out.

    For a schema migration with `atomic = False`. One that is ended in between can be begun again.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        table, name = (
            schema_editor.quote_name(each) for each in (model._meta.db_table, self.constraint.name)
        )
        added = self.constraint.create_sql(model, schema_editor)
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        schema_editor.execute(f"{added} NOT VALID", params=None)
        schema_editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def name_changed_models(operations: tuple[Operation, ...]) -> Iterator[str]:
    for operation in operations:
        yield from name_changed_models(getattr(operation, "state_operations", ()))
        # An operation on a part of a model names the model so; one on the model itself, by `name`.
        name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
        if name:
            yield name.lower()


def has_column(schema_editor: BaseDatabaseSchemaEditor, table: str, column: str) -> bool:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped)",
            [table, column],
        )
        return bool(cursor.fetchone()[0])
