"""Lets a pacer keep the calls of an AWS client to a rate. Knows no rate and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from nova_credentials.aws.answers import ErrorClass, SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import OperationModel
    from mypy_boto3_secretsmanager import SecretsManagerClient

    # As botocore's event has it: the HTTP response and its parsed body; None where no answer came.
    _RawAnswer: TypeAlias = tuple[object, Mapping[str, Mapping[str, str]]] | None


class Pacer(Protocol):
    """Keeps calls to a rate: `wait` comes before each attempt, botocore's retries too, `throttled` after a refusal."""

    def wait(self, operation: str) -> None: ...

    def throttled(self, operation: str) -> None: ...


def register_pacer(client: SecretsManagerClient, pacer: Pacer) -> None:
    """Have each attempt of a call wait for the pacer, and tell it of calls that AWS throttled."""

    def before_send(event_name: str, **_: object) -> None:
        pacer.wait(event_name.rpartition(".")[2])

    def after_answer(response: _RawAnswer, operation: OperationModel, **_: object) -> None:
        code = response[1].get("Error", {}).get("Code", "") if response else ""
        if (
            code
            and SecretsManagerError.from_code(code, operation.name, "").error_class
            == ErrorClass.THROTTLED
        ):
            pacer.throttled(operation.name)

    client.meta.events.register("before-send.secrets-manager", before_send)
    client.meta.events.register_first("needs-retry.secrets-manager", after_answer)
