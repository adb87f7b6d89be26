"""Readers with the role and the rights that docs/nova.md gives NOVA."""

import os
import re
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nova_admin.embedded import postgres
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.factories import make_client, make_database
from tests.nova_credentials.reader.questions import GRANTS, execute
from tests.settings import SCRATCH


@pytest.fixture
def role(stores):
    """A role of NOVA's with the documented rights and no other."""
    name = f"nova_{uuid4().hex}"
    execute(f"CREATE ROLE {name} LOGIN")
    for grant in GRANTS:
        execute(grant.replace(" TO nova;", f" TO {name}"))
    yield name
    execute(f"DROP OWNED BY {name}")
    execute(f"DROP ROLE {name}")


@pytest.fixture
def schemas_table(role) -> Iterator[None]:
    """NOVA's own table of schemas, which `migrate` doesn't make and this role may read."""
    in_public = re.sub(r"(TABLE|REFERENCES) ", r"\1 public.", nova_database.SCHEMAS)
    execute(in_public)
    execute(f"GRANT SELECT ON public.client_database_schemas TO {role}")
    yield
    execute("DROP TABLE public.client_database_schemas")


@pytest.fixture
def database_url(role) -> str:
    name = connection.settings_dict["NAME"]
    return make_conninfo(os.environ["DATABASE_URL"], dbname=name, user=role)


@pytest.fixture
def make_reader(database_url):
    made = []

    def make(**options):
        made.append(Reader(database_url, **{"cache_seconds": 0} | options))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture
def reader(make_reader) -> Reader:
    """One that caches nothing, with a time limit that nothing here reaches by chance."""
    return make_reader(timeout=30)


@pytest.fixture(scope="session")
def login_server() -> str:
    """A server that asks everybody but its owner for a password."""
    folder = SCRATCH / "login"  # not in /tmp: another test run shuts its folder there
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    return postgres.start_server(folder, settings={"fsync": "off", "hba_file": str(rules)})


@pytest.fixture
def login(login_server, stores):
    """The row of a client's login on that server, and a way to change the password there."""
    parts, user = conninfo_to_dict(login_server), f"client_{uuid4().hex}"
    row = make_database(
        make_client("idom"),
        db_host=parts["host"],
        db_port=parts["port"],
        db_name="postgres",
        db_user=user,
        db_password_encrypted="example-a",
    )
    with psycopg.connect(login_server, autocommit=True) as server:
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'example-a'")
        server.execute(f"CREATE SCHEMA AUTHORIZATION {user}")  # first on this role's search_path
        yield row, lambda password: server.execute(f"ALTER ROLE {user} PASSWORD '{password}'")
        server.execute(f"DROP OWNED BY {user} CASCADE")
        server.execute(f"DROP ROLE {user}")


@pytest.fixture
def sm(aws) -> ClientSecretsManager:
    return ClientSecretsManager()
