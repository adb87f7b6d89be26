"""Two names of KMS keys: of one key, of two, or nobody can tell."""

import pytest

from nova_credentials.aws.kms_keys import AWS_KEY, KeyName, is_same_key

ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:us-east-1:123456789012:key/{ID}"
ALIAS_ARN = "arn:aws:kms:us-east-1:123456789012:alias/nova"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ID, ID, True),
        (ID, ID.upper(), True),
        (ID, ARN, True),
        (ARN, ARN.replace("us-east-1", "eu-west-1"), False),
        (ARN, ARN.replace("123456789012", "210987654321"), False),
        (ID, ID.replace("a", "b"), False),
        ("alias/nova", ALIAS_ARN, True),
        ("alias/nova", "alias/other", False),
        ("alias/nova", "alias/Nova", False),
        ("alias/nova", ID, None),
        (ALIAS_ARN, ARN, None),
        ("", AWS_KEY, True),
        ("", ID, False),
        (AWS_KEY, ARN, False),
        ("", "alias/nova", False),
        ("what AWS may answer one day", ID, False),
    ],
)
def test_names_are_compared_and_what_can_not_be_told_is_said(one, other, same):
    assert is_same_key(one, other) is same
    assert is_same_key(other, one) is same


@pytest.mark.parametrize("text", ["nova", "alias/", "arn:aws:kms:us-east-1:1:key/x", "1234", "a b"])
def test_what_names_no_key_is_refused(text):
    with pytest.raises(ValueError, match="not a KMS key"):
        KeyName.parse(text)


def test_only_an_alias_and_a_multi_region_key_can_be_in_another_region():
    key = f"mrk-{'a' * 32}"
    for name, there in (
        ("alias/nova", "alias/nova"),
        (key, key),
        (ID, ""),
        (ARN, ""),
        # The bare name would be a key of the secret's own account.
        (ALIAS_ARN, ALIAS_ARN.replace("us-east-1", "eu-west-1")),
        (ARN.replace(ID, key), ARN.replace(ID, key).replace("us-east-1", "eu-west-1")),
    ):
        assert KeyName.parse(name).find_name_in_region("eu-west-1") == there
