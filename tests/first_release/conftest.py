"""A database of the first release, and the same after `migrate`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests import nova_database
from tests.first_release.load import load_database

if TYPE_CHECKING:
    from collections.abc import Iterator
from tests.first_release.database import NOVA_TABLES, First


@pytest.fixture
def first() -> Iterator[First]:
    """Loaded by a superuser, who owns all of it; the site's role may do what docs/reader.md and `migrate` ask for."""
    site = f"site_{uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE ROLE {site} LOGIN")
        try:
            with nova_database.database() as uri:
                load_database(uri)
                first = First(uri, site)
                first.run(
                    f"CREATE SCHEMA nova_admin AUTHORIZATION {site}",
                    *(
                        f"GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER ON public.{table} TO {site}"
                        for table in NOVA_TABLES
                    ),
                    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {site}",
                )
                yield first
        finally:
            server.execute(f"DROP ROLE {site}")
