"""Holds the demo's clients: every shape that NOVA's tables can have, and some that are wrong on purpose.

Some of them have logins that work: to mailboxes and databases that the demo serves itself (`client_servers.py`).
"""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from credentials.models import AwsCredential, Client, DatabaseCredential, EmailCredential
from migration.core.aws_store import record_planned_versions
from migration.core.clients import all_clients
from migration.core.groups import ClientGroup
from migration.core.keys import load_version_keys
from migration.core.secrets import Secret
from nova_admin.embedded.client_servers import (
    DATABASE_HOST,
    DATABASE_PORT,
    IMAP_PORT,
    MAIL_HOST,
    SMTP_PORT,
)
from nova_admin.embedded.identity import make_access_key_id, make_secret_access_key
from nova_admin.embedded.postgres import ASKED_FOR_PASSWORD
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import MAX_BYTES, Layout

Mail = dict[str, Any]
GMAIL: Mail = {"email_provider": "gmail"}
OUTLOOK: Mail = {
    "email_provider": "outlook",
    "imap_host": "outlook.office365.com",
    "smtp_host": "smtp.office365.com",
}
SERVED: Mail = {
    "email_provider": "custom",
    "imap_host": MAIL_HOST,
    "imap_port": IMAP_PORT,
    "smtp_host": MAIL_HOST,
    "smtp_port": SMTP_PORT,
}
# The clients whose logins work.
SERVED_SLUGS = (
    "cantabria_steel",
    "changed_in_aws",
    "galerna_shipping",
    "levante_tiles",
    "olivar_oils",
)
MAILBOX, MAIL_PASSWORD = "invoices@{}.mail.example", "demo-app-password-{}"

# Name, slug, database labels (None: the primary one), mail provider, and whether there is an AWS login.
CLIENTS: list[tuple[str, str, list[str | None], Mail | None, bool]] = [
    ("IDOM", "idom", [None], GMAIL, True),
    ("Aldana Logistics", "aldana_logistics", [None], OUTLOOK, False),
    ("Bahia Foods", "bahia_foods", [None, "reporting"], GMAIL, True),
    ("Cantabria Steel", "cantabria_steel", [None, "archive", "staging"], SERVED, True),
    ("Delta Insurance", "delta_insurance", [None], OUTLOOK, True),
    ("Ebro Water", "ebro_water", [None], GMAIL, False),
    ("Faro Clinics", "faro_clinics", [None, "radiology"], OUTLOOK, False),
    ("Galerna Shipping", "galerna_shipping", [None], SERVED, False),
    ("Horizonte Travel", "horizonte_travel", [None], GMAIL, True),
    ("Iberia Paper", "iberia_paper", [None], None, False),
    ("Jara Energy", "jara_energy", [None, "meters"], None, True),
    ("Kilo Markets", "kilo_markets", [None], OUTLOOK, False),
    ("Levante Tiles", "levante_tiles", [None], SERVED, False),
    ("Montes Timber", "montes_timber", [], GMAIL, False),
    ("Norte Rail", "norte_rail", [None], OUTLOOK, True),
    ("Olivar Oils", "olivar_oils", [None], SERVED, False),
    ("Pirineos Outdoor", "pirineos_outdoor", [None, "shop"], GMAIL, False),
    ("Quinta Wines", "quinta_wines", [None], GMAIL, True),
    # AWS already holds something for these: see `prepare_aws` and `change_secrets_in_aws`.
    ("Foreign Secret", "foreign_secret", [None], GMAIL, False),
    ("Scheduled For Deletion", "scheduled_for_deletion", [None], GMAIL, False),
    ("Changed In AWS", "changed_in_aws", [None], SERVED, False),
    # These are wrong in the tables, or nearly so.
    ("Hyphen And Six", "acme-madrid", [None], GMAIL, False),
    ("Illegal Characters", "café norte", [None], GMAIL, False),
    ("A Slash In The Slug", "sur/este", [None], GMAIL, False),
    ("Two Primaries", "two_primaries", [None, None], GMAIL, False),
    ("Too Large", "too_large", [None], GMAIL, False),
    ("Inactive", "inactive", [None], GMAIL, False),
    ("No Credentials", "no_credentials", [], None, False),
]

# The clients that fail or differ on purpose.
BROKEN = {
    "foreign_secret",
    "changed_in_aws",
    "levante_tiles",
    "café norte",
    "sur/este",
    "two_primaries",
    "too_large",
}

# A campaign of this group stops at its first step, as two of its clients differ.
PILOT = "Pilot"
PILOT_SLUGS = ("changed_in_aws", "ebro_water", "idom", "levante_tiles", "norte_rail")


def seed_group() -> None:
    """Put the clients of the pilot into their group."""
    clients = all_clients().filter(slug__in=PILOT_SLUGS)
    ClientGroup.objects.get_or_add(PILOT).put_clients(clients)


def seed_clients_and_secrets(sm: SecretsManager) -> int:
    """Make the missing clients, and the secrets that some find in AWS; return the number of new clients."""
    present = set(Client.objects.values_list("slug", flat=True))
    new = [row for row in CLIENTS if row[1] not in present]
    for name, slug, databases, mail, aws in new:
        _make_client(name, slug, databases, mail, aws=aws)
        prepare_aws(sm, slug)
    return len(new)


