"""What a comparison tells, and that it never tells a value."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nova_credentials import comparison, credential_types
from nova_credentials import document as documents
from nova_credentials.comparison import (
    KNOWN_KEYS,
    Mismatch,
    MismatchKind,
    compare_documents,
    list_paths,
    unreadable_mismatch,
)
from tests.long_tests import SOAK

KEY = b"example-key-of-this-site"
# Of these each document takes long to draw.
FEW = 100 if SOAK else 40
MARK = "zyxw"  # no hexadecimal digits, so that no code contains it by chance


def client(**changes):
    database = {"host": "db.example.com", "port": 5432, "password": "example-password-1"}
    email = {"user": "bills@example.com", "app_password": "example-password-2"}
    other = {"host": "db2.example.com", "password": "example-password-3", "is_primary": False}
    document = {
        "client_name": "IDOM",
        "database": {**database, "label": None},
        "email": {**email, "sender_whitelist": "a@example.com"},
        "other_databases": [other],
        "other_emails": [],
        "other_aws": [],
    }
    return document | changes


def database(**changes):
    return client(database=client()["database"] | changes)


def summary(expected, actual):
    return [(row.path, row.kind, row.hint) for row in compare_documents(expected, actual, key=KEY)]


@pytest.mark.parametrize(
    ("expected", "actual", "kind", "hint"),
    [
        ("example-password-1", "example-password-2", "different", ""),
        ("example-password-1", " example-password-1\n", "different", "blank"),
        ("example", "EXAMPLE", "different", "case"),
        ("caf\u00e9", "cafe\u0301", "different", "unicode form"),
        ("\ufb01le", "file", "different", "unicode form"),
        ("a\nb", "a\r\nb", "different", "line ends"),
        ("", " ", "different", "empty"),
        ("", None, "different", "empty"),
        (None, "gmail", "different", "empty"),
        (None, False, "different", "empty"),
        (5432, "5432", "type", "type"),
        (True, "true", "type", "type"),
        (1, True, "type", "type"),
        (1, 1.0, "type", "type"),
        (0, False, "type", "type"),
        (5432, "five", "type", ""),
        (5432, 5433, "different", ""),
        ("text", {"host": "text"}, "type", ""),
        ("text", ["text"], "type", ""),
    ],
)
def test_a_leaf_tells_how_it_differs(expected, actual, kind, hint):
    row = ("database.password", kind, hint)
    assert summary(database(password=expected), database(password=actual)) == [row]
    assert summary(database(password=actual), database(password=expected)) == [row]


def test_null_is_not_absence():
    without = client()
    del without["database"]["label"]
    assert summary(client(), without) == [("database.label", "missing", "")]
    assert summary(without, client()) == [("database.label", "extra", "")]


@pytest.mark.parametrize("service", ["database", "email"])
def test_a_whole_credential_is_one_mismatch(service):
    without = client()
    del without[service]
    assert summary(client(), without) == [(service, "missing", "")]
    assert summary(without, client()) == [(service, "extra", "")]


def test_list_entries_are_compared_by_position_and_reported_one_by_one():
    one = client()["other_databases"][0]
    two, changed = {**one, "label": "two"}, {**one, "password": "example-password-4"}
    assert summary(client(), client(other_databases=[changed, two])) == [
        ("other_databases[0].password", "different", ""),
        ("other_databases[1]", "extra", ""),
    ]
    assert summary(client(other_databases=[one, two]), client(other_databases=[])) == [
        ("other_databases[0]", "missing", ""),
        ("other_databases[1]", "missing", ""),
    ]


def test_a_list_that_is_absent_is_reported_by_its_entries_or_as_itself():
    without = client()
    del without["other_databases"], without["other_aws"]
    assert summary(client(), without) == [
        ("other_databases[0]", "missing", ""),
        ("other_aws", "missing", ""),
    ]
    assert summary(client(), client(other_aws="none")) == [("other_aws", "type", "")]


def test_an_unknown_key_is_reported_by_a_code():
    marked = f"{MARK}-key"
    rows = compare_documents(client(), database(**{marked: f"{MARK}-value"}), key=KEY)
    assert [row.kind for row in rows] == ["extra"]
    assert re.fullmatch(r"database\.\?[0-9a-f]{8}", rows[0].path)
    rows = compare_documents(client(), client(**{marked: {marked: 1}}), key=KEY)
    assert re.fullmatch(r"\?[0-9a-f]{8}", rows[0].path)
    both = compare_documents(
        client(**{marked: {marked: 1}}), client(**{marked: {marked: 2}}), key=KEY
    )
    assert re.fullmatch(r"\?[0-9a-f]{8}\.\?[0-9a-f]{8}", both[0].path)
    assert MARK not in repr(rows) + repr(both)


def test_an_unknown_key_is_no_column_though_it_could_be_the_name_of_one():
    rows = compare_documents(client(zz=1), client(zz=2), key=KEY)
    assert [row.kind for row in rows] == ["different"]
    assert re.fullmatch(r"\?[0-9a-f]{8}", rows[0].path)


@pytest.mark.parametrize(
    ("expected", "actual", "is_named"),
    [
        ({"token": "a"}, {"token": "b"}, True),
        ({"token": "a"}, {}, True),
        ({}, {"token": "a"}, False),
        ({}, {"password": "a"}, False),  # a key of a login, and no column of NOVA's
        ({"to-ken": "a"}, {"to-ken": "b"}, False),
    ],
)
@pytest.mark.parametrize("place", ["extra", "database.extra"])
def test_a_mapped_column_is_named_where_postgresql_has_it_under_a_usual_name(
    place, expected, actual, is_named
):
    within = client if place == "extra" else database
    (row,) = compare_documents(within(extra=expected), within(extra=actual), key=KEY)
    (name,) = expected | actual
    assert row.path.startswith(f"{place}.")
    assert (row.path == f"{place}.{name}") == is_named
    assert is_named or re.fullmatch(r"\?[0-9a-f]{8}", row.path.removeprefix(f"{place}."))


def test_every_key_of_the_document_is_known_by_name():
    databases = [
        credential_types.DatabaseCredentials(1, "idom", "h", 1, "n", "u", "p", None, primary)
        for primary in (True, None)
    ]
    emails = [
        credential_types.EmailCredentials(
            1, "idom", None, None, None, None, None, "u", "p", None, None, primary
        )
        for primary in (True, None)
    ]
    aws = [
        credential_types.AwsCredentials(1, "idom", "k", "s", "r", None, primary)
        for primary in (True, None)
    ]
    document = documents.build_document(
        "IDOM", {"database": databases, "email": emails, "aws": aws}, extra={"label": None}
    )
    assert set(re.findall(r'"(\w+)":', documents.encode_document(document))) == set(KNOWN_KEYS)


def test_the_order_is_that_of_the_document_whatever_the_order_of_the_keys():
    expected = client(client_name="Idom", other_aws=[{"region": "r"}], zz=1, yy=2)
    expected["email"] = {**expected["email"], "user": "x"}
    actual = client()
    reverse = {key: expected[key] for key in reversed(expected)}
    rows = compare_documents(expected, actual, key=KEY)
    assert compare_documents(reverse, actual, key=KEY) == rows
    paths = [row.path for row in rows]
    assert paths[:3] == ["client_name", "email.user", "other_aws[0]"]
    assert paths[3:] == sorted(paths[3:])


def test_codes_depend_on_the_key_and_on_the_path_and_agree_for_the_same_value():
    same = client(email={"user": "x", "app_password": "example-password-1"})
    other = client(
        database={"password": "example-password-2"}, email={"app_password": "example-password-2"}
    )
    rows = {row.path: row for row in compare_documents(same, other, key=KEY)}
    again = {row.path: row for row in compare_documents(other, same, key=KEY)}
    password, app_password = rows["database.password"], rows["email.app_password"]
    assert re.fullmatch("[0-9a-f]{8}", password.expected_code)
    assert password.expected_code != app_password.expected_code
    assert password.expected_code == again["database.password"].actual_code
    [keyed] = [
        row
        for row in compare_documents(same, other, key=b"another")
        if row.path == "database.password"
    ]
    assert keyed.expected_code != password.expected_code


def test_an_empty_key_is_refused():
    with pytest.raises(ValueError, match="key"):
        compare_documents(client(), client(), key=b"")


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        ("", "0"),
        (None, "0"),
        ("x", "1-8"),
        ("x" * 8, "1-8"),
        ("x" * 9, "9-16"),
        ("x" * 16, "9-16"),
        ("x" * 17, "17-32"),
        ("x" * 4096, "2049-4096"),
        (5432, "1-8"),
        (["éééé"], "1-8"),
    ],
)
def test_lengths_are_told_in_buckets(value, bucket):
    [row] = compare_documents(database(password=value), database(password="other"), key=KEY)
    assert (row.expected_length, row.actual_length) == (bucket, "1-8")


def test_the_absent_side_has_neither_code_nor_length():
    [row] = compare_documents(client(), database(region="r"), key=KEY)
    assert (row.expected_code, row.expected_length) == ("", "")
    assert row.actual_code
    assert row.actual_length == "1-8"


def test_a_mismatch_comes_back_from_json():
    rows = compare_documents(client(), database(port="5432", host="other"), key=KEY)
    assert [Mismatch.from_json(json.loads(json.dumps(row.to_json()))) for row in rows] == rows
    assert set(rows[0].to_json()) == (
        {"path", "kind", "hint", "expected", "actual", "expected_length", "actual_length"}
    )


def test_text_that_is_no_document_is_unreadable_and_not_told():
    row = unreadable_mismatch(f"{MARK} is no document", key=KEY)
    assert (row.path, row.kind) == ("document", MismatchKind.UNREADABLE)
    assert row.actual_code
    assert row.actual_length == "17-32"
    assert MARK not in repr(row)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KNOWN_KEYS), inner),
    max_leaves=12,
)
anything = st.dictionaries(st.sampled_from(KNOWN_KEYS) | st.text(), values, max_size=6)


@settings(max_examples=FEW)
@given(anything)
def test_a_document_matches_itself(document):
    assert compare_documents(document, json.loads(json.dumps(document)), key=KEY) == []


def hide_columns(path: str) -> str:
    """Leaves out what is within `extra`: a name there is told only where PostgreSQL has such a column."""
    return re.sub(r"(^|\.)extra\..*", r"\1extra.…", path)


@settings(max_examples=FEW)
@given(anything, anything)
@example({"extra": {}}, {"extra": {"client_name": None}})
@example({"extra": {"extra": {}}}, {"extra": {"extra": {"client_name": None}}})
def test_both_directions_find_the_same_paths(one, two):
    there, back = compare_documents(one, two, key=KEY), compare_documents(two, one, key=KEY)
    paths, paths_back = [row.path for row in there], [row.path for row in back]
    assert sorted(map(hide_columns, paths)) == sorted(map(hide_columns, paths_back))
    if paths == [hide_columns(path) for path in paths]:
        assert paths == paths_back
    assert bool(there) == (json.dumps(one, sort_keys=True) != json.dumps(two, sort_keys=True))
    assert comparison.are_equal(one, two) == (there == [])


LEAVES = [("database", "password"), ("email", "sender_whitelist"), ("other_databases", 0, "host")]


@given(st.sampled_from(LEAVES), scalars, scalars)
def test_one_changed_leaf_is_one_mismatch_at_its_path(leaf, one, two):
    expected, actual = client(), client()
    for document, value in ((expected, one), (actual, two)):
        for step in leaf[:-1]:
            document = document[step]  # noqa: PLW2901 - a walk down
        document[leaf[-1]] = value
    path = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, leaf)))
    same = type(one) is type(two) and json.dumps(one) == json.dumps(two)
    assert [row.path for row in compare_documents(expected, actual, key=KEY)] == (
        [] if same else [path]
    )


marked = st.text(max_size=20).map(lambda text: f"{MARK}{text}")
secrets = st.one_of(marked, st.lists(marked), st.dictionaries(marked, marked))


@settings(max_examples=FEW)
@given(
    st.dictionaries(st.sampled_from(KNOWN_KEYS) | marked, secrets),
    st.dictionaries(st.sampled_from(KNOWN_KEYS) | marked, secrets),
)
def test_no_value_and_no_unknown_key_is_ever_told(expected, actual):
    if isinstance(extra := expected.get("extra"), dict):  # columns of NOVA's: their names are told
        expected["extra"] = {f"column_{n}": value for n, value in enumerate(extra.values())}
    rows = compare_documents(expected, actual, key=KEY)
    assert MARK not in repr(rows)
    assert MARK not in json.dumps([row.to_json() for row in rows])


def test_every_field_of_a_document_has_its_path():
    document = {
        "database": {"password": "x", "host": None},
        "other_emails": [{"user": "a"}, {"user": "b"}],
        "extra": {"token": "x", "a.b": "x"},
    }

    assert sorted(list_paths(document)) == [
        *("database.host", "database.password", "extra.token"),
        *("other_emails[0].user", "other_emails[1].user"),
    ]
