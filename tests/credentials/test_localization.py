"""Messages on pages: whatever stands in the database, the page is shown."""

import pytest
from django.utils import translation

from credentials.localization import intcomma, localize
from migration.logins.reveals import REVEALED
from migration.pushes.saves import FIELDS_OF_CLIENT, LOGIN_CHANGED
from nova_credentials.messages import Message


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({}, ""),
        ([], ""),
        ("text", ""),
        ({"key": "x"}, ""),
        ({"key": None, "values": None, "text": None}, "None"),
        ({"key": ["x"], "values": {}, "text": "kept"}, "kept"),
        ({"key": "in_a_row", "values": {"sentences": ["a", {"link": 1}]}, "text": "kept"}, "kept"),
        ({"key": "in_a_row", "values": {"sentences": ["a", "b"]}, "text": "kept"}, "a b"),
        ({"key": "reason_too_long", "values": {"n": {}, "most": 1}, "text": "kept"}, "kept"),
        ({"key": "usual_comparison", "values": {"n": "three"}, "text": "kept"}, "kept"),
        ({"key": "newest_comparison", "values": {"result": "a", "ago": {"time": "no"}}, "text": "kept"}, "kept"),
    ],
)  # fmt: skip
def test_what_this_release_cannot_read_is_shown_by_its_text(stored, shown, language):
    message = Message.from_json(stored)

    assert str(message) == shown
    with translation.override(language):
        assert localize(message) == shown
    assert isinstance(message.codes, list)


@pytest.mark.parametrize(
    ("message", "english", "spanish"),
    [
        (FIELDS_OF_CLIENT(fields="name, is_active"), "client: name, active", "cliente: nombre, activo"),
        (LOGIN_CHANGED(row="x", fields="db_host, db_password_encrypted"), "x: host, password", "x: host, contraseña"),
        (LOGIN_CHANGED(row="x", fields="Host, a column"), "x: Host, a column", "x: Host, a column"),
        (
            REVEALED(row="x", field="email_password"),
            "Revealed password of x.",
            "Ha revelado un valor: contraseña de x.",
        ),
    ],
)  # fmt: skip
def test_fields_are_named_as_in_forms(message, english, spanish):
    assert localize(message) == english
    with translation.override("es"):
        assert localize(message) == spanish


def test_spanish_sets_thousands_apart_from_five_digits_on():
    assert [intcomma(2028), intcomma(12028)] == ["2,028", "12,028"]
    with translation.override("es"):
        assert [intcomma(2028), intcomma(-12028)] == ["2028", "-12\xa0028"]
