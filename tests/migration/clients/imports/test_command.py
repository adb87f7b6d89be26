"""`import_clients`: what it prints, its exit codes, and that a dry run stores nothing."""

import csv
import io
import json

import pytest
from django.core.management import CommandError, call_command

from credentials.import_columns import IMPORT_COLUMNS
from credentials.models import Client
from migration.clients.imports import MOST_BYTES
from migration.models import AuditEvent
from migration.people.roles import IMPORT_PERMISSIONS
from tests.factories import make_full_client, make_user
from tests.migration.clients.imports.files import make_csv, make_row

pytestmark = pytest.mark.usefixtures("stores")


def run(*arguments: str) -> tuple[str, str, int]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("import_clients", *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        return out.getvalue(), err.getvalue(), int(ended.code or 0)
    except CommandError as error:
        return out.getvalue(), err.getvalue() + str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0


@pytest.fixture
def write(tmp_path):
    def write(data: bytes) -> str:
        path = tmp_path / "clients.csv"
        path.write_bytes(data)
        return str(path)

    return write


def test_the_template_names_all_columns():
    out, _err, code = run("--template")

    assert (out.strip().split(","), code) == ([*IMPORT_COLUMNS], 0)
    assert json.loads(run("--template", "--format", "json")[0]) == [*IMPORT_COLUMNS]


def test_a_dry_run_prints_each_line_and_stores_nothing(write):
    make_full_client("idom")
    path = write(make_csv(make_row("acme"), {"slug": "idom", "db_password": "example-new"}))

    out, _err, code = run(path, "--dry-run")

    assert code == 0
    assert "line 2  acme  new  name, db_host" in out
    assert "line 3  idom  changed  db_password" in out
    assert "0 wrong, 1 new, 1 changed, 0 unchanged" in out
    assert "example-new" not in out
    assert Client.objects.count() == 1


def test_what_is_right_is_stored(write):
    make_user("paco", *IMPORT_PERMISSIONS)

    out, _err, code = run(write(make_csv(make_row("acme"))), "--by", "paco")

    assert (out.strip(), code) == ("1 clients new, 0 clients changed, 0 clients unchanged", 0)
    assert AuditEvent.objects.get(code="import", slug="acme").who == "paco"


@pytest.mark.parametrize("all_or_nothing", [True, False])
def test_a_wrong_line_is_printed_and_keeps_the_others_out_if_that_is_asked_for(
    write, all_or_nothing
):
    path = write(make_csv(make_row("acme"), make_row("odd", db_port="x")))

    out, err, code = run(path, *(["--all-or-nothing"] if all_or_nothing else []))

    assert code == 1
    assert "line 3  odd  wrong  db_port: Enter a whole number." in out
    assert ("Nothing was imported" in err) == all_or_nothing
    stored = [] if all_or_nothing else ["acme"]
    assert list(Client.objects.values_list("slug", flat=True)) == stored


def test_the_refused_lines_are_printed_as_a_file_where_that_is_asked_for(write):
    rows = [make_row("acme"), make_row("odd", db_port="x", db_password="example-odd")]
    path = write(make_csv(*rows))

    out, _err, code = run(path, "--refused")

    (row,) = csv.DictReader(io.StringIO(out, newline=""))
    assert (code, row["slug"], row["db_password"]) == (1, "odd", "example-odd")
    assert row["reason"] == "Line 3: db_port: Enter a whole number."
    assert Client.objects.get().slug == "acme"
    assert "example-odd" not in run(path)[0]
    assert run(path, "--refused", "--format", "json")[2] == 2


def test_a_secret_with_outer_blanks_is_stored_and_told(write):
    path = write(make_csv(make_row("acme", db_password=" example-1"), make_row("idom")))

    out, _err, code = run(path, "--dry-run", "--format", "json")
    text, _err, _code = run(path)

    lines = {line["slug"]: line["warnings"] for line in json.loads(out)["lines"]}
    assert [each["code"] for each in lines["acme"]] == ["secret_has_outer_blanks"]
    assert (lines["idom"], code) == ([], 0)
    assert ("line 2  acme" in text, "line 3" in text, "example-1" in text) == (True, False, False)


def test_as_json(write):
    path = write(make_csv(make_row("acme"), make_row("odd", db_port="x")))

    out, _err, code = run(path, "--dry-run", "--format", "json")

    found = json.loads(out)
    assert code == 1
    assert found["stored"] is False
    assert found["counts"] == {"wrong": 1, "new": 1, "changed": 0, "unchanged": 0}
    assert found["lines"][1]["problems"] == [
        {"code": "import_cell_refused", "message": "db_port: Enter a whole number."}
    ]
    stored = json.loads(run(write(make_csv(make_row("acme"))), "--format", "json")[0])
    assert stored["stored"] is True
    assert stored["clients"] == {"new": 1, "changed": 0, "unchanged": 0}


def test_windows_1252_is_said_on_standard_error(write):
    path = write(
        "slug,name,db_host,db_name,db_user,db_password\na,Camión,h,n,u,p\n".encode("cp1252")
    )

    _out, err, code = run(path)

    assert code == 0
    assert "Windows-1252" in err
    assert Client.objects.get().name == "Camión"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "The file is empty"),
        (b"x" * (MOST_BYTES + 5), "bytes"),
        (b"name\nAcme\n", "no column"),
    ],
)
def test_a_file_that_can_t_be_read_exits_with_1(write, data, text):
    _out, err, code = run(write(data))

    assert code == 1
    assert text in err


@pytest.mark.parametrize("arguments", [[], ["/no/such/file.csv"], ["/"]])
def test_without_a_file_it_exits_with_2(arguments):
    assert run(*arguments)[2] == 2


def test_standard_input_is_read_where_a_hyphen_is_named(monkeypatch):
    data = io.TextIOWrapper(io.BytesIO(make_csv(make_row("acme"))))
    monkeypatch.setattr("sys.stdin", data)

    assert run("-")[2] == 0
    assert Client.objects.get().slug == "acme"


def test_a_user_who_may_not_import_is_refused(write):
    make_user("paco", *IMPORT_PERMISSIONS[1:])

    _out, err, code = run(write(make_csv(make_row("acme"))), "--by", "paco")

    assert (err, code) == ("paco may not import clients", 2)
    assert not Client.objects.exists()
