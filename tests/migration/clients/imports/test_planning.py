"""What is said of each line of a file, before anything is stored."""

import pytest

from credentials.models import Client, DatabaseCredential
from migration.clients import imports
from migration.clients.imports import LineOutcome, preview_import, store_import
from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core.clients import all_clients
from migration.models import ClientGroup
from nova_credentials.phases import Phase
from tests.factories import (
    make_aws,
    make_aws_secret,
    make_client,
    make_database,
    make_email,
    make_full_client,
)
from tests.migration.clients.imports.files import AWS, DATABASE, EMAIL, make_csv, make_row
from tests.migration.moves.clients import advance, enter_phase

pytestmark = pytest.mark.usefixtures("stores")

STORED = {
    "db_host": "db.example.test",
    "db_password": "example-password-1",
    "email_user": "invoices@example.test",
    "email_password": "example-app-password-2",
    "access_key_id": "EXAMPLEKEYID00000000",
    "secret_access_key": "example/secret/access/key/that/is/no/key",
}


def preview(*rows, **options):
    return preview_import(data=make_csv(*rows, **options)).lines


def outcomes(*rows):
    return [line.outcome.value for line in preview(*rows)]


def problems(*rows) -> list[list[str]]:
    return [[problem.key for problem in line.problems] for line in preview(*rows)]


def test_new_changed_unchanged_and_wrong_lines():
    make_full_client("idom")
    make_full_client("acme")

    lines = preview(
        make_row("new"),
        {"slug": "idom", **STORED},
        {"slug": "acme", "name": "Acme & Co", "db_password": "another"},
        {"slug": "lone"},
    )

    assert [line.outcome for line in lines] == [
        LineOutcome.NEW,
        LineOutcome.UNCHANGED,
        LineOutcome.CHANGED,
        LineOutcome.WRONG,
    ]
    assert lines[2].columns == ["name", "db_password"]
    assert lines[0].columns == ["name", *DATABASE]


def test_an_empty_cell_changes_nothing():
    make_full_client("idom", description="as it was")

    blank = dict.fromkeys((*DATABASE, *EMAIL, *AWS, "name", "description", "is_active"), "")

    assert outcomes({"slug": "idom", **blank}) == ["unchanged"]


# Cells of a new client, and what is wrong with them.
WRONG = [
    ({"db_port": "70000"}, "import_cell_refused"),
    ({"db_port": "five"}, "import_cell_refused"),
    ({"db_host": "x" * 256}, "import_cell_refused"),
    ({"db_password": "   "}, "import_cell_refused"),
    ({"db_password": "aws-secretsmanager:nova/clients/x"}, "import_cell_refused"),
    ({"is_active": "perhaps"}, "import_cell_refused"),
    ({"email_provider": "hotmail", **EMAIL}, "import_cell_refused"),
    ({"sender_whitelist": "nobody", **EMAIL}, "import_cell_refused"),
    ({"groups": "x" * 101}, "import_cell_refused"),
    ({"slug": "a b"}, "import_cell_refused"),
    ({"slug": "a/b"}, "import_cell_refused"),
    ({"slug": "x" * 101}, "import_cell_refused"),
    ({"slug": " "}, "import_slug_missing"),
    ({"name": " "}, "import_name_missing"),
    ({"db_host": ""}, "import_cells_missing"),
    ({"db_password": ""}, "import_cells_missing"),
    ({"email_provider": "custom", **EMAIL}, "import_cells_missing"),
    ({"email_user": "a@example.test"}, "import_cells_missing"),
    (dict.fromkeys(DATABASE, ""), "import_login_missing"),
    ({"label": "reports"}, "import_no_primary"),
    ({"db_password": "x" * 70_000}, "secret_too_large"),
]


def test_what_is_wrong_with_a_new_client():
    rows = [make_row(f"acme-{n}") | cells for n, (cells, _key) in enumerate(WRONG)]

    assert problems(make_row("sound"), *rows) == [[], *([key] for _cells, key in WRONG)]


@pytest.mark.parametrize("secret", ["=" + "x" * 4_095, "'=1+1", "\t+1"])
def test_a_secret_that_looks_like_a_formula_is_taken(secret):
    (planned,) = preview_import(data=make_csv(make_row("acme", db_password=secret))).clients

    assert planned.logins[0].row.db_password == secret


