"""AWS's calls: batches, descriptions, tags, deletion and tokens."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from nova_credentials.aws import ErrorClass, SecretsManagerError
from nova_credentials.document import DocumentError
from tests.nova_credentials.secrets_manager.managers import MARK, NAME, everything, versions


def test_a_batch_answers_every_name_exactly_once_and_in_order(sm):
    names = [f"nova/clients/c{number}" for number in range(45)]
    for name in names:
        sm.create_secret(name, json.dumps({"client_name": name}), slug="c")
    arn = sm.get_value(names[3]).arn
    sm.schedule_deletion(names[7])
    asked = [*reversed(names), "nova/clients/none", arn, "not legal", names[0]]
    answers = sm.batch_get(asked)
    assert list(answers) == list(dict.fromkeys(asked))
    for name in set(names) - {names[7]}:
        assert (answers[name].name, answers[name].to_document()) == (name, {"client_name": name})
    assert answers[arn] == answers[names[3]]
    assert answers[names[7]].code == "InvalidRequestException"
    assert answers["nova/clients/none"].not_found
    assert answers["nova/clients/none"].name == "nova/clients/none"
    assert answers["not legal"].error_class is ErrorClass.DATA
    assert sm.batch_get([]) == {}


def test_a_batch_asks_for_twenty_names_a_call(faulty, faults):
    faulty.batch_get(f"nova/clients/c{number}" for number in range(41))
    assert faults.calls == ["BatchGetSecretValue"] * 3


def test_a_call_that_fails_whole_is_the_error_of_each_of_its_names(stubbed):
    sm, stub = stubbed
    stub.add_client_error("batch_get_secret_value", "AccessDeniedException", MARK)
    answers = sm.batch_get(["a", "b"])
    assert [(e.name, e.error_class, e.operation) for e in answers.values()] == [
        ("a", ErrorClass.PERMISSION, "BatchGetSecretValue"),
        ("b", ErrorClass.PERMISSION, "BatchGetSecretValue"),
    ]


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "InvalidParameterException"])
def test_one_bad_name_does_not_speak_for_the_other_names_of_its_call(stubbed, code):
    sm, stub = stubbed
    stub.add_client_error("batch_get_secret_value", code)
    stub.add_client_error("get_secret_value", code)
    good = {"ARN": "arn:of-the-good-secret", "Name": "good", "VersionId": "v" * 32}
    stub.add_response("get_secret_value", {**good, "SecretString": "{}"})
    answers = sm.batch_get(["bad", "good"])
    assert answers["bad"].code == code
    assert answers["good"].to_document() == {}


def test_a_name_that_a_batch_leaves_out_is_no_answer_rather_than_no_secret(stubbed):
    sm, stub = stubbed
    stub.add_response("batch_get_secret_value", {"SecretValues": [], "Errors": []})
    answer = sm.batch_get(["a"])["a"]
    assert (answer.code, answer.error_class) == ("NoAnswer", ErrorClass.UNAVAILABLE)
    assert not answer.not_found


def test_a_binary_secret_has_no_text_and_is_no_document(sm):
    sm.sm.create_secret(Name=NAME, SecretBinary=b"example")
    value = sm.get_value(NAME)
    assert value.text is None
    with pytest.raises(DocumentError, match=NAME):
        value.to_document()


def test_a_version_is_read_by_its_stage_and_is_none_where_there_is_none(sm):
    sm.create_secret(NAME, '{"first": 1}', slug="idom")
    assert sm.get_stage(NAME, "AWSPREVIOUS") is None
    sm.put_value(NAME, '{"second": 2}')
    sm.put_aside(NAME, '{"aside": 3}', stage="NOVA_REPLACED")

    assert sm.get_stage(NAME, "AWSPREVIOUS").text == '{"first": 1}'
    assert sm.get_stage(NAME, "NOVA_REPLACED").text == '{"aside": 3}'
    assert sm.get_stage("nova/clients/nobody", "AWSPREVIOUS") is None
    with pytest.raises(SecretsManagerError):
        sm.get_stage("not a name", "AWSPREVIOUS")


def test_a_description_tells_versions_tags_and_deletion(sm):
    first = sm.create_secret(NAME, "one", slug="idom")
    second = sm.put_value(NAME, "two")
    description = sm.describe_secret(NAME)
    assert (description.name, description.arn) == (NAME, first.arn)
    assert description.versions == {
        first.version_id: ("AWSPREVIOUS",),
        second: ("AWSCURRENT",),
    }
    assert description.deleted_at is None
    assert (sm.get_value(NAME).text, sm.get_value(NAME).version_id) == ("two", second)


def test_a_secret_of_somebody_else_is_not_ours_until_it_is_tagged(sm):
    sm.sm.create_secret(Name=NAME, SecretString="{}")
    assert not sm.describe_secret(NAME).has_our_tag
    sm.tag_secret(NAME, slug="idom")
    assert sm.describe_secret(NAME).has_our_tag
    assert sm.describe_secret(NAME).tags["Client"] == "idom"


def test_a_scheduled_deletion_can_be_taken_back(sm):
    sm.create_secret(NAME, "one", slug="idom")
    deleted_at = sm.schedule_deletion(NAME, days=7)
    assert abs(deleted_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(hours=1)
    assert sm.describe_secret(NAME).deleted_at is not None
    for call in (
        lambda: sm.get_value(NAME),
        lambda: sm.put_value(NAME, MARK),
        lambda: sm.create_secret(NAME, MARK, slug="idom"),
        lambda: sm.tag_secret(NAME, slug="idom"),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert refusal.value.error_class is ErrorClass.CONFLICT
        assert not refusal.value.not_found
        assert MARK not in everything(refusal.value)
    sm.restore_secret(NAME)
    assert sm.get_value(NAME).text == "one"


def test_a_repeated_token_changes_nothing(sm):
    token = str(uuid4())
    first = sm.create_secret(NAME, "one", slug="idom", token=token)
    assert sm.create_secret(NAME, "one", slug="idom", token=token) == first
    token = str(uuid4())
    assert sm.put_value(NAME, "two", token=token) == sm.put_value(NAME, "two", token=token) == token
    assert len(versions(sm)) == 2


def test_a_token_of_an_older_version_is_a_conflict_as_it_does_not_become_current(sm):
    token = str(uuid4())
    sm.create_secret(NAME, "one", slug="idom", token=token)
    sm.put_value(NAME, "two")
    with pytest.raises(SecretsManagerError) as refusal:
        sm.put_value(NAME, "one", token=token)
    assert (refusal.value.code, refusal.value.error_class) == ("NotCurrent", ErrorClass.CONFLICT)
    assert sm.get_value(NAME).text == "two"


def test_a_token_of_another_value_is_a_conflict(sm):
    token = str(uuid4())
    sm.create_secret(NAME, "one", slug="idom", token=token)
    with pytest.raises(SecretsManagerError) as refusal:
        sm.put_value(NAME, MARK, token=token)
    assert refusal.value.error_class is ErrorClass.CONFLICT
    assert MARK not in everything(refusal.value)


@pytest.mark.parametrize(
    "missing",
    [
        "get_value",
        "describe_secret",
        "restore_secret",
        "schedule_deletion",
        "put_value",
        "tag_secret",
    ],
)
def test_what_there_is_not_is_not_found(sm, missing):
    arguments = {"put_value": {"text": MARK}, "tag_secret": {"slug": "idom"}}.get(missing, {})
    with pytest.raises(SecretsManagerError) as refusal:
        getattr(sm, missing)(NAME, **arguments)
    assert refusal.value.not_found
    assert refusal.value.error_class is ErrorClass.CONFLICT
    assert MARK not in everything(refusal.value)
