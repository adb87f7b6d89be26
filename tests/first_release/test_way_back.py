"""The way back: the first release works again on a database that this release had carried over and worked on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nova_admin.database.schema import CARRIED_OVER
from tests.checkout import TIMEOUT_SECONDS
from tests.first_release.back import SCRIPT, go_back, run_script
from tests.first_release.database import NOVA_TABLES, First, answer
from tests.first_release.load import SECRET_KEY

SITE = Path(__file__).parent / "site.tar.xz"
WRITE = """
UPDATE public.client_database_credentials SET db_password_encrypted = %s
WHERE client_id = (SELECT id FROM public.clients WHERE slug = %s)
"""
# What the first release does not know: a run of moves, and what points at it.
RUN_OF_MOVES = """
WITH run AS (
    INSERT INTO nova_admin.migration_run (kind, adopt, include_inactive, created_at, move_from, move_to)
    VALUES ('move', false, false, now(), 'dual_write', 'dual_read') RETURNING id
), item AS (
    INSERT INTO nova_admin.migration_runitem
        (run_id, client_id, slug, batch, outcome, error_class, comparison_status, act)
    SELECT id, 1, 'x', 0, 'moved', '', '', 'move' FROM run
)
UPDATE nova_admin.migration_phasechange SET run_id = run.id FROM run
WHERE migration_phasechange.id = (SELECT max(id) FROM nova_admin.migration_phasechange)
"""
SECRET_COLUMNS = (
    ("public.client_database_credentials", "db_password_encrypted"),
    ("public.client_email_credentials", "email_password_encrypted"),
    ("{}.client_aws_credentials", "secret_access_key"),
)
# The first release purged this one before the upgrade, this release purges those within the day.
PURGED_BEFORE = "purged"
PURGED_TODAY = ("restored", "put_unanswered", "cut_over")
# A password that somebody types into the form of a purged client goes to AWS alone.
TYPE_PASSWORD = """
from django.db import transaction
from credentials.models import Client
from migration.pushes.saves import AdminSave
with transaction.atomic():
    client = Client.objects.get(slug="put_unanswered")
    save, row = AdminSave(client.pk), client.databases.get()
    save.keep_secrets_out_if_purged(row.TYPE, row, {"db_password": "not-a-secret-typed"})
    row.save()
    save.write_or_push_to_aws(warn=print)
"""
WRITE_PURGED = """
UPDATE public.client_database_credentials SET db_host = 'db.of-the-day.invalid'
WHERE client_id = (SELECT id FROM public.clients WHERE slug = 'restored');
UPDATE public.client_email_credentials SET email_password_encrypted = 'not-a-secret-of-the-day'
WHERE client_id = (SELECT id FROM public.clients WHERE slug = 'purged')
"""
HOST = """
SELECT db_host FROM public.client_database_credentials
WHERE client_id = (SELECT id FROM public.clients WHERE slug = 'restored')
"""
# Each command answers in JSON; a text is a statement of NOVA's.
STEPS_IN_ONE = """
import io, json
from contextlib import redirect_stdout
from django.core.management import call_command
from django.db import connection
answers = []
for step in json.loads(%r):
    if isinstance(step, str):
        connection.cursor().execute(step)
        continue
    with redirect_stdout(io.StringIO()) as told:
        try:
            call_command(*step, "--format", "json", stdout=told)
        except SystemExit:
            pass
    answers.append(json.loads(told.getvalue()))
print(json.dumps(answers))
"""
# Every page that lists something, as a superuser sees it.
PAGES = """
import json
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
client = Client(HTTP_HOST="localhost")
client.force_login(User.objects.create_superuser("back", password="x"))
pages = [reverse("admin:index")]
for model in ("credentials_client", "migration_run", "migration_comparison", "migration_moverequest"):
    pages.append(reverse(f"admin:{model}_changelist"))
from credentials.models import Client as NovaClient
from migration.models import Run
pages += [reverse("admin:credentials_client_change", args=[each.pk]) for each in NovaClient.objects.all()]
pages += [reverse("admin:migration_run_change", args=[each.pk]) for each in Run.objects.all()]
print(json.dumps({page: client.get(page).status_code for page in pages}))
"""


@pytest.fixture(scope="session")
def first_site(tmp_path_factory) -> Path:
    """The first release's own code."""
    folder = tmp_path_factory.mktemp("first_release")
    with tarfile.open(SITE) as kept:
        kept.extractall(folder, filter="data")
    return folder


