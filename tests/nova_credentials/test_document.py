"""The document holds every row that the tables can hold, and gives it back."""

import json
import traceback
from dataclasses import asdict, fields, make_dataclass, replace
from dataclasses import field as dataclass_field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nova_credentials import document as documents
from nova_credentials.comparison import are_equal
from nova_credentials.credential_types import (
    AwsCredentials,
    CredentialType,
    DatabaseCredentials,
    EmailCredentials,
    get_secret_value_key,
)
from nova_credentials.document import (
    MAX_BYTES,
    ClientCredentials,
    DocumentError,
    Layout,
    build_document,
    decode_document,
    encode_document,
    join_parts,
    parse_document,
    secret_names,
    size_in_bytes,
    split_document,
)
from nova_credentials.reader.routing import _differing_paths

MARK = "marked-example-password"
CLIENT = (7, "idom")

DATABASE = DatabaseCredentials(
    *CLIENT, "db.example.com", 49057, "railway", "nova", "example-password-1", None, True
)
EMAIL = EmailCredentials(
    *CLIENT,
    "gmail",
    *("imap.example.com", 993, "smtp.example.com", 587),
    *("bills@example.com", "example-password-2", "a@example.com", None, True),
)
AWS = AwsCredentials(*CLIENT, "AKIAEXAMPLE", "example-secret-key", "us-east-1", None, True)


def build_from(name, *, databases, emails, aws, **options):
    rows = {
        CredentialType.DATABASE: databases,
        CredentialType.EMAIL: emails,
        CredentialType.AWS: aws,
    }
    return build_document(name, rows, slug="idom", **options)


def document(**changes):
    return build_from("IDOM", databases=[DATABASE], emails=[EMAIL], aws=[AWS]) | changes


def read(document):
    return parse_document(document, client_id=7, client_slug="idom")


# All that PostgreSQL's text can hold: no NUL, no half of a surrogate pair.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    [
        "",
        " ",
        " example ",
        'it\'s "quoted" \\',
        "two\nlines\r\n",
        "é",
        "e\u0301",
        "\U0001f511",
        "x" * 4096,
    ]
)
integer = st.integers(-(2**31), 2**31 - 1)
label = st.none() | st.sampled_from(["main", "backup"]) | text


def rows(kind, *fields):
    """Rows of one kind, of which at most one is primary, where it may be."""
    one = st.builds(
        kind, st.just(7), st.just("idom"), *fields, label, st.sampled_from([False, None])
    )
    return st.tuples(st.lists(one, max_size=3), st.none() | st.integers(0, 2)).map(
        lambda drawn: [
            replace(row, is_primary=row.is_primary if i != drawn[1] else True)
            for i, row in enumerate(drawn[0])
        ]
    )


clients = st.fixed_dictionaries(
    {
        "databases": rows(DatabaseCredentials, text, integer, text, text, text),
        "emails": rows(
            EmailCredentials,
            st.none() | text,
            *(st.none() | text, st.none() | integer) * 2,
            *(text, text, st.none() | text),
        ),
        "aws": rows(AwsCredentials, text, text, st.none() | text),
    }
)


@given(text, clients, st.sampled_from(Layout))
@example("IDOM", {"databases": [DATABASE], "emails": [EMAIL], "aws": [AWS]}, Layout.SERVICE)
def test_every_row_comes_back_equal_with_the_primary_first(name, client, layout):
    parts = split_document(build_from(name, **client), layout=layout, keep=["database"])
    texts = {part: encode_document(of_part) for part, of_part in parts.items()}
    back = read(
        join_parts({part: decode_document(text) for part, text in texts.items()}, layout=layout)
    )
    first = {
        kind: tuple(sorted(rows, key=lambda row: not row.is_primary))
        for kind, rows in client.items()
    }
    assert back == ClientCredentials(name, **first)
    assert size_in_bytes(build_from(name, **client)) == len(
        encode_document(build_from(name, **client)).encode()
    )


# Two clients, often equal in all or in most.
pairs = st.tuples(clients, clients) | st.tuples(clients, clients).flatmap(
    lambda pair: st.sampled_from([pair[0], pair[0] | {"emails": pair[1]["emails"]}]).map(
        lambda other: (pair[0], other)
    )
)


