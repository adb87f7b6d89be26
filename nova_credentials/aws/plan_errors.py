"""Makes our error one of boto3's too, as the plan's code catches those. Needs botocore only once AWS has failed."""

from __future__ import annotations

from functools import cache, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

from nova_credentials.aws.answers import ErrorClass, SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

_P = ParamSpec("_P")
_Answer = TypeVar("_Answer")
_Arguments = tuple[ErrorClass, str, str, str]


class _HasClient(Protocol):
    @property
    def client(self) -> SecretsManagerClient: ...


_Self = TypeVar("_Self", bound=_HasClient)


def raise_as_boto3(
    method: Callable[Concatenate[_Self, _P], _Answer],
) -> Callable[Concatenate[_Self, _P], _Answer]:
    """Have a method's SecretsManagerErrors be caught by `except ClientError` and `except client.exceptions.…` too."""

    @wraps(method)
    def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Answer:
        try:
            return method(self, *args, **kwargs)
        except SecretsManagerError as error:
            given = (error.error_class, error.code, error.operation, error.name)
        # Raised out here, so that nothing is in its chain.
        raise _make_error(given, self.client)

    return call


def _make_error(
    given: _Arguments, client: SecretsManagerClient | None = None
) -> SecretsManagerError:
    """Make the error; without a client it is a plain ClientError, as in another process that unpickles it."""
    from botocore import exceptions

    code = given[1]
    named = getattr(exceptions, code, None)
    if isinstance(named, type) and issubclass(named, exceptions.BotoCoreError):
        return _make_class(exceptions.BotoCoreError)(*given)
    # Each client has classes of its own.
    of_client = client.exceptions.from_code(code) if client else exceptions.ClientError
    return _make_class(of_client)(*given)


@cache
def _make_class(boto3_class: type[Exception]) -> type[SecretsManagerError]:
    methods = {"__init__": _initialize, "__reduce__": _reduce, "__module__": __name__}
    made = type("SecretsManagerError", (SecretsManagerError, boto3_class), methods)
    return cast("type[SecretsManagerError]", made)


def _initialize(
    self: SecretsManagerError, error_class: ErrorClass, code: str, operation: str, name: str
) -> None:
    SecretsManagerError.__init__(self, error_class, code, operation, name)
    # The attributes of a ClientError, with our own text: AWS's can echo a value.
    response = {"Error": {"Code": code, "Message": str(self)}}
    vars(self).update(response=response, operation_name=operation, kwargs={})


def _reduce(
    self: SecretsManagerError,
) -> tuple[Callable[[_Arguments], Exception], tuple[_Arguments]]:
    return _make_error, ((self.error_class, self.code, self.operation, self.name),)
