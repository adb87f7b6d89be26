"""The roles and rights that documents and the trial list are those that adopt makes."""

import re

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.checkout import ROOT
from tests.nova_admin.adoption.nova import Nova

PAGE = (ROOT / "docs/start.md").read_text()
(STATEMENTS,) = re.findall(
    r"^## A role for NOVA$.*?^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
SCRIPT = (ROOT / "deploy/trial_database.sh").read_text()
# What the trial's script has of the roles, without NOVA's tables and what makes them.
OF_THE_SCRIPT = ";\n".join(
    part
    for part in re.search(r"<<'SQL'\n(.*)^SQL$", SCRIPT, re.MULTILINE | re.DOTALL)[1].split(";\n")
    if "CREATE TABLE" not in part and "EXTENSION" not in part
)


def fit_to(nova: Nova, statements: str) -> list[str]:
    database = conninfo_to_dict(nova.uri)["dbname"]
    names = {"nova_site": nova.site, "nova": f"other_{nova.name}", "railway": database}
    fitted = statements.replace(":'password'", "'…'").replace(':"database"', database)
    for name, own in names.items():
        fitted = re.sub(rf"\b{name}\b", own, fitted)
    return [statement.strip() for statement in fitted.split(";") if statement.strip()]


@pytest.mark.parametrize("statements", [STATEMENTS, OF_THE_SCRIPT])
def test_after_these_statements_adopt_has_nothing_to_do(nova, statements):
    assert "GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER" in statements
    nova.run(*fit_to(nova, statements))
    parts = conninfo_to_dict(nova.uri)
    nova.env_file.write_text(
        f"DATABASE_URL=postgresql://{nova.site}:x@/{parts['dbname']}?host={parts['host']}&port={parts['port']}\n"
    )

    done = nova.adopt()

    assert (done.returncode, done.stderr) == (0, "")
    assert "    nothing, all is there\n" in done.stdout
