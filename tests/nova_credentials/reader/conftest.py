"""Readers with the role and the rights that docs/reader.md gives NOVA."""

import os
from uuid import uuid4

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from nova_credentials.aws import ClientSecretsManager
from nova_credentials.reader.routing import Reader
from tests.nova_credentials.reader.questions import GRANTS, execute


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


@pytest.fixture
def sm(aws) -> ClientSecretsManager:
    return ClientSecretsManager()
