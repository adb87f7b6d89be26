"""The drop-in is NOVA's helper name by name: signatures, classes, answers and errors.

NOVA's file holds one line: `from nova_credentials.reader import *`.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import fields

import psycopg2
import pytest

from nova_credentials import reader as drop_in
from nova_credentials.phases import Phase
from tests.factories import insert, make_client, make_database, make_email, make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run
from tests.nova_credentials.reader.questions import execute

# The table of NOVA's helper: name -> its parameters; those with a default are optional.
FUNCTIONS = {
    "get_client_id": {"client_slug": ...},
    "get_database_credentials": {"client_slug": ..., "label": None},
    "get_email_credentials": {"client_slug": ..., "label": None},
    "get_all_credentials": {"client_slug": ...},
    "get_database_connection": {"client_slug": ..., "label": None},
    "get_client_db_connection": {"client_slug": ...},
    "get_database_schemas": {"client_slug": ...},
}
CLASSES = {
    "DatabaseCredentials": (
        "client_id client_slug db_host db_port db_name db_user db_password label is_primary"
    ),
    "EmailCredentials": (
        "client_id client_slug email_provider imap_host imap_port smtp_host smtp_port email_user email_password"
        " sender_whitelist label is_primary"
    ),
}
MORE = {"AwsCredentials", "get_aws_credentials", "get_available_credentials"}

SCHEMAS = {
    "invoices": {"columns": [{"name": "id", "type": "integer"}]},
    "suppliers": ["a list", 1, None],
}


@pytest.fixture
def star() -> dict[str, object]:
    """What NOVA's module holds after its one line."""
    module: dict[str, object] = {}
    exec("from nova_credentials.reader import *", module)
    del module["__builtins__"]
    return module


@pytest.fixture
def helper(monkeypatch, make_reader, star) -> dict[str, Callable[..., object]]:
    """The same, reading this test's database."""
    reader = make_reader(timeout=30)
    monkeypatch.setattr(drop_in, "_shared_reader", lambda: reader)
    return star


@pytest.fixture
def idom(login, schemas_table) -> int:
    """A client with a login of a real server, and with schemas of its database."""
    row, _ = login
    ((pk,),) = execute("SELECT id FROM public.clients WHERE slug = 'idom'")
    make_email(pk)
    for name in reversed(SCHEMAS):
        insert(
            "client_database_schemas",
            client_id=pk,
            database_credential_id=row,
            table_name=name,
            schema_definition=json.dumps(SCHEMAS[name]),
        )
    return pk


# Names and signatures