@given(pairs)
def test_the_reader_finds_a_difference_where_a_comparison_of_the_documents_does(pair):
    documents_of = [build_from("IDOM", **rows) for rows in pair]
    found = list(_differing_paths(*map(read, documents_of)))
    assert are_equal(*documents_of) == (found == [])


def test_the_document_has_the_plans_keys_and_all_of_them():
    other = replace(DATABASE, label="backup", is_primary=None)
    assert build_from("IDOM", databases=[other, DATABASE], emails=[EMAIL], aws=[AWS]) == {
        "client_name": "IDOM",
        "database": {
            "host": "db.example.com",
            "port": 49057,
            "name": "railway",
            "user": "nova",
            "password": "example-password-1",
            "label": None,
        },
        "email": {
            "user": "bills@example.com",
            "app_password": "example-password-2",
            "sender_whitelist": "a@example.com",
            "provider": "gmail",
            "imap_host": "imap.example.com",
            "imap_port": 993,
            "smtp_host": "smtp.example.com",
            "smtp_port": 587,
            "label": None,
        },
        "aws": {
            "access_key_id": "AKIAEXAMPLE",
            "secret_access_key": "example-secret-key",
            "region": "us-east-1",
            "label": None,
        },
        "other_databases": [
            {
                "host": "db.example.com",
                "port": 49057,
                "name": "railway",
                "user": "nova",
                "password": "example-password-1",
                "label": "backup",
                "is_primary": None,
            }
        ],
        "other_emails": [],
        "other_aws": [],
    }


@pytest.mark.parametrize("kind", ["databases", "emails", "aws"])
def test_two_primary_rows_of_a_kind_are_refused(kind):
    of_kind = {"databases": DATABASE, "emails": EMAIL, "aws": AWS}
    rows = {name: [row] * (2 if name == kind else 1) for name, row in of_kind.items()}
    with pytest.raises(DocumentError, match=r"idom: 2 .* primary"):
        build_from("IDOM", **rows)


@pytest.mark.parametrize("credential_type", CredentialType)
def test_the_order_of_a_rows_fields_is_no_part_of_the_document(monkeypatch, credential_type):
    row = {"database": DATABASE, "email": EMAIL, "aws": AWS}[credential_type]
    reordered = make_dataclass(
        "Reordered",
        [(f.name, f.type, copy_of(f)) for f in reversed(fields(row))],
        frozen=True,
    )
    rows = {"databases": [DATABASE], "emails": [EMAIL], "aws": [AWS]}
    rows[credential_type.plural] = [reordered(**asdict(row))]

    assert build_from("IDOM", **rows) == document()

    monkeypatch.setitem(documents.ROW_CLASSES, credential_type, reordered)
    documents._fields_to_read.cache_clear()
    try:
        (back,) = read(document()).of_type(credential_type)
    finally:
        documents._fields_to_read.cache_clear()
    assert asdict(back) == asdict(row)


def copy_of(f):
    return dataclass_field(repr=f.repr, metadata=f.metadata)


def test_each_type_has_one_secret_key():
    secrets = {"database": "password", "email": "app_password", "aws": "secret_access_key"}
    assert {t: get_secret_value_key(t) for t in CredentialType} == secrets


def test_a_document_with_the_plans_keys_alone_is_read():
    plan = {
        "database": {"host": "h", "port": 1, "name": "n", "user": "u", "password": "p"},
        "email": {"user": "u", "app_password": "p", "sender_whitelist": "w"},
        "other_databases": [{"host": "h", "port": 1, "name": "n", "user": "u", "password": "p"}],
    }
    primary = DatabaseCredentials(*CLIENT, "h", 1, "n", "u", "p", None, True)
    assert read(plan) == ClientCredentials(
        None,
        (primary, replace(primary, is_primary=None)),
        (EmailCredentials(*CLIENT, *(None,) * 5, "u", "p", "w", None, True),),
        (),
    )


