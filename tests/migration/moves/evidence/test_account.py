"""What the AWS account may do is asked once a run and KMS key, where many clients move."""

import pytest

from migration.core.aws_store import secrets_manager
from migration.moves.account import KmsAnswers, find_account_problem
from migration.moves.gates import ACCOUNT_NOT_READY
from migration.pushes.comparisons import compare
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import LINE, NAME, codes, enter_phase
from tests.migration.moves.runs.moved import codes_of, make_clients, move_all

pytestmark = pytest.mark.usefixtures("stores")

NAMES = [f"nova/clients/c{number}" for number in range(3)]


@pytest.fixture
def clients(stores) -> None:
    for number in range(3):
        enter_phase(make_full_client(f"c{number}"), Phase.DUAL_WRITE)


@pytest.fixture
def puts(monkeypatch) -> list[str]:
    """The secrets that are written."""
    names: list[str] = []
    put = SecretsManager.put_value

    def counting(self, name: str, text: str, **options: str) -> str:
        names.append(name)
        return put(self, name, text, **options)

    monkeypatch.setattr(SecretsManager, "put_value", counting)
    return names


@pytest.mark.usefixtures("clients")
def test_a_run_tries_one_secret_of_a_key(puts):
    answers = KmsAnswers()

    for name in NAMES:
        assert find_account_problem([name], writes=True, answers=answers) is None

    assert puts == NAMES[:1]


@pytest.mark.usefixtures("clients")
def test_a_single_move_tries_its_own_secrets(puts):
    for name in NAMES:
        assert find_account_problem([name], writes=True) is None

    assert puts == NAMES


def test_so_it_does_where_they_share_a_key(settings, monkeypatch):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    compare(client_ids=[pk])
    put = SecretsManager.put_value

    def refuse_one(self, name: str, *args, **options):
        if name == f"{NAME}/email":
            raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", name)
        return put(self, name, *args, **options)

    monkeypatch.setattr(SecretsManager, "put_value", refuse_one)

    assert "account_not_ready" in codes(pk, Phase.AWS)


@pytest.mark.parametrize("new", [Phase.DUAL_READ, Phase.AWS])
@pytest.mark.parametrize("in_run", [False, True])
def test_aws_that_gives_no_answer_is_not_waited_for_again(monkeypatch, new, in_run):
    """With each client of a batch it would take as long as with the first."""
    old = LINE[LINE.index(new) - 1]
    pks, asked = make_clients(2, old), list[str]()

    def fail(_self, name: str, *_, **__):
        asked.append(name)
        raise SecretsManagerError.from_code("InternalServiceError", "GetSecretValue", name)

    def fail_each(_self, names):
        return {
            name: SecretsManagerError.from_code("InternalServiceError", "BatchGetSecretValue", name)
            for name in names
        }

    monkeypatch.setattr(SecretsManager, "batch_get", fail_each)
    for call in ("get_value", "describe_secret"):
        monkeypatch.setattr(SecretsManager, call, fail)

    if in_run:
        run = move_all(old, new)
        assert ACCOUNT_NOT_READY.key in codes_of(run, "client-1")
        assert run.items.first().error_class == "unavailable"
    else:
        assert "account_not_ready" in codes(pks[1], new)
    assert asked == []


