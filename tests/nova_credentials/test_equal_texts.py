"""A text that is the very one that we would write is not parsed: that finds no match where parsing finds none."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nova_credentials.aws.answers import SecretValue
from nova_credentials.aws.client_secrets import ClientSecrets
from nova_credentials.comparison import KNOWN_KEYS, are_equal, is_exact_encoding_of
from nova_credentials.document import (
    DocumentError,
    Layout,
    decode_document,
    encode_document,
    split_document,
)
from tests.nova_credentials.equal_texts import DIFFERENT, DOCUMENT, EQUAL, TEXT


def value(text: str | None, name: str = "nova/clients/idom") -> SecretValue:
    return SecretValue(name, "arn", "version", text)


def is_equal_once_parsed(text: str, document: dict) -> bool:
    """What decided before there was a shortcut."""
    try:
        return are_equal(decode_document(text), document)
    except DocumentError:
        return False


def test_the_text_that_we_write_is_the_documents():
    assert encode_document(DOCUMENT) == TEXT
    assert is_exact_encoding_of(TEXT, DOCUMENT)
    assert value(TEXT).holds_document(DOCUMENT)


@pytest.mark.parametrize("text", EQUAL.values(), ids=EQUAL)
def test_the_same_document_laid_out_otherwise_is_parsed_and_equal(text):
    assert text != TEXT
    assert not is_exact_encoding_of(text, DOCUMENT)
    assert value(text).holds_document(DOCUMENT)


@pytest.mark.parametrize("text", DIFFERENT.values(), ids=DIFFERENT)
def test_a_text_that_is_nearly_the_document_differs(text):
    assert not is_exact_encoding_of(text, DOCUMENT)
    assert not value(text).holds_document(DOCUMENT)


def nested(levels: int) -> dict:
    return {"x": nested(levels - 1) if levels else 1}


@pytest.mark.parametrize(("levels", "is_held"), [(15, True), (16, False)])
def test_a_document_too_deep_to_be_read_is_held_by_no_text(levels, is_held):
    document = nested(levels)
    text = json.dumps(document)

    assert is_equal_once_parsed(text, document) == is_held
    assert is_exact_encoding_of(text, document) == is_held
    assert value(text).holds_document(document) == is_held


def test_what_no_secret_can_hold_is_no_documents_text():
    for document in ({"x": "\ud800"}, {"x": float("nan")}):
        text = json.dumps(document, ensure_ascii=False)
        assert is_exact_encoding_of(text, document) is False
        assert value(text).holds_document(document) == is_equal_once_parsed(text, document)


def test_a_binary_secret_holds_no_document():
    assert not value(None).holds_text_of({})
    assert not value(None).holds_document({})


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([-1.0, -0.0, 0.0, 1.0, 1e300]),
    st.sampled_from(["", " ", "1", "null", "\u00e9", "e\u0301", "\ud800", '"', "\\", "\x7f"]),
)
entries = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["host", "port", "\u00e9", "e\u0301"]), inner, max_size=2)
    ),
    max_leaves=5,
)
written = st.dictionaries(st.sampled_from(KNOWN_KEYS[:5]), entries, max_size=3)
LAYOUTS = (
    encode_document,
    json.dumps,
    lambda document: json.dumps(document, ensure_ascii=False, sort_keys=True),
    lambda document: json.dumps(document, ensure_ascii=False, separators=(",", ":")),
)


@given(written, written, st.sampled_from(LAYOUTS), st.booleans())
@example({"x": 1}, {"x": 1.0}, encode_document, False)
@example({"x": 0.0}, {"x": -0.0}, encode_document, False)
def test_a_shortcut_never_finds_a_match_that_parsing_does_not(one, other, lay_out, is_same):
    document = one if is_same else other
    try:
        text = lay_out(one)
    except DocumentError:  # a lone surrogate
        text = json.dumps(one)

    assert value(text).holds_document(document) == is_equal_once_parsed(text, document)
    assert is_equal_once_parsed(text, document) or not is_exact_encoding_of(text, document)


logins = st.dictionaries(st.sampled_from(["host", "user", "label"]), leaves, max_size=2)
clients = st.fixed_dictionaries(
    {
        "client_name": st.sampled_from(["IDOM", "Acme"]),
        "other_databases": st.lists(logins, max_size=1),
        "other_emails": st.just([]),
        "other_aws": st.just([]),
    },
    optional={"database": logins, "email": logins, "extra": logins},
)


@given(clients, clients, st.sampled_from(Layout), st.sampled_from(["database", "email", "aws"]))
def test_the_secrets_of_a_client_hold_its_texts_only_if_they_are_its_document(
    expected, other, layout, kept
):
    """Some parts are of one client, some of the other; a part without rows may be there or not."""
    secrets = {}
    for source in (expected, other):
        try:
            for part, document in split_document(source, layout=layout, keep=[kept]).items():
                secrets.setdefault(part, value(encode_document(document)))
        except DocumentError:  # a lone surrogate
            return
    held = ClientSecrets(secrets, layout)

    if held.hold_texts_of(expected):
        assert are_equal(held.to_document(), expected)
    if not are_equal(held.to_document(), other):
        assert not held.hold_texts_of(other)


@pytest.mark.parametrize("layout", Layout)
def test_the_secrets_that_we_wrote_hold_their_texts(layout):
    document = DOCUMENT | {"other_emails": [], "other_aws": []}
    parts = split_document(document, layout=layout)
    secrets = {part: value(encode_document(of_part)) for part, of_part in parts.items()}

    assert ClientSecrets(secrets, layout).hold_texts_of(document)
    for part, secret in secrets.items():
        other = secrets | {part: value(secret.text.replace("p w", "p  w"))}
        assert ClientSecrets(other, layout).hold_texts_of(document) == (other == secrets)


def test_a_part_that_is_missing_or_more_than_the_rows_is_looked_at():
    document = DOCUMENT | {"email": {"user": "a"}, "other_emails": [], "other_aws": []}
    parts = split_document(document, layout=Layout.SERVICE)
    secrets = {part: value(encode_document(of_part)) for part, of_part in parts.items()}

    assert not ClientSecrets({"database": secrets["database"]}, Layout.SERVICE).hold_texts_of(
        document
    )
    without = {key: entry for key, entry in document.items() if key != "email"}
    assert not ClientSecrets(secrets, Layout.SERVICE).hold_texts_of(without)
