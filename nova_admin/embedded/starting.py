"""Starts the embedded stores for `manage.py`, in development alone."""

import os

from nova_admin.embedded import aws, postgres
from nova_admin.environment import EMBEDDED_VARIABLES, LOCAL


def start_stores() -> None:
    """Start each store that the environment doesn't name, and name it there for this process and its children.

    Raises SharedServerError where one doesn't come up.
    """
    if not _is_named("DATABASE_URL"):
        _name_store("DATABASE_URL", postgres.start_server(LOCAL / "postgres"))
    if not _is_named("AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        server = aws.start_server(LOCAL / "aws")
        _name_store("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        # It knows this key only, and it is sent no other: one from the environment or `.env` may be a real one.
        os.environ["AWS_ACCESS_KEY_ID"] = server.access_key
        os.environ["AWS_SECRET_ACCESS_KEY"] = "embedded"  # noqa: S105  # not checked
        os.environ.pop("AWS_SESSION_TOKEN", None)
    endpoint = os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"]
    if endpoint == os.environ.get("NOVA_EMBEDDED_AWS"):
        # The embedded AWS needs no profile, and boto3 would refuse one that is missing, also one from a child's `.env`.
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)


def _is_named(store: str) -> bool:
    return bool(os.environ.get(store, "").strip())


def _name_store(store: str, address: str) -> None:
    os.environ[store] = os.environ[EMBEDDED_VARIABLES[store]] = address