class FirstSite:
    """The first release, run on the database by its commands, as the site's role."""

    def __init__(self, first: First, folder: Path) -> None:
        self.first, self.folder = first, folder

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        inherited = ("PATH", "HOME", "TMPDIR")
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        return subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *arguments],
            cwd=self.folder,
            env=environment
            | {
                "DEBUG": "1",
                "SECRET_KEY": SECRET_KEY,
                "DATABASE_URL": make_conninfo(
                    "",
                    **psycopg.conninfo.conninfo_to_dict(self.first.uri) | {"user": self.first.site},
                ),
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.first.aws,
                "AWS_ACCESS_KEY_ID": "embedded",
                "AWS_SECRET_ACCESS_KEY": "embedded",
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def answers(self, *steps: tuple[str, ...] | str) -> list[Any]:
        """Run commands in one process, with NOVA's statements between them; return what the commands answer."""
        done = self.manage("shell", "-c", STEPS_IN_ONE % json.dumps(steps))
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def back(carried, first_site) -> FirstSite:
    """A day with this release, then the way back."""
    # As in the first release, whose role made its tables in `public`.
    carried.run(f"GRANT CREATE, USAGE ON SCHEMA public TO {carried.site}")
    answer(carried, "push_pending", "--inline")
    answer(carried, "migrate_clients", "never_touched", "--inline")
    (moved,) = answer(carried, "move_clients", "dual_write", "dual_read_clean", "--reason", "a day")
    assert moved["moved"], moved
    carried.run(RUN_OF_MOVES)
    with psycopg.connect(carried.uri) as nova:
        nova.execute(WRITE, ["not-a-secret-of-the-day", "dual_read_pending"])
    answer(carried, "push_pending", "--inline")
    with psycopg.connect(carried.uri) as nova:
        nova.execute(WRITE, ["not-a-secret-that-waits", "dual_write_pending"])
    return take_way_back(carried, first_site)


@pytest.fixture
def back_with_purged(carried, first_site) -> FirstSite:
    """A day on which this release purged clients and they were written while purged, then the way back."""
    carried.run(f"GRANT CREATE, USAGE ON SCHEMA public TO {carried.site}")
    answer(carried, "push_pending", "--inline")
    answer(carried, "compare_clients", *PURGED_TODAY, "--inline")
    carried.values = {slug: read_values(carried, slug, "nova_admin") for slug in PURGED_TODAY}
    moved = answer(carried, "move_clients", "purged", *PURGED_TODAY, "--override", "A day")
    assert all(each["moved"] for each in moved), moved
    typed = carried.manage(
        "shell", "-v", "0", "-c", TYPE_PASSWORD, AWS_ENDPOINT_URL_SECRETS_MANAGER=carried.aws
    )
    assert (typed.returncode, typed.stdout) == (0, ""), typed.stderr
    carried.run(WRITE_PURGED)
    return take_way_back(carried, first_site)


def take_way_back(carried: First, first_site: Path) -> FirstSite:
    """Go back from this release; `carried.newest` holds its last answers of `client_status`."""
    carried.newest = {status["slug"]: status for status in answer(carried, "client_status")}

    def manage(*arguments: str) -> None:
        done = carried.manage(*arguments, "--no-color")
        assert done.returncode == 0, done.stderr

    go_back(make_conninfo(carried.uri, user=carried.site), manage)
    site = FirstSite(carried, first_site)
    done = site.manage("migrate", "--no-color")
    assert (done.returncode, done.stderr) == (0, "")
    return site


def test_the_first_release_goes_on_with_what_the_day_brought_and_is_upgraded_again(back):
    check_clients(back)
    check_pages(back)
    check_upgrade(back.first)


@pytest.mark.nightly
def test_the_first_release_restores_the_purged_and_who_stays_purged_is_upgraded_again(
    back_with_purged,
):
    back, first = back_with_purged, back_with_purged.first
    check_pages(back)
    restored = check_restored(back)
    # So that a client which the first release purged is upgraded too.
    ((purged,),) = back.answers(("move_clients", "purged", PURGED_BEFORE))
    assert purged["moved"], purged

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    phases = {status["slug"]: status["phase"] for status in answer(first, "client_status")}
    assert phases == {slug: each["phase"] for slug, each in first.newest.items()} | {
        "restored": "aws",
        "put_unanswered": "aws",
    }
    stay = {"cut_over": first.values["cut_over"], PURGED_BEFORE: restored[PURGED_BEFORE]}
    for slug, values in stay.items():
        pointers = [f"aws-secretsmanager:nova/clients/{slug}"] * len(values)
        assert read_values(first, slug, "nova_admin") == pointers
    moved = answer(first, "move_clients", "aws", *stay)
    assert all(each["moved"] for each in moved), moved
    assert {slug: read_values(first, slug, "nova_admin") for slug in stay} == stay


def check_restored(back: FirstSite) -> dict[str, list[str]]:
    """Restore all purged clients but one by the first release; return their values by slug."""
    first = back.first
    slugs = (*PURGED_TODAY[:2], PURGED_BEFORE)
    before, moved, pushed, compared = back.answers(
        ("client_status",),
        ("move_clients", "aws", *slugs),
        ("push_pending", "--inline"),
        ("compare_clients", *slugs, "--inline"),
    )
    phases = {status["slug"]: status["phase"] for status in before}
    assert phases == {slug: each["phase"] for slug, each in first.newest.items()}
    assert {phases[slug] for slug in (*PURGED_TODAY, PURGED_BEFORE)} == {"purged"}
    expected = {
        "restored": first.values["restored"],
        "put_unanswered": ["not-a-secret-typed", *first.values["put_unanswered"][1:]],
        PURGED_BEFORE: [
            "not-a-secret-26",
            "not-a-secret-33",
            "not-a-secret-of-the-day",
            "not-a-secret-35",
        ],
    }

    assert all(each["moved"] for each in moved), moved
    assert {slug: read_values(first, slug, "public") for slug in expected} == expected
    assert first.ask(HOST) == [("db.of-the-day.invalid",)]
    # NOVA's writes while they were purged were counted, and are pushed.
    outcomes = {item["slug"]: item["outcome"] for item in pushed["items"]}
    assert {outcomes[slug] for slug in ("restored", PURGED_BEFORE)} == {"updated"}
    assert {item["status"] for item in compared["items"]} == {"match"}
    return expected


def read_values(first: First, slug: str, schema: str) -> list[str]:
    """Return what stands in the client's secret columns; `schema` has the site's tables."""
    found = []
    for table, column in SECRET_COLUMNS:
        query = f"""
            SELECT {column} FROM {table.format(schema)} AS row JOIN public.clients AS c ON c.id = client_id
            WHERE slug = %s ORDER BY row.id
        """
        found += [value for (value,) in first.ask(query, slug)]
    return found


def check_clients(back: FirstSite) -> None:
    first = back.first
    assert sorted(first.tables("public")) == sorted([*CARRIED_OVER, *NOVA_TABLES])
    before, *pushed, compared = back.answers(
        ("client_status",),
        ("push_pending", "--inline"),
        *(
            WRITE % ("'not-a-secret-of-the-next-day'", f"'{slug}'")
            for slug in ("dual_read_pending", "cut_over")
        ),
        ("push_pending", "--inline"),
        ("compare_clients", "--all", "--inline"),
    )
    now = {status["slug"]: status["phase"] for status in before}
    assert now == {slug: each["phase"] for slug, each in first.newest.items()}
    assert (now["never_touched"], now["dual_read_clean"]) == ("dual_write", "dual_write")
    # What NOVA wrote last, and nobody pushed; what this release pushed is the first release's own to write again.
    outcomes, again = ({item["slug"]: item["outcome"] for item in each["items"]} for each in pushed)
    assert outcomes["dual_write_pending"] == "updated"
    assert (again["dual_read_pending"], again["cut_over"]) == ("updated", "updated")
    differ = {item["slug"] for item in compared["items"] if item["status"] != "match"}
    assert not differ & {
        "never_touched",
        "dual_read_clean",
        "dual_read_pending",
        "cut_over",
        "dual_write_pending",
    }


def check_pages(back: FirstSite) -> None:
    done = back.manage("shell", "-c", PAGES)

    assert done.returncode == 0, done.stderr[-2000:]
    pages = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(pages) > 20
    assert {page: status for page, status in pages.items() if status != 200} == {}


# A run of the first release whose workers were stopped for the upgrade.
HALF_DONE = """
UPDATE public.migration_run SET state = 'running', finished_at = NULL WHERE id = 2;
UPDATE public.migration_runitem SET outcome = '', finished_at = NULL, comparison_status = ''
WHERE run_id = 2 AND id % 2 = 0
"""
ITEMS = """
SELECT count(*), count(*) FILTER (WHERE outcome = '') FROM public.migration_runitem WHERE run_id = 2
"""
ENDED = "SELECT state, finished_at IS NOT NULL FROM nova_admin.migration_run WHERE id = 2"
UNLIKE = """
SELECT count(*) FROM nova_admin.migration_runitem WHERE run_id = 2 AND (outcome = '' OR act <> 'push')
"""


def check_upgrade(first: First) -> None:
    first.run(HALF_DONE)
    ((total, left),) = first.ask(ITEMS)

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    again = {status["slug"]: status["phase"] for status in answer(first, "client_status")}
    assert again == {slug: each["phase"] for slug, each in first.newest.items()}
    assert first.tables("public") == NOVA_TABLES
    counts = answer(first, "run", "resume", "2", "--inline")
    assert 0 < left < total == counts["clients"]
    assert first.ask(ENDED) == [("finished", True)]
    assert first.ask(UNLIKE) == [(0,)]


def test_the_script_moves_every_table_and_changes_nothing_while_one_is_in_use(migrated_first):
    moved = {
        line.split()[2].removeprefix("nova_admin.")
        for line in SCRIPT.read_text().splitlines()
        if line.startswith("ALTER TABLE") and line.endswith("SET SCHEMA public;")
    }
    assert moved == {*CARRIED_OVER}
    # The one table that the steps before the script would bring back.
    migrated_first.run("CREATE TABLE nova_admin.migration_moverequest ()")
    things = "SELECT relnamespace::regnamespace::text, relname::text FROM pg_class ORDER BY 1, 2"
    before = migrated_first.ask(things)
    with psycopg.connect(migrated_first.uri) as nova:
        nova.execute("UPDATE public.clients SET description = 'in use'")
        with pytest.raises((psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)):
            run_script(migrated_first.uri)
    assert migrated_first.ask(things) == before
