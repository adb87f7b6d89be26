"""Rows as NOVA writes them: plain SQL, column by column, behind Django's back. And forms as browsers send them."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from django.db import connection
from django.db.models import F
from django.utils import timezone
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from migration.runs.models import Run


def qualified(table: str) -> sql.Identifier:
    """The table in its schema: NOVA's own in `public`, this site's in `nova_admin`."""
    ours = table == "client_aws_credentials" or not table.startswith("client")
    return sql.Identifier("nova_admin" if ours else "public", table)


def all_tables() -> list[str]:
    """Every table of NOVA's and of this site's, with its schema, fit to stand in SQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'nova_admin') ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def insert(table: str, **columns: Any) -> int:
    """Inserts one row, leaving every column that is not named to its default; answers with its id."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        qualified(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, list(columns.values()))
        return int(cursor.fetchone()[0])


def update(table: str, pk: int, **columns: Any) -> None:
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns
    )
    statement = sql.SQL("UPDATE {} SET {} WHERE id = {}").format(
        qualified(table), assignments, sql.Placeholder()
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*columns.values(), pk])


def make_client(slug: str, **columns: Any) -> int:
    return insert("clients", **{"name": slug.upper(), "slug": slug} | columns)


def make_database(client_id: int, **columns: Any) -> int:
    defaults = {
        "db_host": "db.example.test",
        "db_port": 5432,
        "db_name": "app",
        "db_user": "app",
        "db_password_encrypted": "example-password-1",
    }
    return insert("client_database_credentials", client_id=client_id, **defaults | columns)


def make_aws_secret(text: str) -> str:
    """A secret access key that holds the text and is shaped as AWS's are: 40 letters, digits, / and +."""
    return re.sub(r"[^A-Za-z0-9/+=]", "/", text)[:40].ljust(40, "0")


def make_email(client_id: int, **columns: Any) -> int:
    defaults = {
        "email_user": "invoices@example.test",
        "email_password_encrypted": "example-app-password-2",
        "sender_whitelist": "a@example.test,b@example.test",
    }
    return insert("client_email_credentials", client_id=client_id, **defaults | columns)


def make_aws(client_id: int, **columns: Any) -> int:
    defaults = {
        "access_key_id": "EXAMPLEKEYID00000000",
        "secret_access_key": "example/secret/access/key/that/is/no/key",
        "region": "eu-west-1",
    }
    return insert("client_aws_credentials", client_id=client_id, **defaults | columns)


def make_full_client(slug: str, **columns: Any) -> int:
    """A client with one login of each kind."""
    pk = make_client(slug, **columns)
    make_database(pk)
    make_email(pk)
    make_aws(pk)
    return pk


class SentForm(HTMLParser):
    """What a browser sends of one form of a page: its successful controls, with the browser's line ends."""

    def __init__(self, html: str, form_id: str) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, False
        self.data: dict[str, str] = {}
        self.name = ""
        self.text: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "form":
            self.inside = given.get("id") == self.form_id
        elif not self.inside or "disabled" in given:
            return
        elif tag == "input" and name and given.get("type") not in ("submit", "checkbox", "radio"):
            # An <input> is one line: browsers take the line ends out.
            self.data[name] = re.sub(r"[\r\n]", "", value)
        elif tag == "input" and given.get("type") == "radio" and "checked" in given:
            self.data[name] = value
        elif tag == "select":
            self.name = name
        elif tag == "option" and (self.name not in self.data or "selected" in given):
            self.data[self.name] = value
        elif tag == "textarea":
            self.name, self.text = name, []

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "textarea" and self.text is not None:
            # The first line end after the tag is not part of the text; the others are sent as CRLF.
            text = re.sub(r"\r\n?|\n", "\n", "".join(self.text)).removeprefix("\n")
            self.data[self.name], self.text = text.replace("\n", "\r\n"), None


def sent_form(html: str, form_id: str = "client_form") -> dict[str, str]:
    """The form as it stands on the page, without the empty form that scripts copy for a new row."""
    sent = SentForm(html, form_id).data
    return {name: value for name, value in sent.items() if "__prefix__" not in name}


def make_comparison(client_id: int, status: str, **fields: Any) -> Any:
    """A client's newest comparison."""
    from migration.models import Comparison

    comparison = Comparison(
        client_id=client_id, status=status, **{"slug": f"c{client_id}"} | fields
    )
    return Comparison.objects.record([comparison])[0]


def give_evidence(pk: int, **counts: int) -> None:
    """Gives a client the evidence that its next move wants, as a month of use would; `counts` are read besides."""
    from django.conf import settings

    from migration.models import ClientMigration
    from nova_credentials.phases import Phase

    month_ago = timezone.now() - timedelta(days=30)
    stands = ClientMigration.objects.get(pk=pk)
    ClientMigration.objects.filter(pk=pk).update(
        phase_changed_at=month_ago,
        clean_streak=settings.NOVA_CLEAN_STREAK,
        streak_counted_at=timezone.now() - timedelta(hours=1),
    )
    make_reader_process()
    make_copy_search(pk)
    compared = settings.NOVA_MIN_READS if stands.phase == Phase.DUAL_READ else 0
    count_reads(pk, **{"reads": compared or 1, "matches": compared} | counts)


def make_copy_search(pk: int, **fields: Any) -> Any:
    """A search for copies of a client's secret values that was just finished and found nothing."""
    from migration.models import CopySearch, SearchedClient

    search = CopySearch.objects.create()
    given = {"slug": f"c{pk}", "searched_at": timezone.now()}
    return SearchedClient.objects.create(search=search, client_id=pk, **given | fields)


