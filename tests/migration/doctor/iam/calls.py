"""What a call of Secrets Manager needs to be allowed for, and a server that asks policies as AWS does."""

import io
import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from nova_admin.embedded.service import ACCOUNT, SecretsManagerService, _read_region
from nova_credentials.aws.kms_keys import AWS_KEY
from tests.migration.doctor.iam.evaluator import Request, allows

WITHOUT_RESOURCE = ("BatchGetSecretValue", "ListSecrets", "GetRandomPassword")
# AWS appends such a suffix; a name without a secret may be judged with or without one.
A_SUFFIX = "-a1B2c3"
CALLERS = {"nova-admin": "admin", "nova-reader": "reader"}


def needed_requests(
    operation: str, parameters: dict[str, Any], secrets: Any, region: str
) -> Iterator[Request]:
    """Everything that has to be allowed for this call, by the secrets as they are before it."""
    action = f"secretsmanager:{operation}"
    if operation in WITHOUT_RESOURCE:
        yield Request(action, "*")
        for name in parameters.get("SecretIdList", ()):
            yield from needed_requests("GetSecretValue", {"SecretId": name}, secrets, region)
        return
    identifier = parameters.get("SecretId") or parameters["Name"]
    secret = secrets.get(identifier)
    context = dict(_context(operation, parameters, secret))
    actions = [action]
    if operation == "CreateSecret" and parameters.get("Tags"):
        actions.append("secretsmanager:TagResource")
    if operation == "CreateSecret" and parameters.get("AddReplicaRegions"):
        actions.append("secretsmanager:ReplicateSecretToRegions")
    for resource in _resources(identifier, secret, region):
        for each in actions:
            yield Request(each, resource, context)
    yield from _key_requests(operation, parameters, secret, region)


def _resources(identifier: str, secret: Any, region: str) -> list[str]:
    if secret is not None:
        return [secret.arn]
    start = f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:"
    name = identifier.removeprefix(start)
    return [start + name, start + name + A_SUFFIX]


def _context(
    operation: str, parameters: dict[str, Any], secret: Any
) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    for tag in (secret.tags if secret is not None else None) or ():
        yield f"secretsmanager:ResourceTag/{tag['Key']}", tag["Value"]
        yield f"aws:ResourceTag/{tag['Key']}", tag["Value"]
    sent = parameters.get("Tags") or ()
    if operation in ("CreateSecret", "TagResource"):
        for tag in sent:
            yield f"aws:RequestTag/{tag['Key']}", tag["Value"]
        yield "aws:TagKeys", tuple(tag["Key"] for tag in sent)
    if replicas := parameters.get("AddReplicaRegions"):
        yield "secretsmanager:AddReplicaRegions", tuple(each["Region"] for each in replicas)
    for name in ("RecoveryWindowInDays", "ForceDeleteWithoutRecovery", "VersionStage"):
        if name in parameters:
            yield f"secretsmanager:{name}", str(parameters[name]).lower()


def _key_requests(
    operation: str, parameters: dict[str, Any], secret: Any, region: str
) -> Iterator[Request]:
    """A secret with a key of its own: Secrets Manager asks KMS in the caller's name."""
    key = parameters.get("KmsKeyId") or (secret.kms_key_id if secret is not None else None)
    asked = {
        "GetSecretValue": ["kms:Decrypt"],
        "PutSecretValue": ["kms:GenerateDataKey", "kms:Decrypt"],
        "UpdateSecret": ["kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt"],
    }
    if not key or secret is None or key == AWS_KEY:
        return
    arn = key if key.startswith("arn:") else f"arn:aws:kms:{region}:{ACCOUNT}:key/{key}"
    context = {
        "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret.arn,
    }
    for action in asked.get(operation, ()):
        yield Request(action, arn, context)


def find_role(user_agent: str) -> str:
    """The role of who calls, as CloudTrail would tell it; nothing for who is neither the site nor NOVA's reader."""
    words = user_agent.split()
    return next((role for name, role in CALLERS.items() if name in words), "")


def enforce(policies: dict[str, dict[str, Any]]) -> Callable[[SecretsManagerService], Any]:
    """A middleware that asks the caller's policy first. Who has no role may do everything, as an account's root."""

    def wrap(service: SecretsManagerService) -> Any:
        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            role = find_role(environ.get("HTTP_USER_AGENT", ""))
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ = environ | {"wsgi.input": io.BytesIO(body)}
            operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
            region, parameters = _read_region(environ), json.loads(body)
            secrets = service._backend_for(region).secrets
            needed = [*needed_requests(operation, parameters, secrets, region)]
            if operation == "BatchGetSecretValue" and role:
                return answer_batch(service, environ, start_response, policies[role], needed)
            if not role or all(allows([policies[role]], request) for request in needed):
                return service(environ, start_response)
            return refuse(start_response)

        return answer

    return wrap


def answer_batch(service, environ, start_response, policy, needed) -> Any:
    """The call itself may be refused; of the secrets, each by itself."""
    if not allows([policy], needed[0]):
        return refuse(start_response)
    refused = [request for request in needed[1:] if not allows([policy], request)]
    if not refused:
        return service(environ, start_response)
    names = json.loads(environ["wsgi.input"].read())["SecretIdList"]
    assert len(names) == 1, "made for one name"
    errors = [{"SecretId": name, "ErrorCode": "AccessDeniedException"} for name in names]
    return send(start_response, HTTPStatus.OK, {"SecretValues": [], "Errors": errors})


def refuse(start_response: Any) -> list[bytes]:
    answer = {"__type": "AccessDeniedException", "Message": "not authorized"}
    return send(start_response, HTTPStatus.BAD_REQUEST, answer)


def send(start_response: Any, status: HTTPStatus, answer: dict[str, Any]) -> list[bytes]:
    body = json.dumps(answer).encode()
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(body))),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
