"""A lost SECRET_KEY is told: second factors that nobody can decrypt, and versions that no key proves."""

import secrets

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import encrypt

from migration.core.problems import Look
from migration.doctor.site import find_lost_keys
from migration.models import VersionKey
from migration.pushes.pushes import push
from tests.factories import make_full_client, make_user

pytestmark = pytest.mark.usefixtures("stores")


def find_codes() -> list[str]:
    return [code for finding in find_lost_keys(Look()) for code in finding.message.codes]


def test_second_factors_of_a_lost_key_are_counted_and_those_of_a_fallback_are_not(settings):
    Authenticator.objects.create(
        user=make_user("anna"),
        type=Authenticator.Type.TOTP,
        data={"secret": encrypt("JBSWY3DPEHPK3PXP")},
    )
    assert find_codes() == ["keys_read_all"]

    old, settings.SECRET_KEY = settings.SECRET_KEY, secrets.token_urlsafe(64)
    assert find_codes() == ["factors_unreadable"]

    settings.SECRET_KEY_FALLBACKS = [old]
    assert find_codes() == ["keys_read_all"]


def test_versions_that_no_key_of_the_first_release_proves_are_told():
    """`migrate` ran with another SECRET_KEY than the first release, which derived its key from that."""
    push(client_ids=[make_full_client("idom")])
    assert find_codes() == ["keys_read_all"]
    key = VersionKey.objects.get()

    VersionKey.objects.all().delete()
    assert find_codes() == ["versions_unproved"]
    VersionKey.objects.create(key=secrets.token_bytes(32))
    # All secrets may be others' that were adopted.
    assert find_codes() == ["keys_read_all"]
    VersionKey.objects.create(key=secrets.token_bytes(32))
    assert find_codes() == ["versions_unproved"]
    VersionKey.objects.create(key=key.key)
    assert find_codes() == ["keys_read_all"]
