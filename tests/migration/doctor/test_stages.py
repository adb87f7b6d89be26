"""The doctor names secrets with a version that waits to be current, and says what it has not looked at."""

import pytest

from migration.core import aws_store
from migration.core.problems import FindingState, Look
from migration.doctor import site as stages
from nova_credentials.aws.secrets_manager import SecretsManager


def make_secret(sm: SecretsManager, slug: str, *, pending: bool = False) -> None:
    name = f"nova/clients/{slug}"
    sm.create_secret(name, "{}", slug=slug)
    if pending:
        sm.put_aside(name, '{"a": 1}', stage="AWSPENDING")


def examine() -> list[tuple[FindingState, str]]:
    return [
        (finding.state, str(finding.message)) for finding in stages.find_pending_versions(Look())
    ]


def test_a_version_that_waits_is_named_and_what_was_not_looked_at(stores, monkeypatch):
    sm = aws_store.secrets_manager()
    for slug in ("idom", "acme", "other"):
        make_secret(sm, slug)
    sm.create_secret("elsewhere/idom", "{}", slug="idom")
    current = sm.get_value("nova/clients/acme").version_id
    sm.sm.update_secret_version_stage(
        SecretId="nova/clients/acme", VersionStage="AWSPENDING", MoveToVersionId=current
    )
    assert examine() == [
        (FindingState.OK, "None of 3 secrets has a version that waits to be current (AWSPENDING).")
    ]

    make_secret(sm, "fourth", pending=True)
    ((state, message),) = examine()
    assert state == FindingState.FAILED
    assert "A secret has a pending version" in message
    assert "nova/clients/fourth" in message

    monkeypatch.setattr("nova_credentials.aws.versions._PAGE_SIZE", 2)
    monkeypatch.setattr(stages, "MOST_PAGES", 1)
    found = examine()
    assert found[-1][0] == FindingState.NOT_LOOKED_AT
    assert "Only the first 2 secrets were looked at" in found[-1][1]


@pytest.mark.django_db
def test_an_aws_that_does_not_answer_is_never_ok(settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert [state for state, _ in examine()] == [FindingState.NOT_LOOKED_AT]