def changed(path, value):
    *way, last = path.split(".")
    whole = json.loads(
        encode_document(document(other_emails=[{**document()["email"], "is_primary": None}]))
    )
    place = whole
    for step in way:
        place = place[0] if step == "0" else place[step]
    place[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("client_name", 5, "client_name must be text or null"),
        ("database", None, "database must be an object"),
        ("database", [], "database must be an object"),
        ("database.host", None, "database.host must be text"),
        ("database.password", {"text": MARK}, "database.password must be text"),
        ("database.port", True, "database.port must be a whole number"),
        ("database.port", MARK, "database.port must be a whole number"),
        ("database.port", 5432.0, "database.port must be a whole number"),
        ("database.port", None, "database.port must be a whole number"),
        ("database.port", 2**31, "database.port is a number that PostgreSQL cannot store"),
        ("database.port", -(2**31) - 1, "database.port is a number that PostgreSQL cannot store"),
        ("database.label", 1, "database.label must be text or null"),
        ("database.password", f"{MARK}\0", "database.password holds a character that"),
        ("database.password", f"{MARK}\ud800", "database.password holds a character that"),
        ("email.imap_port", "993", "email.imap_port must be a whole number or null"),
        ("aws.secret_access_key", 1, "aws.secret_access_key must be text"),
        ("other_emails", {MARK: 1}, "other_emails must be a list"),
        ("other_emails", None, "other_emails must be a list"),
        ("other_emails.0.user", 1, "other_emails[0].user must be text"),
        ("other_emails.0.is_primary", True, "other_emails[0].is_primary must be false or null"),
        ("other_emails.0.is_primary", 0, "other_emails[0].is_primary must be true or false or"),
    ],
)
def test_a_malformed_document_is_refused_by_its_field_and_without_its_value(path, value, problem):
    with pytest.raises(DocumentError) as refusal:
        read(changed(path, value))
    assert str(refusal.value).startswith(f"idom: {problem}")
    assert MARK not in everything(refusal.value)


@pytest.mark.parametrize("number", [-(2**31), 2**31 - 1])
def test_the_least_and_the_largest_number_of_postgresql_are_read(number):
    read(changed("database.port", number))


def test_a_document_is_read_to_its_sixteenth_level_and_no_further():
    sixteen = "[" * 15 + "]" * 15
    documents.decode_document(f'{{"more": {sixteen}}}')
    documents.decode_document(f'{{"more": {sixteen}, "others": [{{}}, {{}}]}}')

    with pytest.raises(DocumentError):
        documents.decode_document(f'{{"more": [{sixteen}]}}')


def test_a_document_of_many_logins_is_not_a_deep_one():
    many = [replace(DATABASE, is_primary=False)] * 40
    whole = build_from("IDOM", databases=many, emails=[], aws=[])

    assert decode_document(encode_document(whole)) == whole


@pytest.mark.parametrize("key", ["host", "port", "name", "user", "password"])
def test_a_credential_without_what_it_needs_is_refused(key):
    whole = document()
    del whole["database"][key]
    with pytest.raises(DocumentError, match=rf"idom: database\.{key} must be"):
        read(whole)


def everything(error):
    """The text of an error and of all that it drags along."""
    chained = [error.__cause__, error.__context__]
    assert chained == [None, None]
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


@pytest.mark.parametrize(
    "text",
    [
        MARK,
        f'["{MARK}"]',
        f'"{MARK}"',
        f'{{"{MARK}": NaN}}',
        f'{{"{MARK}": -Infinity}}',
        f'{{"{MARK}": 1',
        f'{{"{MARK}": {"9" * 5000}}}',
        f'{{"{MARK}": {"[" * 20}{"]" * 20}}}',
        f'{{"{MARK}": {"[" * 60000}',
        "",
        "null",
    ],
)
def test_text_that_is_no_document_is_refused_without_a_word_of_it(text):
    with pytest.raises(DocumentError, match="nova/clients/idom is not a JSON object") as refusal:
        decode_document(text, source="nova/clients/idom")
    assert MARK not in everything(refusal.value)


@pytest.mark.parametrize("value", [f"{MARK}\ud800", {1, MARK}, float("nan"), b"bytes"])
def test_what_json_cannot_hold_is_refused_without_its_value(value):
    with pytest.raises(DocumentError) as refusal:
        encode_document({"database": {"password": value}})
    assert MARK not in everything(refusal.value)


