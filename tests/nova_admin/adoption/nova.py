"""NOVA's own database with roles of its own, what the server tells of it, and both commands run on it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from nova_admin.env_file import read_env_file
from tests import nova_database
from tests.checkout import manage
from tests.migrated import make_nova_tables
from tests.migration.core.aws_writes.servers import BIN
from tests.test_settings import PRODUCTION

PASSWORD = "example-password-of-nova"
# What a site has in production, but its own settings; AWS is away, as nothing here may reach a real one.
SURROUNDINGS = {
    **PRODUCTION,
    **dict.fromkeys(("SECRET_KEY", "NOVA_FINGERPRINT_KEY", "NOVA_AUDIT_KEY", "ALLOWED_HOSTS"), ""),
    **dict.fromkeys(("NOVA_CLEAN_STREAK", "NOVA_DUAL_READ_HOURS", "NOVA_PURGE_AFTER_DAYS"), ""),
    **dict.fromkeys(
        ("NOVA_MIN_READS", "NOVA_AWS_WRITES_PER_SECOND", "NOVA_AWS_READS_PER_SECOND"), ""
    ),
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://127.0.0.1:1",
}
# Of each role and of whole databases, which no dump of one database has.
ROLES = """
SELECT r.rolname::text, r.rolsuper, r.rolcanlogin, r.rolcreaterole, ARRAY(
    SELECT p.rolname::text FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.roleid WHERE m.member = r.oid ORDER BY 1
), ARRAY(SELECT s.setconfig::text FROM pg_db_role_setting s WHERE s.setrole = r.oid ORDER BY 1)
FROM pg_roles r WHERE r.rolname LIKE %s ORDER BY 1
"""
RIGHTS = """
SELECT 'pg_control_system', acl::text FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
WHERE proname = 'pg_control_system'
UNION ALL SELECT 'database', acl::text FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
WHERE datname = current_database()
ORDER BY 1, 2
"""


@dataclass
class Nova:
    """One database of NOVA's; `uri` is a superuser's. Roles of one test end in `name`."""

    uri: str
    name: str
    env_file: Path

    @property
    def owner(self) -> str:
        return f"nova_{self.name}"

    @property
    def site(self) -> str:
        return f"site_{self.name}"

    @property
    def owner_uri(self) -> str:
        return make_conninfo(self.uri, user=self.owner, password=PASSWORD)

    def run(self, *statements: str, uri: str = "") -> None:
        with psycopg.connect(uri or self.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str, *values: object, uri: str = "") -> list[tuple]:
        with psycopg.connect(uri or self.uri) as connection:
            return connection.execute(query, values or None).fetchall()

    def adopt(self, *arguments: str, uri: str = "", **environment: str) -> CompletedProcess[str]:
        role = (
            ()
            if "--shared-role" in arguments or "--site-role" in arguments
            else ("--site-role", self.site)
        )
        surroundings = SURROUNDINGS | {
            "DATABASE_URL": uri or self.uri,
            "NOVA_ENV_FILE": str(self.env_file),
        }
        return manage("adopt", *role, *arguments, **surroundings | environment)

    def manage(self, *arguments: str, **environment: str) -> CompletedProcess[str]:
        """Another command, as the site runs."""
        settings = dict.fromkeys(SURROUNDINGS, "") | SURROUNDINGS | read_env_file(self.env_file)
        return manage(*arguments, **settings | environment)

    def describe(self) -> tuple[str, list[tuple], list[tuple]]:
        """Everything that the server's catalogues say of the database and of the test's roles."""
        dump = [str(BIN / "pg_dump"), "--schema-only", "--dbname", self.uri]
        told = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        # Newer ones have a word against injection that is another one each time.
        schema = "\n".join(line for line in told.splitlines() if "restrict " not in line)
        return schema, self.ask(ROLES, f"%{self.name}"), self.ask(RIGHTS)


@contextmanager
def made_nova(folder: Path, *, server: str = "") -> Iterator[Nova]:
    """NOVA's tables with rows, owned by a role that is nothing else; all of it goes afterwards."""
    name = uuid4().hex[:12]
    with (
        made_roles(name, server or os.environ["DATABASE_URL"]),
        nova_database.database(server=server) as uri,
    ):
        nova = Nova(uri, name, folder / "site.env")
        with psycopg.connect(uri, autocommit=True) as connection:
            make_nova_tables(connection)
        nova.run(
            f"CREATE ROLE {nova.owner} LOGIN PASSWORD '{PASSWORD}'",
            *(
                f"ALTER TABLE {table} OWNER TO {nova.owner}"
                for (table,) in nova.ask(
                    "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
                )
            ),
        )
        yield nova


@contextmanager
def made_roles(name: str, server: str) -> Iterator[None]:
    """Drops the test's roles after its database."""
    try:
        yield
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            found = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"%{name}"]
            )
            for (role,) in found.fetchall():
                connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