def test_no_problem_quotes_a_cell_but_the_slug():
    hostile = "MARKER-ONE"
    cells = dict.fromkeys((*DATABASE, *EMAIL, *AWS, "is_active", "email_provider"), hostile)
    cells |= {"sender_whitelist": hostile, "imap_port": hostile}

    (line,) = preview({"slug": "acme", "name": hostile, "groups": hostile, **cells})

    assert len(line.problems) > 4
    assert hostile not in " ".join(map(str, line.problems))
    assert hostile not in repr(line)


# Changed cells, and whether the secret has to be given with them.
DESTINATIONS = [
    ({"db_host": "elsewhere.example.test"}, True),
    ({"db_port": "6543"}, True),
    ({"db_user": "other"}, True),
    ({"db_name": "other"}, False),
    ({"email_user": "other@example.test"}, True),
    ({"smtp_host": "mail.example.test"}, True),
    ({"email_provider": "outlook"}, True),
    ({"access_key_id": "EXAMPLEKEYID0OTHER00"}, True),
    ({"region": "us-west-2"}, True),
    ({"db_host": "elsewhere.example.test", "db_password": "example-password-1"}, False),
    ({"region": "us-west-2", "secret_access_key": make_aws_secret("another")}, False),
]


def test_a_changed_destination_asks_for_the_secret():
    rows = []
    for n, (cells, _needed) in enumerate(DESTINATIONS):
        make_full_client(f"idom-{n}")
        rows.append({"slug": f"idom-{n}", **cells})

    expected = [["import_secret_needed"] if needed else [] for _cells, needed in DESTINATIONS]
    assert problems(*rows) == expected


def test_a_further_line_with_a_label_is_another_login():
    first = [
        make_row("acme"),
        {"slug": "acme", "label": "reports", **DATABASE, "db_name": "reports"},
    ]
    assert outcomes(*first) == ["new", "new"]

    lines = preview(
        *first,
        {"slug": "acme", "label": "reports", **DATABASE},
        {"slug": "acme", "label": "archive", **DATABASE, "name": "Another"},
        {"slug": "acme", "db_name": "twice"},
    )

    assert {line.outcome for line in lines} == {LineOutcome.WRONG}
    assert [p.key for line in lines for p in line.problems] == [
        "import_client_refused",
        "import_client_refused",
        "import_label_twice",
        "import_says_otherwise",
        "import_slug_twice",
    ]


def test_a_login_is_found_by_its_label_and_the_primary_one_without():
    pk = make_client("idom")
    make_database(pk, label="reports", is_primary=False)
    make_database(pk, label="main", db_name="main")

    plan = preview_import(
        data=make_csv(
            {"slug": "idom", "db_password": "new of main"},
            {"slug": "idom", "label": "reports", "db_password": "new of reports"},
        )
    )

    rows = {login.row.label: login.row.db_password for login in plan.clients[0].logins}
    assert rows == {"main": "new of main", "reports": "new of reports"}
    twice = {"slug": "idom", "label": "main", "db_password": "twice"}
    assert problems({"slug": "idom", "db_password": "new"}, twice)[1] == ["import_label_twice"]


def test_what_is_not_clear_in_novas_table_is_not_guessed():
    two, none, same = make_client("two"), make_client("none"), make_client("same")
    make_database(two), make_database(two)
    make_email(none, is_primary=None)
    for _ in range(2):
        make_aws(same, label="x", is_primary=False)

    assert problems(
        {"slug": "two", "db_password": "x"},
        {"slug": "none", "email_password": "x"},
        {"slug": "same", "label": "x", "secret_access_key": make_aws_secret("x")},
    ) == [["import_primary_unclear"], ["import_primary_unclear"], ["import_label_unclear"]]


def test_a_value_that_no_form_would_take_is_unchanged_as_it_stands():
    pk = make_client("idom", name=" Idom ")
    make_database(pk, db_port=0, db_password_encrypted="  ")

    assert outcomes({"slug": "idom", "db_port": "0", "db_password": "  "}) == ["unchanged"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", " Idom "),
        ("description", "two\r\nlines"),
        ("db_host", "db.example.test "),
        ("email_provider", "Gmail"),
        ("sender_whitelist", "a@example.test, b@example.test"),
    ],
)
def test_a_value_that_the_form_would_tidy_is_unchanged_as_it_stands(column, value):
    given = {"clients": {}, "db": {}, "email": {}}
    table = {"db_host": "db", "email_provider": "email", "sender_whitelist": "email"}
    given[table.get(column, "clients")][column] = value
    pk = make_client("idom", **given["clients"])
    make_database(pk, **given["db"]), make_email(pk, **given["email"])

    assert outcomes({"slug": "idom", column: value}) == ["unchanged"]