def test_no_repr_shows_a_secret():
    whole = repr(read(document()))
    assert "idom" in whole
    for secret in ("example-password-1", "example-password-2", "example-secret-key"):
        assert secret not in whole


def test_the_size_is_counted_in_bytes():
    assert size_in_bytes({"k": "é"}) == len('{"k": "é"}') + 1
    assert MAX_BYTES == 65_536


def test_a_service_without_a_row_has_no_part_unless_it_is_kept():
    alone = build_from("IDOM", databases=[DATABASE], emails=[], aws=[])
    assert list(split_document(alone, layout=Layout.SERVICE)) == ["database"]
    parts = split_document(alone, layout=Layout.SERVICE, keep=["email"])
    assert parts["email"] == {"client_name": "IDOM", "other_emails": []}
    assert join_parts(parts, layout=Layout.SERVICE) == alone


def test_a_document_with_the_plan_s_keys_alone_is_split_too():
    plan = {"client_name": "IDOM", "database": {"host": "h"}}
    assert split_document(plan, layout=Layout.SERVICE) == {
        "database": {**plan, "other_databases": []}
    }


def test_a_part_with_other_rows_alone_is_kept():
    other = replace(DATABASE, is_primary=False)
    alone = build_from("IDOM", databases=[other], emails=[], aws=[])
    parts = split_document(alone, layout=Layout.SERVICE)
    assert list(parts) == ["database"]
    assert join_parts(parts, layout=Layout.SERVICE) == alone


def test_a_part_that_is_missing_leaves_no_row():
    parts = split_document(document(), layout=Layout.SERVICE)
    del parts["email"]
    joined = join_parts(parts, layout=Layout.SERVICE)
    assert "email" not in joined
    assert joined["other_emails"] == []


def test_what_a_part_holds_beyond_its_own_keys_is_neither_lost_nor_read():
    parts = split_document(document(), layout=Layout.SERVICE)
    parts["database"] |= {"email": {"user": "stale"}, "note": "kept"}
    parts["email"]["client_name"] = "Idom"
    joined = join_parts(parts, layout=Layout.SERVICE)
    assert read(joined) == read(document())
    assert joined.keys() - document().keys() == {
        "database/email",
        "database/note",
        "email/client_name",
    }
    assert split_document(joined, layout=Layout.SERVICE) == parts


def test_what_a_part_without_a_row_holds_beyond_its_own_keys_is_not_lost_either():
    alone = build_from("IDOM", databases=[DATABASE], emails=[], aws=[])
    parts = split_document(alone, layout=Layout.SERVICE, keep=["email"])
    parts["email"]["note"] = "kept"
    joined = join_parts(parts, layout=Layout.SERVICE)
    assert split_document(joined, layout=Layout.SERVICE) == parts


def test_a_key_that_belongs_to_no_part_is_refused_rather_than_lost():
    with pytest.raises(DocumentError) as refusal:
        split_document(document(**{MARK: 1}), layout=Layout.SERVICE)
    assert MARK not in str(refusal.value)


@pytest.mark.parametrize("layout", Layout)
def test_a_secret_holds_what_fits_into_it_to_the_byte(layout):
    part = "client" if layout == Layout.CLIENT else "database"
    fitting = document()
    room = MAX_BYTES - size_in_bytes(split_document(fitting, layout=layout)[part])
    fitting["database"]["password"] += "x" * room
    where = {"prefix": "nova/clients", "layout": layout}

    assert documents.size_problem(fitting, "idom", **where) is None

    fitting["database"]["password"] += "é"
    name = secret_names("idom", **where)[part]
    assert str(documents.size_problem(fitting, "idom", **where)) == (
        f"{name} would have 65,538 bytes; Secrets Manager takes up to 65,536."
    )


def test_a_client_without_any_credential_has_one_secret_in_each_layout():
    empty = build_from("IDOM", databases=[], emails=[], aws=[])
    for layout in Layout:
        (part,) = documents.parts_to_store(empty, layout=layout).items()
        assert join_parts(dict([part]), layout=layout) == empty
    kept = documents.parts_to_store(empty, layout=Layout.SERVICE, keep=["email"])
    assert list(kept) == ["email"]
