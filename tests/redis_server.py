"""Debian's redis-server, on the loopback address. CI installs it; see `.ci/run`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.hosts import ROOT, RUN_WHILE_PARENT_LIVES, kill_group

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

REDIS_SERVER = shutil.which("redis-server")
HOW_TO_GET_IT = "there is no redis-server: apt-get install redis-server"
SECONDS = 300


def do_without() -> None:
    """Skips the test that wants Redis, or fails it where CI has installed it."""
    import pytest

    if os.environ.get("REQUIRE_REDIS"):
        pytest.fail(HOW_TO_GET_IT)
    pytest.skip(HOW_TO_GET_IT)


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@dataclass
class RedisServer:
    """A Redis that keeps nothing on the disk: after a kill it starts empty, at the same address."""

    folder: Path
    port: int = field(default_factory=find_free_port)
    runner: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, login: str = "", database: int = 0) -> str:
        """Return its address for this login (`user:password@`) and database."""
        return f"redis://{login}127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self.runner = subprocess.Popen(
            [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), REDIS_SERVER or "redis-server",
             "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self.folder)],
            cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while not self.answers():
            if time.monotonic() > deadline or self.runner.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.05)

    def answers(self) -> bool:
        import redis

        with suppress(redis.ConnectionError), redis.Redis("127.0.0.1", self.port) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        """End it by SIGKILL, with all that is queued in it."""
        runner, self.runner = self.runner, None
        kill_group(runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.runner:
            self.runner.terminate()
            self.runner.wait(SECONDS)
