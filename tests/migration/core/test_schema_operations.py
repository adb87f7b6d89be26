"""Changes that a schema migration makes together are those that it would make one after the other."""

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.models import CreateModel
from django.db.migrations.state import ProjectState, StateApps

from migration.schema_operations import ChangeTogether, name_changed_models


def make_model(name: str) -> CreateModel:
    return CreateModel(name, [("id", models.BigAutoField(primary_key=True))])


CHANGES = (
    migrations.AddField(
        "note", "writer", models.ForeignKey("together.writer", models.CASCADE, null=True)
    ),
    migrations.RunSQL(
        "ALTER TABLE together_note ADD COLUMN text text NOT NULL DEFAULT ''",
        "ALTER TABLE together_note DROP COLUMN text",
        state_operations=[migrations.AddField("note", "text", models.TextField(db_default=""))],
    ),
    migrations.AddConstraint(
        "note",
        models.CheckConstraint(condition=~models.Q(text="", writer=None), name="note_is_something"),
    ),
    make_model("Label"),
)
COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = 'together_note'::regclass AND attnum > 0 AND NOT attisdropped
"""
CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conname LIKE '%note_is_something'"
LABEL = "SELECT to_regclass('together_label') IS NOT NULL"


def make_migration(*operations) -> migrations.Migration:
    made = migrations.Migration("changes", "together")
    made.operations = list(operations)
    return made


def ask(query: str) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [value for (value,) in cursor.fetchall()]


@pytest.fixture
def before(db) -> ProjectState:
    """Two models and their tables, with the models rendered."""
    state = ProjectState()
    with connection.schema_editor() as editor:
        make_migration(make_model("Writer"), make_model("Note")).apply(state, editor)
    assert "apps" in vars(state)
    return state


def test_models_are_rendered_once_and_know_of_every_change(before, monkeypatch):
    rendered = []
    render = StateApps.render_multiple
    monkeypatch.setattr(
        StateApps,
        "render_multiple",
        lambda apps, states: rendered.append(len(states)) or render(apps, states),
    )
    ChangeTogether(*CHANGES).state_forwards("together", before)

    assert [number for number in rendered if number] == [3]
    note, writer = (before.apps.get_model("together", name) for name in ("note", "writer"))
    assert {field.name for field in note._meta.get_fields()} == {"id", "writer", "text"}
    assert [relation.related_model for relation in writer._meta.related_objects] == [note]
    assert note._meta.get_field("writer").related_model is writer
    assert before.apps.get_model("together", "label")


def test_the_database_is_changed_and_changed_back(before):
    changes = make_migration(ChangeTogether(*CHANGES))
    state = before.clone()

    with connection.schema_editor() as editor:
        changes.apply(state, editor)
    assert ask(COLUMNS) == ["id", "writer_id", "text"]
    assert ask(CONSTRAINTS) == ["note_is_something"]
    assert ask(LABEL) == [True]

    with connection.schema_editor() as editor:
        changes.unapply(before, editor)
    assert (ask(COLUMNS), ask(CONSTRAINTS), ask(LABEL)) == (["id"], [], [False])


def test_what_can_not_be_undone_says_so():
    assert ChangeTogether(*CHANGES).reversible
    assert not ChangeTogether(*CHANGES, migrations.RunSQL("SELECT 1")).reversible


def test_no_model_is_made_and_altered_together():
    together = [
        operation.operations
        for migration in MigrationLoader(None).disk_migrations.values()
        for operation in migration.operations
        if isinstance(operation, ChangeTogether)
    ]
    assert together
    for operations in together:
        made = [step for step in operations if isinstance(step, CreateModel)]
        others = tuple(step for step in operations if step not in made)
        assert not set(name_changed_models(tuple(made))) & set(name_changed_models(others))
