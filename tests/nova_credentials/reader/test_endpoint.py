"""Where a reader asks for secrets: one variable names it, and no address of other services is asked."""

import os

import pytest

from nova_credentials.aws import ClientSecretsManager, session
from nova_credentials.aws.endpoint import GENERIC_VARIABLE, VARIABLE, read_endpoint
from nova_credentials.phases import Phase
from nova_credentials.reader import from_environment
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring

NOVA = {"DATABASE_URL": "postgresql:///nova"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://192.0.2.1:4566",
        "HTTP://secretsmanager.example.test",
        "http://localhost.example.test",
        "http://127.0.0.1.example.test",
        "ftp://127.0.0.1",
        "MARKER",
        "https://",
        "https://MARKER:port",
        "http://[::1",
    ],
)
def test_an_endpoint_that_others_can_read_on_the_way_is_refused_and_not_shown(endpoint):
    with pytest.raises(RuntimeError, match=f"^{VARIABLE} must be https://") as caught:
        from_environment(NOVA | {VARIABLE: endpoint})
    assert "MARKER" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://vpce-1.secretsmanager.eu-west-1.vpce.amazonaws.com",
        "HTTPS://secretsmanager.example.test:8443/x",
        "http://127.0.0.1:5000",
        "http://127.9.9.9",
        "http://localhost:5000",
        "http://[::1]:5000",
    ],
)
def test_an_endpoint_by_https_or_on_this_machine_is_taken(endpoint):
    assert read_endpoint({VARIABLE: f" {endpoint} "}) == endpoint


def test_the_endpoint_of_all_services_is_refused_by_name():
    with pytest.raises(RuntimeError, match=f"^{GENERIC_VARIABLE} is for all services") as caught:
        from_environment(NOVA | {GENERIC_VARIABLE: "https://storage.MARKER.test"})
    assert VARIABLE in str(caught.value)
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("named", ["", " "])
def test_an_empty_variable_does_not_open_the_way_to_the_other(named):
    with pytest.raises(RuntimeError, match=GENERIC_VARIABLE):
        from_environment(NOVA | {VARIABLE: named, GENERIC_VARIABLE: "http://127.0.0.1:1"})


def test_with_an_endpoint_of_its_own_the_one_for_all_services_is_not_asked(
    stores, make_reader, monkeypatch
):
    """NOVA's S3, say, may be elsewhere: then the variable of Secrets Manager says where that is."""
    bring(make_full_client("idom"), Phase.AWS)
    monkeypatch.setenv(GENERIC_VARIABLE, "http://127.0.0.1:1")

    reader = make_reader()

    assert reader.get_credential("idom", "database").db_password == "example-password-1"


def test_the_plans_class_asks_nothing_of_the_endpoint_of_all_services(aws, monkeypatch):
    """The attack: boto3 took it unseen, and sent it what was written."""
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv(GENERIC_VARIABLE, aws.endpoint)

    with pytest.raises(RuntimeError, match=f"^{GENERIC_VARIABLE} is for all services"):
        ClientSecretsManager()


@pytest.mark.parametrize(
    "lines",
    [
        ["[default]", "endpoint_url = http://127.0.0.1:1"],
        ["[default]", "services = of-nova", "[services of-nova]", "secrets_manager =",
         "  endpoint_url = http://127.0.0.1:1"],
    ],
    ids=["of all services", "of this service"],
)  # fmt: skip
def test_an_endpoint_in_boto3s_file_is_refused_unless_the_variable_names_one(
    tmp_path, monkeypatch, lines
):
    (tmp_path / "config").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    named = "https://secretsmanager.eu-west-1.amazonaws.com"
    monkeypatch.setenv(VARIABLE, named)
    forget_sessions()
    try:
        assert ClientSecretsManager("eu-west-1").sm.meta.endpoint_url == named
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(RuntimeError, match=r"^endpoint_url in boto3's configuration file"):
            ClientSecretsManager("eu-west-1")
    finally:
        forget_sessions()


def forget_sessions() -> None:
    """A session reads the file once."""
    session.own_session.cache_clear()
    session.own_botocore_session.cache_clear()


def test_an_endpoint_for_s3_in_boto3s_file_disturbs_nobody(tmp_path, monkeypatch):
    lines = ["[default]", "services = x", "[services x]", "s3 =", "  endpoint_url = http://x.test"]
    (tmp_path / "config").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv(VARIABLE)
    assert GENERIC_VARIABLE not in os.environ
    forget_sessions()
    try:
        url = ClientSecretsManager("eu-west-1").sm.meta.endpoint_url
    finally:
        forget_sessions()
    assert url == "https://secretsmanager.eu-west-1.amazonaws.com"
