"""Names and values that are refused without a call."""

import pytest

from nova_credentials.aws import ErrorClass, SecretsManagerError
from nova_credentials.document import MAX_BYTES
from tests.nova_credentials.secrets_manager.managers import DOCUMENT, MARK, NAME, everything


def test_a_value_may_have_65536_bytes_and_not_one_more(faulty, faults):
    faulty.create_secret(NAME, "é" * (MAX_BYTES // 2), slug="idom")
    faulty.put_value(NAME, "x" * MAX_BYTES)
    faults.calls.clear()
    too_large = MARK + "é" * (MAX_BYTES // 2)
    for call in (
        lambda: faulty.create_secret("other", too_large, slug="idom"),
        lambda: faulty.put_value(NAME, too_large),
        lambda: faulty.create_client_credentials("acme", {"database": {"password": too_large}}),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.error_class) == ("TooLarge", ErrorClass.DATA)
        assert MARK not in everything(refusal.value)
    assert faults.calls == []


@pytest.mark.parametrize("name", ["", "two words", "ñ", "line\n", "x" * 257])
def test_an_illegal_name_is_refused_without_a_call(faulty, faults, name):
    for call in (
        lambda: faulty.get_value(name),
        lambda: faulty.describe_secret(name),
        lambda: faulty.create_secret(name, MARK, slug="idom"),
        lambda: faulty.put_value(name, MARK),
        lambda: faulty.restore_secret(name),
        lambda: faulty.tag_secret(name, slug="idom"),
        lambda: faulty.schedule_deletion(name),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.error_class) == ("InvalidName", ErrorClass.DATA)
        assert MARK not in everything(refusal.value)
    assert faulty.batch_get([name])[name].code == "InvalidName"
    assert faults.calls == []


@pytest.mark.parametrize("slug", ["idom/database", "", "dos palabras"])
def test_a_slug_that_makes_no_name_of_its_own_is_refused_without_a_call(faulty, faults, slug):
    for call in (
        lambda: faulty.get_client_credentials(slug),
        lambda: faulty.get_database_credentials(slug),
        lambda: faulty.create_client_credentials(slug, DOCUMENT),
        lambda: faulty.update_client_credentials(slug, DOCUMENT),
        lambda: faulty.rotate_password(slug, "database", MARK),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert refusal.value.error_class is ErrorClass.DATA
        assert MARK not in everything(refusal.value)
    assert faults.calls == []