def test_one_line_gives_every_name_of_the_helper_and_three_more(star):
    assert star.keys() == FUNCTIONS.keys() | CLASSES.keys() | MORE == set(drop_in.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_what_the_helper_s_takes(star, name):
    """What it takes beside that has a default and is given by name."""
    parameters = inspect.signature(star[name]).parameters.values()
    by_position = {
        p.name: ... if p.default is p.empty else p.default
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    }
    others = [p for p in parameters if p.name not in by_position]
    assert list(by_position.items()) == list(FUNCTIONS[name].items())
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_helper_s_attributes_in_their_order(star, name):
    assert [field.name for field in fields(star[name])] == CLASSES[name].split()


@pytest.mark.parametrize("name", CLASSES)
def test_rows_are_constructed_by_position_or_name_and_compare(star, name):
    names = CLASSES[name].split()
    row = star[name](*range(len(names)))
    assert row == star[name](**{attribute: number for number, attribute in enumerate(names)})
    assert row != star[name](*range(1, len(names) + 1))
    assert [getattr(row, attribute) for attribute in names] == list(range(len(names)))


# Answers, in every phase


def test_every_function_answers_in_every_phase(helper, idom):
    for phase in Phase:
        bring(idom, phase)

        assert (
            helper["get_client_id"]("idom") == helper["get_client_id"](client_slug="idom") == idom
        )
        database = helper["get_database_credentials"](client_slug="idom", label=None)
        email = helper["get_email_credentials"]("idom", None)
        assert (database.db_password, email.email_password) == (
            "example-a",
            "example-app-password-2",
        )
        assert helper["get_all_credentials"]("idom") == {"database": database, "email": email}
        assert isinstance(database, helper["DatabaseCredentials"])
        assert isinstance(email, helper["EmailCredentials"])
        assert helper["get_database_schemas"]("idom") == SCHEMAS
        for connect in ("get_database_connection", "get_client_db_connection"):
            there = helper[connect](client_slug="idom")
            assert isinstance(there, psycopg2.extensions.connection)
            there.close()


def test_schemas_are_in_the_order_of_their_names(helper, idom):
    assert list(helper["get_database_schemas"]("idom")) == list(SCHEMAS)


@pytest.mark.usefixtures("schemas_table")
def test_a_client_without_schemas_has_an_empty_dict(helper):
    make_client("empty")
    assert helper["get_database_schemas"]("empty") == {}


def test_where_nova_has_no_table_of_schemas_there_are_none(helper, stores):
    make_client("idom")
    assert helper["get_database_schemas"]("idom") == {}
    with pytest.raises(ValueError, match="'nobody'"):
        helper["get_database_schemas"]("nobody")


# ValueErrors


@pytest.mark.usefixtures("schemas_table")
def test_an_unknown_or_inactive_client_is_a_value_error_that_names_it(helper):
    make_full_client("inactive", is_active=False)
    make_full_client("unknown", is_active=None)

    for name in FUNCTIONS:
        for slug in ("nobody", "inactive", "unknown", "no\0body"):
            with pytest.raises(ValueError, match=f"'{slug}'"):
                helper[name](slug)


@pytest.mark.parametrize("lacking", ["database", "email"])
def test_all_credentials_want_both(helper, lacking):
    for phase in Phase:
        pk = make_client(phase)
        make_email(pk) if lacking == "database" else make_database(pk)
        bring(pk, phase)

        for refresh in (False, True):
            with pytest.raises(ValueError, match=f"^Client '{phase}' has no {lacking} "):
                helper["get_all_credentials"](phase, refresh=refresh)
        found = helper["get_available_credentials"](phase)
        assert found.pop(lacking) is None
        assert all(found.values())


def test_a_database_row_that_came_meanwhile_is_found_past_the_cache(
    monkeypatch, make_reader, helper
):
    caching = make_reader(cache_seconds=1000)
    monkeypatch.setattr(drop_in, "_shared_reader", lambda: caching)
    pk = make_client("idom")
    make_email(pk)
    assert helper["get_available_credentials"]("idom")["database"] is None
    make_database(pk)

    assert helper["get_all_credentials"]("idom")["database"].db_user == "app"


def test_without_a_database_url_every_function_is_a_value_error():
    printed = run(
        f"""
for name in 2 * {list(FUNCTIONS)}:
    try:
        getattr(reader, name)("idom")
    except ValueError as error:
        print(error)
""",
        "",
    )
    told = "DATABASE_URL is not set to a PostgreSQL URI (postgresql://…)."
    assert printed.splitlines() == [told] * 2 * len(FUNCTIONS)


# What it costs


def test_one_line_imports_the_rows_classes_and_no_driver_and_no_boto3():
    """Every process of NOVA imports it, also one that never reads a client."""
    printed = run(
        """
exec("from nova_credentials.reader import *")
print(*sorted(name for name in sys.modules if name.startswith("nova_credentials")))
import nova_credentials.aws
print(sorted({"boto3", "botocore", "psycopg", "psycopg2", "asyncio"} & sys.modules.keys()))
""",
        "",
    )
    own = "nova_credentials nova_credentials.credential_types nova_credentials.reader"
    assert printed.splitlines() == [own, "[]"]
