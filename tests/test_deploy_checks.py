"""That the deploy check warns of gates that want hardly any evidence, each by its own sentence."""

import pytest

from migration import checks
from tests.checkout import manage
from tests.test_settings import PRODUCTION


@pytest.fixture
def with_usual_evidence(settings) -> None:
    for name, (_least, usual, _effect) in checks.EVIDENCE.items():
        setattr(settings, name, usual)


@pytest.mark.parametrize(
    ("name", "weak", "enough"),
    [
        ("NOVA_CLEAN_STREAK", 1, 2),
        ("NOVA_DUAL_READ_HOURS", 0.02, 6.0),
        ("NOVA_PURGE_AFTER_DAYS", 0.001, 1.0),
        ("NOVA_MIN_READS", 0, 5),
    ],
)
@pytest.mark.usefixtures("with_usual_evidence")
def test_each_line_of_the_gates_that_is_nearly_off_is_named(settings, name, weak, enough):
    setattr(settings, name, weak)
    (warning,) = checks.check_evidence()
    assert warning.msg.startswith(f"{name} is {weak}: ")

    setattr(settings, name, enough)
    assert checks.check_evidence() == []


def test_databases_that_nobody_verifies_are_named(settings):
    assert checks.check_unverified_databases() == []
    settings.NOVA_LOGIN_UNVERIFIED_DATABASES = True
    assert [warning.id for warning in checks.check_unverified_databases()] == ["migration.W018"]


def test_the_deploy_check_ends_with_1_where_a_gate_is_nearly_off():
    weak = {
        "NOVA_CLEAN_STREAK": "1",
        "NOVA_PURGE_AFTER_DAYS": "0.001",
        "NOVA_DUAL_READ_HOURS": "0",
        "NOVA_MIN_READS": "0",
        "NOVA_LOGIN_UNVERIFIED_DATABASES": "1",
    }

    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | weak)

    assert result.returncode == 1
    assert result.stderr.count("(migration.W017) ") == 4
    assert all(name in result.stderr for name in weak)