def _make_client(
    name: str, slug: str, databases: list[str | None], mail: Mail | None, *, aws: bool
) -> None:
    client = Client.objects.create(name=name, slug=slug, is_active=slug != "inactive")
    for label in databases:
        _make_database(client, label)
    if mail is not None:
        EmailCredential.objects.create(
            client=client,
            email_user=MAILBOX.format(client.pk),
            email_password=MAIL_PASSWORD.format(client.pk),
            sender_whitelist="suppliers@mail.example, billing@mail.example"
            if client.pk % 2
            else None,
            **mail,
        )
    if aws:
        AwsCredential.objects.create(
            client=client,
            access_key_id=(key := make_access_key_id(client.pk)),
            secret_access_key=make_secret_access_key(key),
            region="eu-west-1",
        )


def _make_database(client: Client, label: str | None) -> None:
    place = (f"{label or 'db'}.{client.pk}.database.example", 49_000 + client.pk)
    name, user = "railway", "postgres"
    if client.slug in SERVED_SLUGS:
        place = DATABASE_HOST, DATABASE_PORT
        name = user = f"{client.slug}_{label}" if label else client.slug
    row = DatabaseCredential.objects.create(
        client=client,
        db_host=place[0],
        db_port=place[1],
        db_name=name,
        db_user=user,
        # The blanks at the ends, the quotes and the backslash must all arrive.
        db_password=f" demo \"password\" \\ of '{client.slug}' "
        + "x" * (MAX_BYTES if client.slug == "too_large" else 0),
        label=label,
        is_primary=label is None,
    )
    if client.slug in SERVED_SLUGS:
        _make_role_and_database(row)


def _make_role_and_database(row: DatabaseCredential) -> None:
    """Make the login's role, which has to say its password, and its database in the embedded PostgreSQL."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        group, role, name = map(sql.Identifier, (ASKED_FOR_PASSWORD, row.db_user, row.db_name))
        for each in (group, role):
            # One may be left from an earlier row of NOVA's.
            with suppress(psycopg.errors.DuplicateObject):
                server.execute(sql.SQL("CREATE ROLE {}").format(each))
        verifier = server.pgconn.encrypt_password(
            row.db_password.encode(), row.db_user.encode(), b"scram-sha-256"
        )
        server.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, verifier.decode()))
        server.execute(sql.SQL("GRANT {} TO {}").format(group, role))
        with suppress(psycopg.errors.DuplicateDatabase):
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def is_mailbox_login(user: str, password: str) -> bool:
    """Say whether the mail server lets these in: the password that a seeded client has for its mailbox."""
    found = re.fullmatch(re.escape(MAILBOX).replace(r"\{\}", "([0-9]+)"), user)
    right = MAIL_PASSWORD.format(found[1]) if found else ""
    return bool(found) and hmac.compare_digest(right.encode(), password.encode())


def prepare_aws(sm: SecretsManager, slug: str) -> None:
    """Put into AWS what the demo's client of this slug finds there; nothing for most."""
    name = f"{settings.NOVA_SECRET_PREFIX}/{slug}"
    if slug == "foreign_secret":
        sm.sm.create_secret(Name=name, SecretString='{"owner": "another team"}')
    elif slug == "scheduled_for_deletion":
        # As this site would have made it, before the client went back to PostgreSQL.
        text = '{"client_name": "left behind"}'
        token = load_version_keys().new_id(name, replaced="", text=text)
        record_planned_versions([token])
        made = sm.create_secret(name, text, token=token, slug=slug)
        client_id = Client.objects.values_list("pk", flat=True).get(slug=slug)
        Secret.objects.record(
            [Secret(name=name, arn=made.arn, version_id=token, client_id=client_id)]
        )
        sm.schedule_deletion(name, days=7)


def change_secrets_in_aws() -> None:
    """Change passwords in AWS, as somebody could in its console: of one client PostgreSQL is right then, of one AWS.

    Of the first one differs by its blanks alone; of the other the database has got the new one, too.
    """
    sm = ClientSecretsManager(
        settings.AWS_REGION,
        prefix=settings.NOVA_SECRET_PREFIX,
        layout=Layout(settings.NOVA_SECRET_LAYOUT),
        endpoint_url=settings.AWS_ENDPOINT_URL or None,
    )
    document = sm.get_client_credentials("changed_in_aws")
    document["database"]["password"] = document["database"]["password"].strip()
    document["email"]["app_password"] = "demo-changed-in-aws"  # noqa: S105  # nobody's
    sm.update_client_credentials("changed_in_aws", document)
    document = sm.get_client_credentials("levante_tiles")
    document["database"]["password"] = "demo-rotated-by-somebody"  # noqa: S105  # nobody's
    sm.update_client_credentials("levante_tiles", document)
    row = DatabaseCredential.objects.get(client__slug="levante_tiles")
    row.db_password = document["database"]["password"]
    _make_role_and_database(row)  # the row itself is not saved
