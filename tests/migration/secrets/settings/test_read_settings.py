"""NOVA_KMS_KEY_ID and NOVA_REPLICA_REGIONS as the environment has them: what can't be is refused at the start."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from nova_admin.environment import SECRET_VARIABLES, Environment, parse_region, read_secret_settings

ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:us-east-1:123456789012:key/{ID}"
MULTI = f"mrk-{'a' * 32}"


@pytest.fixture
def read(monkeypatch):
    def read_with(key: str = "", regions: str = ""):
        monkeypatch.setenv("NOVA_KMS_KEY_ID", key)
        monkeypatch.setenv("NOVA_REPLICA_REGIONS", regions)
        monkeypatch.delenv("AWS_REGION", raising=False)
        return read_secret_settings(
            Environment(AWS_REGION=(parse_region, "us-east-1"), **SECRET_VARIABLES)
        )

    return read_with


@pytest.mark.parametrize(
    ("key", "regions", "read_as"),
    [
        ("", "", ("", None)),
        ("", "none", ("", {})),
        (ARN, "None", (ARN, {})),
        ("", "eu-west-1, eu-west-2", ("", {"eu-west-1": "", "eu-west-2": ""})),
        # A replica gets what the secret has, where another region can have that.
        ("alias/nova", "eu-west-1", ("alias/nova", {"eu-west-1": "alias/nova"})),
        (MULTI, "eu-west-1", (MULTI, {"eu-west-1": MULTI})),
        # Of another account's key, perhaps: it stays that account's.
        (
            ARN.replace(f"key/{ID}", "alias/nova"),
            "eu-west-1",
            (
                ARN.replace(f"key/{ID}", "alias/nova"),
                {"eu-west-1": "arn:aws:kms:eu-west-1:123456789012:alias/nova"},
            ),
        ),
        (ARN, f"eu-west-1={ID}", (ARN, {"eu-west-1": ID})),
        (
            ARN,
            "eu-west-1=alias/aws/secretsmanager",
            (ARN, {"eu-west-1": "alias/aws/secretsmanager"}),
        ),
    ],
)
def test_what_is_set_is_read(read, key, regions, read_as):
    assert read(key, regions) == read_as


@pytest.mark.parametrize(
    ("key", "regions", "why"),
    [
        ("nova", "", "NOVA_KMS_KEY_ID"),
        (ARN.replace("us-east-1", "eu-west-1"), "", "names a KMS key in eu-west-1"),
        ("", "us-east-1", "where the secrets are"),
        ("", "eu-west-1,eu-west-1", "NOVA_REPLICA_REGIONS"),
        ("", "Frankfurt!", "NOVA_REPLICA_REGIONS"),
        ("", "eu-west-1=nova", "NOVA_REPLICA_REGIONS"),
        ("", " , ", "NOVA_REPLICA_REGIONS is without a region; none wants none"),
        ("", "none,eu-west-1", "NOVA_REPLICA_REGIONS"),
        ("", f"eu-west-1={ARN}", "names a KMS key in us-east-1"),
        # A key of one region would leave the replica under AWS's own, which nobody asked for.
        (ARN, "eu-west-1", "names no key for eu-west-1"),
    ],
)
def test_what_can_not_be_is_refused(read, key, regions, why):
    with pytest.raises(ImproperlyConfigured, match=why):
        read(key, regions)
