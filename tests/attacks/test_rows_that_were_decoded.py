"""What NOVA's role writes into the site's tables by a trigger is read as text and never decoded, let alone run."""

import base64
import pickle
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone
from django_q.models import Failure, Success, Task
from django_q.tasks import async_task
from picklefield import PickledObjectField

from tests.attacks.hostile import Hostile, copied_hostile_database
from tests.attacks.hostile_site import connected_to
from tests.checkout import manage
from tests.hosts import running_host, wait_until

TASK, SEAL = "migration.tasks.note_other_statements", "migration.tasks.seal_audit"
# It writes as the site's role, whenever that one writes NOVA's table.
TRIGGER = """
CREATE FUNCTION public.plant() RETURNS trigger LANGUAGE plpgsql AS $attack$
BEGIN
    IF current_user <> '{nova}' THEN
        INSERT INTO nova_admin.django_q_task
            (id, name, func, args, kwargs, result, started, stopped, success, attempt_count)
        SELECT md5(n::text), 'planted ' || n, 'x', {pickle}, {pickle}, {pickle}, now(), now(), n > 1, 1
        FROM generate_series(1, 3) AS n;
        INSERT INTO nova_admin.django_q_ormq (key, payload, lock) VALUES
            ('nova_admin', {pickle}, '2020-01-01'), ('nova_admin', {pickle} || ':1u:x', '2020-01-01');
        UPDATE nova_admin.django_q_schedule SET func = 'os.system', args = '''{touch}'',', hook = 'os.abort',
            next_run = '2020-01-01' WHERE name = 'Seal the audit';
    END IF;
    RETURN NEW;
END $attack$;
CREATE TRIGGER plant AFTER UPDATE ON public.clients FOR EACH STATEMENT EXECUTE FUNCTION public.plant();
INSERT INTO public.clients (name, slug) VALUES ('IDOM', 'idom');
"""
# The schedule is looked at as soon as the workers start, and not after half a minute.
AT_ONCE = """
from nova_admin.settings import *
Q_CLUSTER["guard_cycle"] = 30
"""


class Canary:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(canary: Path) -> str:
    return base64.b64encode(pickle.dumps(Canary(canary))).decode()


def migrate_once(hostile: Hostile) -> None:
    hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
    done = manage("migrate", DATABASE_URL=hostile.of(hostile.site))
    assert done.returncode == 0, done.stderr


def test_a_pickle_that_a_trigger_of_novas_plants_runs_nowhere(stores, tmp_path):
    """Before, the worker that ended the next task ran it, with all the site's keys in its environment."""
    canary = tmp_path / "ran"
    with copied_hostile_database("migrated_by_site", migrate_once) as hostile:
        hostile.run(
            TRIGGER.format(
                nova=hostile.nova, pickle=f"'{pickled(canary)}'", touch=f"touch {canary}"
            ),
            role=hostile.nova,
        )
        with connected_to(hostile):
            with connection.cursor() as cursor:
                cursor.execute("UPDATE public.clients SET name = 'Other'")  # as any save does
            assert hostile.ask("SELECT count(*) FROM nova_admin.django_q_task") == [(3,)]
            async_task(TASK)

            environment = {
                "DATABASE_URL": hostile.of(hostile.site),
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.endpoint,
                "NOVA_WORKERS": "1",
                "DJANGO_SETTINGS_MODULE": "at_once",
                "PYTHONPATH": str(tmp_path),
            }
            (tmp_path / "at_once.py").write_text(AT_ONCE)
            changed = "SELECT count(*) FROM nova_admin.django_q_schedule WHERE func !~ '^migration.tasks.' OR hook > ''"
            done = "SELECT count(*) > 0 FROM nova_admin.django_q_task WHERE func = %s AND success"
            with running_host("north", **environment):
                wait_until(lambda: hostile.ask(done, TASK) == [(True,)])
                wait_until(lambda: hostile.ask(changed) == [(0,)])
                wait_until(lambda: hostile.ask(done, SEAL) == [(True,)])

    assert not canary.exists()


@pytest.mark.parametrize("planted", ["a pickle", "garbage", "deep", "long"])
@pytest.mark.parametrize("model", [Task, Success, Failure])
def test_the_columns_of_tasks_hold_text(db, tmp_path, model, planted):
    texts = {
        "a pickle": pickled(tmp_path / "ran"),
        "garbage": "\N{SNOWMAN}\ud7ff (((",
        "deep": base64.b64encode(b"\x80\x04" + b"]" * 100_000 + b".").decode(),
        "long": "x" * 5_000_000,
    }
    Task.objects.create(
        id="a" * 32, name="x", func="x", started=timezone.now(), stopped=timezone.now(),
        success=model is Success,
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE nova_admin.django_q_task SET args = %(x)s, kwargs = %(x)s, result = %(x)s",
            {"x": texts[planted]},
        )

    # As django-q loads them after each task.
    (loaded,) = model.objects.select_for_update()

    read = texts[planted][:10_000]
    assert (loaded.args, loaded.kwargs, loaded.result) == (read, read, read)
    assert Task.get_result("a" * 32) == read
    assert not (tmp_path / "ran").exists()


def test_what_a_task_was_given_is_kept_as_text(db):
    now = timezone.now()
    Task.objects.create(
        id="a" * 32, name="x", func="x", args=(7,), kwargs={}, result=None, started=now, stopped=now
    )

    task = Task.objects.get()
    assert (task.args, task.kwargs, task.result) == ("(7,)", "{}", None)
    task.save()
    assert Task.objects.get().args == "(7,)"


def test_no_field_of_any_model_decodes_pickles():
    fields = [
        field
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if isinstance(field, PickledObjectField)
    ]

    assert len(fields) == 9  # those of Task, which its two proxies share
    assert {type(field).__name__ for field in fields} == {"PlainTextField"}
