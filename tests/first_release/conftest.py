"""A database of the first release, and the same after `migrate`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import psycopg
import pytest

from tests import nova_database
from tests.first_release.database import NOVA_TABLES, First
from tests.first_release.load import load_database, load_secrets, store_arns
from tests.templates import RUN, claim_copy, hand_over, make_once

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def first() -> Iterator[First]:
    """Loaded by a superuser, who owns all of it; the site's role may do what docs/nova.md and `migrate` ask for."""
    with site_role() as site, nova_database.database() as uri:
        yield load_first(uri, site)


@pytest.fixture
def migrated_first() -> Iterator[First]:
    """A copy of the same after `migrate`, which the site's role ran as the owner of the first release's tables."""
    before = f"site_{os.environ[RUN]}_carried"

    def fill(uri: str) -> None:
        make_role(before)
        first = load_first(uri, before)
        first.own()
        assert first.migrate().returncode == 0

    template = make_once("carried", fill)
    with site_role() as site, nova_database.database(template) as uri:
        first = First(uri, site)
        hand_over(uri, before, site)
        grant_to_site(first)
        yield first


@contextmanager
def site_role() -> Iterator[str]:
    site = f"site_{uuid4().hex[:12]}"
    make_role(site)
    try:
        yield site
    finally:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
            server.execute(f"DROP ROLE {site}")


def make_role(name: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE ROLE {name} LOGIN")


def load_first(uri: str, site: str) -> First:
    load_database(uri)
    first = First(uri, site)
    first.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {site}")
    grant_to_site(first)
    return first


def grant_to_site(first: First) -> None:
    first.run(
        *(
            f"GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER ON public.{table} TO {first.site}"
            for table in NOVA_TABLES
        ),
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {first.site}",
    )


@pytest.fixture
def carried(migrated_first, aws) -> First:
    """Migrated, with AWS as the first release left it."""
    keys = {"aws_access_key_id": "embedded", "aws_secret_access_key": "embedded"}
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url=aws.endpoint, **keys
    )
    store_arns(migrated_first.uri, load_secrets(client), schema="nova_admin")
    claim_copy(migrated_first.uri)  # `migrate` found these secrets: it knows of no other version
    migrated_first.aws = aws.endpoint
    return migrated_first