def test_none_is_no_value_that_a_row_lacks():
    make_email(make_client("idom"), imap_port=None)

    assert problems({"slug": "idom", "imap_port": "None"}) == [["import_cell_refused"]]


def test_a_client_that_left_without_a_login_is_given_none_and_is_not_woken():
    pk = make_client("gone", is_active=False)
    offboard_client(client_id=pk, reason="the contract ended")

    woken, login = {"slug": "gone", "is_active": "yes"}, {"slug": "gone", **DATABASE}

    assert problems(woken) + problems(login) == [["is_offboarded"], ["is_offboarded"]]
    assert outcomes({"slug": "gone", "groups": "former"}) == ["changed"]
    assert store_import(data=make_csv(login)).refused
    assert not Client.objects.get(pk=pk).is_active
    assert not DatabaseCredential.objects.exists()
    bring_back_as_inactive(client_id=pk, reason="it goes on")
    assert outcomes(login) == ["changed"]


def test_a_slug_with_blanks_is_found_as_it_stands():
    make_full_client(" idom ")

    assert outcomes({"slug": " idom ", "db_password": "x"}) == ["changed"]


def test_a_slug_that_differs_in_capitals_only_is_no_new_client():
    make_full_client("Idom")

    assert problems(make_row("IDOM"), make_row("acme"), make_row("Acme"), make_row("b")) == [
        ["import_slug_like_other"],
        ["import_slug_like_line"],
        ["import_slug_like_line"],
        [],
    ]


@pytest.mark.parametrize("phase", Phase)
def test_where_aws_decides_only_groups_are_set(stores, phase):
    pk = make_full_client("idom")
    (advance if phase == Phase.PURGED else enter_phase)(pk, phase)
    decides = phase.aws_is_authority

    found = preview(
        {"slug": "idom", "groups": "wave 1"},
    ) + preview({"slug": "idom", "name": "Other"})

    assert [line.outcome.value for line in found] == ["changed", "wrong" if decides else "changed"]


def test_groups_that_the_client_is_in_already_change_nothing():
    make_full_client("idom")
    ClientGroup.objects.get_or_add("Wave 1").put_clients(all_clients())

    (same, more) = preview({"slug": "idom", "groups": "wave  1"}) + preview(
        {"slug": "idom", "groups": "wave 1; Wave 2;wave 2;"}
    )

    assert same.columns == []
    assert more.columns == ["groups"]


def test_a_mailbox_has_the_hosts_of_its_provider():
    plan = preview_import(
        data=make_csv(
            make_row("a", **EMAIL),
            make_row("b", **EMAIL, email_provider="Outlook"),
            make_row("c", **EMAIL, email_provider="outlook", smtp_host="smtp.example.test"),
        )
    )

    rows = [client.logins[1].row for client in plan.clients]
    assert [(r.email_provider, r.imap_host, r.smtp_host) for r in rows] == [
        ("gmail", "imap.gmail.com", "smtp.gmail.com"),
        ("outlook", "outlook.office365.com", "smtp.office365.com"),
        ("outlook", "outlook.office365.com", "smtp.example.test"),
    ]


@pytest.mark.parametrize(
    ("word", "active"), [("YES", True), ("verdadero", True), ("No", False), ("0", False)]
)
def test_yes_and_no_are_read_as_they_are_written(word, active):
    (planned,) = preview_import(data=make_csv(make_row("acme", is_active=word))).clients

    assert planned.client.is_active is active


def test_the_number_of_queries_doesn_t_grow_with_the_lines(django_assert_num_queries):
    for n in range(30):
        make_full_client(f"client-{n}")
    rows = [{"slug": f"client-{n}", "db_password": "another"} for n in range(30)]
    one, many = make_csv(rows[0]), make_csv(*rows, make_row("new"))

    with django_assert_num_queries(10) as of_one:
        preview_import(data=one)
    with django_assert_num_queries(len(of_one)):
        preview_import(data=many)


def test_the_logins_and_groups_of_one_client_have_a_bound(monkeypatch):
    monkeypatch.setattr(imports, "MOST_LOGINS", 3)
    monkeypatch.setattr(imports, "MOST_GROUPS", 2)
    labels = ("", "one", "two", "three")
    rows = [make_row("idom", **DATABASE, label=label) for label in labels]
    assert [keys[-1:] for keys in problems(*rows)] == [
        *([["import_client_refused"]] * 3),
        ["import_too_many_logins"],
    ]
    grouped = make_row("acme", **DATABASE, groups="a;b;c")
    assert problems(grouped) == [["import_too_many_groups"]]
