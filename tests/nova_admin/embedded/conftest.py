"""What the tests of the embedded parts share: clients, and processes that can be killed."""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from mypy_boto3_secretsmanager import SecretsManagerClient

from nova_admin.embedded.aws import AwsServer
from tests.settings import SCRATCH

CHECKOUT = Path(__file__).resolve().parents[3]


def connect(
    endpoint: str | None, region: str = "us-east-1", *, access_key: str = "example-key", **config
) -> SecretsManagerClient:
    return boto3.client(
        "secretsmanager",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key="example-password-1",
        config=Config(retries={"total_max_attempts": 1}, proxies={}, **config),
    )


def eventually(condition: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass
class User:
    """A process that called `start`, and what it got."""

    process: subprocess.Popen
    address: str
    access_key: str = ""

    def connect(self) -> SecretsManagerClient:
        return connect(self.address, access_key=self.access_key)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


@pytest.fixture
def use() -> Iterator[Callable[..., User]]:
    """Start a process that calls `start` of an embedded part and then waits to be ended."""
    users: list[User] = []

    def start_user(module: str, folder: Path, **kwargs) -> User:
        code = (
            f"import pathlib, sys; from nova_admin.embedded import {module}\n"
            f"got = {module}.start_server(pathlib.Path({str(folder)!r}), **{kwargs!r})\n"
            "print(*(got if isinstance(got, tuple) else [got]), flush=True)\n"
            "sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=CHECKOUT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        users.append(User(process, *process.stdout.readline().split()))
        return users[-1]

    yield start_user
    for user in users:
        user.process.kill()
        user.process.communicate()


@pytest.fixture
def server() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def sm(server: AwsServer) -> SecretsManagerClient:
    return connect(server.endpoint)


@pytest.fixture
def folder() -> Iterator[Path]:
    """For an embedded PostgreSQL: where its own user may go, and nobody takes that right away."""
    folder = SCRATCH / f"pg-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    yield folder
    assert eventually(lambda: remove(folder))


def remove(folder: Path) -> bool:
    """Whether the folder is gone: PostgreSQL's last act is to take its own files away, in our way."""
    with suppress(OSError):
        shutil.rmtree(folder)
    return not folder.exists()
