"""NOVA's role sets traps before the site comes: a superuser's adopt, and uninstall, step into none."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_admin.env_file import read_env_file
from tests.attacks.hostile import Hostile
from tests.attacks.hostile_site import fill_with_traps, planted_database
from tests.checkout import manage
from tests.nova_admin.adoption.nova import SURROUNDINGS


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with planted_database("planted", fill_with_traps) as hostile:
        yield hostile


def test_no_trap_runs_as_a_superuser_who_adopts_or_uninstalls(hostile, tmp_path):
    # What adopt makes of such a role it would make of a new one; that one would be left over after the test.
    hostile.run(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {hostile.site}")
    parts, file = conninfo_to_dict(hostile.uri), tmp_path / "site.env"
    site = f"postgresql://{hostile.site}:x@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    file.write_text(f"DATABASE_URL={site}\n")
    surroundings = SURROUNDINGS | {"NOVA_ENV_FILE": str(file)}
    arguments = ("--yes", "--host", "nova.example.com", "--site-role", hostile.site)

    done = manage("adopt", *arguments, **surroundings | {"DATABASE_URL": hostile.uri})

    assert (done.returncode, done.stderr) == (0, "")
    assert hostile.sprung() == []
    gone = manage(
        "uninstall", "--yes",
        **surroundings | read_env_file(file) | {"NOVA_DATABASE_URL": hostile.uri},
    )  # fmt: skip
    assert (gone.returncode, gone.stderr) == (0, "")
    assert hostile.sprung() == []
