"""Values that no login has: in AWS anything may stand where a host or a port should."""

import pytest

from migration.core.outgoing import LoginOutcome
from migration.logins.attempts import try_login
from nova_credentials.credential_types import CredentialType

LOGINS = {
    CredentialType.DATABASE: {"host": "db.example.test", "port": 5432, "name": "a", "user": "b"},
    CredentialType.EMAIL: {"imap_host": "imap.example.test", "imap_port": 993, "user": "b"},
    CredentialType.AWS: {"access_key_id": "AKIAEXAMPLE", "region": "eu-west-1"},
}
SECRETS = dict(zip(LOGINS, ("password", "app_password", "secret_access_key"), strict=True))


@pytest.mark.parametrize("odd", ["example\0hidden", ["a"], {"a": "b"}, 5])
@pytest.mark.parametrize("kind", LOGINS)
def test_what_is_no_text_is_not_sent(kind, odd):
    for key in (*(k for k in LOGINS[kind] if not k.endswith("port")), SECRETS[kind]):
        values = LOGINS[kind] | {SECRETS[kind]: "example"} | {key: odd}
        assert try_login(kind, values).outcome == LoginOutcome.NOT_TESTABLE


@pytest.mark.parametrize("odd", ["not-a-number", ["5432"], "5432"])
def test_a_port_is_a_number(odd):
    values = LOGINS[CredentialType.DATABASE] | {"password": "example", "port": odd}

    assert try_login(CredentialType.DATABASE, values).outcome == LoginOutcome.NOT_TESTABLE
