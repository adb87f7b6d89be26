"""Changes tables with one rendering of their models, and so that nobody is locked out for long. Knows no table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddConstraint, AddField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual


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


# What schema migrations say of many tables. It stays as it is, whatever the models say later.

# As Django has it in the former schema migrations: no page shows it.
ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def create_model(
    name: str, /, *, options: dict[str, Any] | None = None, **fields: models.Field[Any, Any]
) -> CreateModel:
    """Make the operation that creates a model with these fields, in this order."""
    return CreateModel(name, [*fields.items()], options)


def add_fields(model: str, /, **fields: models.Field[Any, Any]) -> Iterator[AddField]:
    """Make the operations that add these fields to a model, in this order."""
    return (AddField(model, name, field) for name, field in fields.items())


def to_client(name: str, **options: Any) -> models.ForeignKey[Any, Any]:
    """Make a foreign key to a client of NOVA's, which the database does not check: NOVA may delete the client."""
    return models.ForeignKey(
        "credentials.client",
        models.DO_NOTHING,
        related_name=name,
        db_constraint=False,
        **options,
    )


def of_client(name: str) -> models.OneToOneField[Any, Any]:
    """Make the primary key of a table that has one row for a client."""
    return models.OneToOneField(
        "credentials.client",
        models.DO_NOTHING,
        primary_key=True,
        serialize=False,
        related_name=name,
        db_constraint=False,
    )


def to_user(label: str | None = None) -> models.ForeignKey[Any, Any]:
    """Make a foreign key to whoever did something."""
    return models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=label,
    )


def kept_name(label: str | None = None) -> models.CharField[Any, Any]:
    """Make the column that keeps a user's name beside the foreign key."""
    return models.CharField(label, max_length=150, blank=True, default="", db_default="")


def require_name(table: str, of: str) -> models.CheckConstraint:
    """Make the check that a row with a user has the user's name."""
    return models.CheckConstraint(
        condition=models.Q((of, None), ~models.Q((f"{of}_name", "")), _connector="OR"),
        name=f"{table}_{of}_is_named",
    )


def limit_text(table: str, column: str) -> models.CheckConstraint:
    """Make the check that a typed text is no longer than 500 characters."""
    return models.CheckConstraint(
        condition=LessThanOrEqual(Length(column), 500), name=f"{table}_{column}_is_short"
    )
