"""Connection strings as people paste them; `tests/browser/test_client_form.py` tries the script with the same ones."""

import json
from pathlib import Path

import pytest

from credentials.connection_strings import take_apart
from nova_credentials.credential_types import CredentialType

PASTED = json.loads(Path(__file__).with_name("connection_strings.json").read_text())


@pytest.mark.parametrize(("kind", "text", "columns"), PASTED)
def test_a_connection_string_is_taken_apart(kind, text, columns):
    assert take_apart(text, CredentialType(kind)) == columns


@pytest.mark.parametrize("kind", CredentialType)
@pytest.mark.parametrize(
    "text", ["", "@", "postgres://", "imap://", "://@:/?", "=" * 4000, "a" * 4000, "a" * 100_000]
)
def test_nothing_that_is_pasted_is_an_error(kind, text):
    assert set(take_apart(text, kind)) <= {"db_port", "email_provider", "imap_port"}