@pytest.mark.usefixtures("clients")
def test_a_refusal_holds_for_its_batch_alone(monkeypatch):
    def refuse(_self, name: str, *_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", name)

    answers = KmsAnswers()
    with monkeypatch.context() as refused:
        refused.setattr(SecretsManager, "put_value", refuse)
        assert find_account_problem(NAMES[:1], writes=True, answers=answers)
    assert find_account_problem(NAMES[1:2], writes=True, answers=answers)

    answers = answers.begin_batch_without_refusals()

    assert find_account_problem(NAMES[1:2], writes=True, answers=answers) is None


@pytest.mark.usefixtures("clients")
def test_a_value_that_may_not_be_read_is_a_problem_of_the_account(monkeypatch):
    def refuse(_self, name: str, *_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "GetSecretValue", name)

    monkeypatch.setattr(SecretsManager, "get_value", refuse)

    problem = find_account_problem(NAMES[:1], writes=False)

    assert (problem.code, problem.name) == ("AccessDeniedException", NAMES[0])


@pytest.mark.usefixtures("clients")
def test_each_key_is_tried(puts, monkeypatch):
    describe = SecretsManager.describe_secret

    def with_key(self, name: str):
        found = describe(self, name)
        object.__setattr__(found, "kms_key", "other" if name == NAMES[1] else "")
        return found

    monkeypatch.setattr(SecretsManager, "describe_secret", with_key)
    answers = KmsAnswers()

    for name in NAMES:
        find_account_problem([name], writes=True, answers=answers)

    assert puts == NAMES[:2]


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(
    ("code", "asked"), [("AccessDeniedException", 1), ("ThrottlingException", 3)]
)
def test_a_refusal_is_kept_for_the_run_and_what_passes_by_itself_is_not(monkeypatch, code, asked):
    tried: list[str] = []

    def refuse(_self, name: str, *_, **__):
        tried.append(name)
        raise SecretsManagerError.from_code(code, "PutSecretValue", name)

    monkeypatch.setattr(SecretsManager, "put_value", refuse)
    answers = KmsAnswers()

    problems = [find_account_problem([name], writes=True, answers=answers) for name in NAMES]

    assert [(problem.code, problem.name) for problem in problems] == [(code, n) for n in NAMES]
    assert len(tried) == asked


def test_a_secret_that_is_not_there_is_no_problem():
    assert find_account_problem(NAMES, writes=True, answers=KmsAnswers()) is None


@pytest.mark.usefixtures("clients")
def test_a_secret_without_a_value_says_nothing_about_the_others(puts):
    """As Terraform makes one: nothing is there with which writing could be tried."""
    secrets_manager().sm.create_secret(Name="nova/clients/empty")
    answers = KmsAnswers()

    for name in ("nova/clients/empty", *NAMES):
        assert find_account_problem([name], writes=True, answers=answers) is None

    assert puts == NAMES[:1]


@pytest.fixture
def calls(stores) -> dict[str, int]:
    """The calls of AWS by operation, from now on."""
    made: dict[str, int] = {}

    def count(model, **_) -> None:
        made[model.name] = made.get(model.name, 0) + 1

    secrets_manager().sm.meta.events.register("before-call.secrets-manager", count)
    yield made
    secrets_manager().sm.meta.events.unregister("before-call.secrets-manager", count)


@pytest.mark.usefixtures("clients")
def test_a_run_reads_one_secret_of_a_key(monkeypatch):
    get, read = SecretsManager.get_value, []
    monkeypatch.setattr(
        SecretsManager, "get_value", lambda self, name: read.append(name) or get(self, name)
    )
    answers = KmsAnswers()

    for name in NAMES:
        assert find_account_problem([name], writes=False, answers=answers) is None

    assert read == NAMES[:1]


@pytest.mark.usefixtures("clients")
def test_the_keys_of_many_are_listed_and_nobody_is_described(calls):
    answers = KmsAnswers()

    answers.read_keys_of_secrets(NAMES, sm=secrets_manager())

    assert answers.keys == dict.fromkeys(NAMES, "")
    assert calls == {"ListSecrets": 1}


@pytest.mark.usefixtures("clients")
def test_what_is_not_listed_is_described(calls):
    """A secret that is scheduled for deletion, and one that is not there."""
    secrets_manager().schedule_deletion(NAMES[0])
    calls.clear()
    answers = KmsAnswers()

    answers.read_keys_of_secrets([*NAMES, "nova/clients/c4"], sm=secrets_manager())

    assert answers.find_key_of_secret(NAMES[0], sm=secrets_manager()) == ""
    with pytest.raises(SecretsManagerError, match="ResourceNotFound"):
        answers.find_key_of_secret("nova/clients/c4", sm=secrets_manager())
    assert calls == {"ListSecrets": 1, "DescribeSecret": 2}


@pytest.mark.usefixtures("clients")
def test_where_the_account_may_not_list_each_is_described(calls, monkeypatch):
    def refuse(_self, prefixes: list[str], _page: str):
        raise SecretsManagerError.from_code("AccessDeniedException", "ListSecrets", prefixes[0])

    monkeypatch.setattr(SecretsManager, "list_kms_keys_of_secrets", refuse)
    answers = KmsAnswers()

    answers.read_keys_of_secrets(NAMES, sm=secrets_manager())

    assert answers.keys == dict.fromkeys(NAMES, "")
    assert calls == {"DescribeSecret": 3}


def test_a_name_with_more_longer_ones_than_a_page_is_found(calls):
    """To AWS's list a name is how names begin. The short one was made last, so it is listed last."""
    sm = secrets_manager()
    names = [f"nova/clients/c{number:03}" for number in range(120)]
    for name in [*names, "nova/clients/c"]:
        sm.sm.create_secret(Name=name)
    sm.sm.update_secret(SecretId="nova/clients/c", KmsKeyId="alias/example-key")
    calls.clear()
    answers = KmsAnswers()

    answers.read_keys_of_secrets(["nova/clients/c", *names[:3]], sm=sm)

    assert answers.keys == {"nova/clients/c": "alias/example-key"} | dict.fromkeys(names[:3], "")
    assert calls == {"ListSecrets": 2}
