"""Clocks that differ are named with their seconds; one that could not be asked is not ok."""

from datetime import UTC, datetime, timedelta

import pytest

from migration.core.aws_store import secrets_manager
from migration.core.problems import FindingState, Look
from migration.doctor import site as clocks
from nova_credentials.aws.clock import read_aws_clock
from nova_credentials.aws.secrets_manager import SecretsManagerError


@pytest.fixture
def examined(stores, monkeypatch):
    """The findings where the named clock is off by so much."""

    def examined(clock: str = "", **off: float):
        if clock:
            moment = datetime.now(UTC) + timedelta(**off)
            monkeypatch.setattr(clocks, clock, lambda *_: moment)
        return list(clocks.find_wrong_clocks(Look()))

    return examined


def test_clocks_that_agree_are_ok(examined):
    found = examined()

    assert [finding.state for finding in found] == [FindingState.OK] * 2
    assert [finding.message.codes for finding in found] == [["clock_agrees"]] * 2


@pytest.mark.parametrize(("clock", "number"), [("ask_postgres", 0), ("ask_aws", 1)])
@pytest.mark.parametrize(
    ("seconds", "code"), [(90, "clock_is_ahead"), (-90, "clock_is_behind"), (2, "clock_agrees")]
)
def test_a_clock_that_is_off_is_named_with_its_seconds(examined, clock, number, seconds, code):
    found = examined(clock, seconds=seconds)

    assert found[number].message.codes == [code]
    assert found[1 - number].ok
    if code != "clock_agrees":
        assert "90 seconds" in str(found[number].message)
        assert found[number].state == FindingState.FAILED


def test_aws_away_is_not_looked_at_and_postgresql_is_asked_all_the_same(examined, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    found = examined()

    assert [finding.state for finding in found] == [FindingState.OK, FindingState.NOT_LOOKED_AT]
    assert "EndpointConnectionError" in str(found[1].message)


@pytest.mark.parametrize("name", ["nova/clients/unknown", "no name of a secret: ?"])
def test_aws_tells_its_time_also_where_it_refuses_the_call(stores, name):
    told = read_aws_clock(secrets_manager(interactive=True), name)

    assert abs(told - datetime.now(UTC)) < timedelta(seconds=5)


def test_an_answer_without_a_date_is_no_answer(stores):
    sm = secrets_manager(interactive=True)

    def without_date(parsed, **_):
        parsed["ResponseMetadata"]["HTTPHeaders"].pop("date", None)

    sm.sm.meta.events.register("after-call.secrets-manager.DescribeSecret", without_date)
    try:
        with pytest.raises(SecretsManagerError) as refused:
            read_aws_clock(sm, "nova/clients/unknown")
    finally:
        sm.sm.meta.events.unregister("after-call.secrets-manager.DescribeSecret", without_date)
    assert refused.value.code == "NoAnswer"