def count_reads(pk: int, **counts: int) -> None:
    """Counts reads of a client, as NOVA's reader does."""
    from migration.models import ReadCount

    ReadCount.objects.get_or_create(client_id=pk)
    more = {name: F(name) + n for name, n in counts.items()}
    ReadCount.objects.filter(pk=pk).update(last_read_at=timezone.now(), **more)


def make_reader_process(**fields: Any) -> Any:
    """A process of NOVA that read through the package just now."""
    from migration.models import ReaderProcess

    given = {"key": uuid4(), "host": "nova-worker-1", "process_id": 4242, "version": "0.2.0"}
    row = ReaderProcess.objects.create(**given | {"access_key_end": "WXYZ"} | fields)
    row.refresh_from_db()
    return row


def make_many(number: int, phase: str = "dual_write", status: str = "match") -> None:
    """So many clients with a database login each, a phase and a newest comparison; slugs `many-…`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO public.clients (name, slug)
                SELECT 'Many ' || n, 'many-' || there + n
                FROM generate_series(1, %s) AS n, (SELECT count(*) AS there FROM public.clients) AS before
                RETURNING id, slug
            ), login AS (
                INSERT INTO public.client_database_credentials
                    (client_id, db_host, db_name, db_user, db_password_encrypted)
                SELECT id, 'db.example.test', 'app', 'app', 'example-password-1' FROM made
            ), compared AS (
                INSERT INTO nova_admin.migration_comparison
                    (client_id, slug, status, error_class, mismatches, revision, compared_at)
                SELECT id, slug, %s, '', '[]', 0, now() FROM made RETURNING id, client_id, slug, status
            ), differs AS (
                INSERT INTO nova_admin.migration_openmismatch
                    (client_id, slug, path, kind, hint, comparison_id, first_seen_at, last_seen_at, times)
                SELECT client_id, slug, '', 'missing', '', id, now(), now(), 1 FROM compared
                WHERE status NOT IN ('match', 'unchecked')
            )
            INSERT INTO nova_admin.migration_clientmigration
                (client_id, phase, comparison_id, comparison_status, compared_at)
            SELECT client_id, %s, id, status, now() FROM compared
            """,
            [number, status, phase],
        )


CREDENTIALS = ("client", "databasecredential", "emailcredential", "awscredential")
VIEW = (
    *(f"credentials.view_{name}" for name in CREDENTIALS),
    "migration.view_run",
    "migration.view_comparison",
)
CHANGE = tuple(f"credentials.change_{name}" for name in CREDENTIALS)


def make_user(name: str, *permissions: str, **fields: Any) -> Any:
    """A user who may enter the admin and has these permissions."""
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user(name, **{"is_staff": True} | fields)
    if permissions:
        names = [permission.partition(".")[2] for permission in permissions]
        found = Permission.objects.select_related("content_type").filter(codename__in=names)
        by_name = {f"{each.content_type.app_label}.{each.codename}": each for each in found}
        user.user_permissions.add(*(by_name[permission] for permission in permissions))
    return user


def make_in_role(name: str, role: str) -> Any:
    """A user of this name in one of the roles that `migrate` makes."""
    from django.contrib.auth.models import Group

    user = make_user(name)
    user.groups.add(Group.objects.get(name=role))
    return user


def nova_uri() -> str:
    """The test's database, as NOVA is told of it."""
    return make_conninfo(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"])


@contextmanager
def nova_connected() -> Iterator[psycopg.Connection]:
    """A connection of NOVA's own to the test's database; what it left open is rolled back."""
    connected = psycopg.connect(nova_uri())
    try:
        yield connected
    finally:
        connected.close()


def write_uncommitted(nova: psycopg.Connection, client_id: int) -> None:
    nova.execute(
        "UPDATE public.client_database_credentials SET db_host = 'held' WHERE client_id = %s",
        [client_id],
    )


def while_someone_waits_for_rows(monkeypatch: Any, act: Callable[[], Any]) -> None:
    """Has `act` happen in each pause of whoever waits for a client's rows."""
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: act())
    monkeypatch.setattr("credentials.models.clients.time", clock)


def add_mail_and_commit(nova: psycopg.Connection, client_id: int) -> None:
    """Fails rather than waits where somebody holds the client's row."""
    nova.execute("SET LOCAL lock_timeout = '1ms'")
    nova.execute(
        "INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted, is_primary)"
        " VALUES (%s, 'late@example.test', 'example-late', false)",
        [client_id],
    )
    nova.commit()


def request_run(client_id: int, *, by: Any = None, slug: str = "idom", **fields: Any) -> "Run":
    """A cutover of one client that somebody requested."""
    from migration.models import Run, RunItem

    fields = {"move_from": "dual_read", "move_to": "aws", "reason": "INC-42"} | fields
    run = Run.objects.create(kind="move", state="requested", by=by, **fields)
    RunItem.objects.create(run=run, client_id=client_id, slug=slug, batch=0)
    return run


def start_run(**options: Any) -> "Run":
    """Start a run for the workers, as the pages do."""
    # Later than at the top: studies import this module before they name their settings.
    from migration import tasks
    from migration.runs.models import MANY_TRIES, Run

    run = Run.start(**{"tries": MANY_TRIES, **options})
    assert tasks.enqueue(run)
    return run
