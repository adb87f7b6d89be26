"""Starts the embedded stores for `manage.py`, in development alone."""

import os
from collections.abc import Callable

from nova_admin.embedded import aws, postgres
from nova_admin.environment import EMBEDDED_VARIABLES, LOCAL

STARTS: dict[str, Callable[[], str]] = {
    "DATABASE_URL": lambda: postgres.start_server(LOCAL / "postgres"),
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": lambda: aws.start_server(LOCAL / "aws"),
}


def start_stores() -> None:
    """Start each store that the environment doesn't name, and name it there for this process and its children.

    Raises SharedServerError where one doesn't come up.
    """
    for name, start in STARTS.items():
        if not os.environ.get(name, "").strip():
            os.environ[name] = os.environ[EMBEDDED_VARIABLES[name]] = start()
    endpoint = os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"]
    if endpoint == os.environ.get("NOVA_EMBEDDED_AWS"):
        # The embedded AWS needs no profile, and boto3 would refuse one that is missing, also one from a child's `.env`.
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "embedded")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "embedded")
