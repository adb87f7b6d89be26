"""NOVA's own questions by plain SQL, and changes to what a reader finds."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

from django.db import connection
from hypothesis import strategies as st

from credentials.values import POINTER
from migration.models import ReadCount
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.checkout import ROOT
from tests.nova_credentials.nova_process import TIMEOUT_SECONDS as WATCHDOG_SECONDS

GRANTS = re.findall(r"^GRANT .+;$", (ROOT / "docs/nova.md").read_text(), re.MULTILINE)
AWS_ALONE = (Phase.AWS, Phase.PURGED)
POSTGRES_ALONE = (Phase.POSTGRES, Phase.DUAL_WRITE)


def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def change_in_aws(sm: ClientSecretsManager, slug: str, service: str, **values: object) -> None:
    document = sm.get_client_credentials(slug)
    document[service] |= values
    sm.put_value(f"nova/clients/{slug}", json.dumps(document))


def put_pending(sm: ClientSecretsManager, layout: Layout, password: str, **changed: str) -> None:
    """As a rotation of the primary login does first."""
    name = "nova/clients/idom" if layout == Layout.CLIENT else "nova/clients/idom/database"
    document = sm.get_value(name).to_document()
    document["database"] |= {"password": password, **changed}
    sm.put_aside(name, json.dumps(document), stage="AWSPENDING")


def counts(pk: int) -> tuple[int, int, int, int]:
    row = ReadCount.objects.get(pk=pk)
    return row.reads, row.matches, row.mismatches, row.aws_failures


def in_time(work):
    """The result of the work, or a failure instead of a test that never ends."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result(timeout=WATCHDOG_SECONDS)
    finally:
        pool.shutdown(wait=False)


COLUMNS = {
    "database": "db_host, db_port, db_name, db_user, db_password_encrypted",
    "email": "email_provider, imap_host, imap_port, smtp_host, smtp_port, email_user,"
    " email_password_encrypted, sender_whitelist",
    "aws": "access_key_id, secret_access_key, region",
}


TABLES = {
    "database": "public.client_database_credentials",
    "email": "public.client_email_credentials",
    "aws": "nova_admin.client_aws_credentials",
}


def by_sql(slug: str, kind: str, label: str | None) -> list[tuple[object, ...]]:
    """Every row that NOVA's statement may give for a slug and a label."""
    condition = "is_primary = true" if label is None else "label = %s"
    return execute(
        f"SELECT c.id, c.slug, {COLUMNS[kind]}, label, is_primary FROM public.clients c"
        f" JOIN {TABLES[kind]} ON client_id = c.id"
        f" WHERE slug = %s AND is_active = true AND {condition}",
        *([slug] if label is None else [slug, label]),
    )


def every_question(slug: str) -> dict[tuple[str, str | None], list[tuple[object, ...]]]:
    own = "WHERE client_id = (SELECT id FROM public.clients WHERE slug = %s)"
    tables = [f"SELECT label FROM {TABLES[kind]} {own}" for kind in COLUMNS]
    labels = {label for (label,) in execute(" UNION ".join(tables), slug, slug, slug)}
    labels |= {None, "no such label"}
    return {(kind, label): by_sql(slug, kind, label) for kind in COLUMNS for label in labels}


def answer(reader: Reader, slug: str, kind: str, label: str | None) -> tuple[object, ...] | None:
    try:
        return astuple(reader.get_credential(slug, kind, label))
    except ValueError:
        return None


def assert_answers(reader: Reader, slug: str, questions) -> None:
    answers = {}
    for (kind, label), rows in questions.items():
        got = answers[kind, label] = answer(reader, slug, kind, label)
        assert got in rows if rows else got is None
    primary = {
        kind: row and astuple(row) for kind, row in reader.get_primary_credentials(slug).items()
    }
    assert primary == {kind: answers[kind, None] for kind in ("database", "email")}


# Hypothesis draws texts of our code, too, and a push rightly refuses what looks like a pointer.
text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40
).filter(lambda value: not value.startswith(POINTER))
labels = {"label": st.none() | text, "is_primary": st.sampled_from([False, None])}
