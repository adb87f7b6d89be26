"""Mapped columns in a document: the site reads them, readers don't, and layouts keep them."""

import pytest

from nova_credentials.document import (
    DocumentError,
    Layout,
    join_parts,
    parse_extras,
    split_document,
)
from tests.nova_credentials.test_document import document, read

WITH_EXTRAS = document(
    database={**document()["database"], "extra": {"token": "t", "none": None}},
    extra={"code": "c"},
)


def test_the_readers_rows_are_the_same_with_and_without_extras():
    assert read(WITH_EXTRAS) == read(document())


def test_extras_are_read_in_the_order_of_the_rows():
    second = {**WITH_EXTRAS["database"], "is_primary": None, "extra": {"token": "second"}}

    extras = parse_extras(WITH_EXTRAS | {"other_databases": [second]}, client_slug="idom")

    assert extras.client == {"code": "c"}
    assert extras.logins["database"] == [{"token": "t", "none": None}, {"token": "second"}]
    assert extras.logins["email"] == [{}]
    assert repr(extras) == "ClientExtras()"


@pytest.mark.parametrize("layout", Layout)
def test_extras_survive_being_split_and_joined(layout):
    parts = split_document(WITH_EXTRAS, layout=layout)

    assert join_parts(parts, layout=layout) == WITH_EXTRAS


def test_a_malformed_extra_is_named_by_its_login_or_as_the_client_s_own():
    of_a_login = {**document()["database"], "extra": []}

    with pytest.raises(DocumentError, match=r"^idom: database\.extra must be an object"):
        parse_extras(document(database=of_a_login), client_slug="idom")
    with pytest.raises(DocumentError, match=r"^idom: extra must be an object"):
        parse_extras(document(extra=[]), client_slug="idom")


@pytest.mark.parametrize("extra", [None, [], "x", {"secret-key": 1}, {"secret-key": "\0"}])
def test_a_malformed_extra_is_refused_without_its_key_and_ignored_by_readers(extra):
    malformed = WITH_EXTRAS | {"extra": extra}

    with pytest.raises(DocumentError) as refused:
        parse_extras(malformed, client_slug="idom")

    assert "secret-key" not in str(refused.value)
    assert read(malformed) == read(document())
