"""Processes that have set the site up once, and fork another for each command: a fifth of the time that it takes else.

Such a command reads its settings anew, as `manage.py` does. What stays from before is what `django.setup()` imports:
the apps, the pages, the commands and the schema migrations. So they serve those commands alone whose surroundings
differ from the run's own in nothing but keys, stores and limits. One is set up for development, one as in production.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from multiprocessing.connection import Client, Connection, Listener, wait
from multiprocessing.context import ForkServerContext
from typing import TypeAlias

from tests.templates import RUN

Command: TypeAlias = tuple[Callable[..., None], tuple[object, ...], float]

# Without them no site is set up, and nothing asks for them meanwhile.
NEEDED = {
    "DATABASE_URL": "postgresql:///unused",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://127.0.0.1:1",
    "SECRET_KEY": os.environ.get("SECRET_KEY", ""),
    **dict.fromkeys(("ALLOWED_HOSTS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "unused"),
}
# What each command may be told for itself: nothing that is imported keeps it.
OF_A_COMMAND = {
    *NEEDED,
    *("DJANGO_SETTINGS_MODULE", "LOG_LEVEL", "NOVA_DATABASE_URL", "NOVA_ENV_FILE", "NO_PROXY", "no_proxy"),
    *("NOVA_AUDIT_KEY", "NOVA_CLEAN_STREAK", "NOVA_DUAL_READ_HOURS", "NOVA_FINGERPRINT_KEY", "NOVA_MIN_READS"),
    *("NOVA_AWS_READS_PER_SECOND", "NOVA_AWS_WRITES_PER_SECOND", "NOVA_PURGE_AFTER_DAYS", "PYTEST_CURRENT_TEST"),
    *("AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE"),
    *("CSRF_TRUSTED_ORIGINS", "HTTPS_PROXY", "https_proxy"),
}  # fmt: skip


def without_own(environment: dict[str, str]) -> dict[str, str]:
    return {name: each for name, each in environment.items() if each and name not in OF_A_COMMAND}


# As they are before the first test changes one; in production other apps are installed.
SURROUNDINGS = without_own(dict(os.environ))
# Where the processes listen: for commands of the run's own surroundings (False), and of production.
ADDRESSES: dict[bool, str] = {}


def fits(environment: dict[str, str]) -> bool:
    """Say whether a command with this environment can be a fork of one of the run's two processes."""
    debug = {"DEBUG": environment.get("DEBUG") or SURROUNDINGS.get("DEBUG", "")}
    return RUN in environment and without_own(environment | debug) == SURROUNDINGS


@cache
def start_site(forking: ForkServerContext, *, in_production: bool) -> None:
    """Start the process, which ends with this one, and note where it listens."""
    pipe, theirs = forking.Pipe()
    args = (theirs, SURROUNDINGS, in_production)
    forking.Process(target=serve, args=args, daemon=True).start()
    theirs.close()
    ADDRESSES[in_production] = pipe.recv()
    _pipes.append(pipe)


_pipes: list[Connection] = []


def run(environment: dict[str, str], command: Command) -> int | None:
    """Run the function in a fork; return its exit code, or nothing where it took longer and was killed."""
    with Client(ADDRESSES[not environment.get("DEBUG")]) as site:
        site.send(command)
        code: int | None = site.recv()
    return code


def serve(pipe: Connection, surroundings: dict[str, str], in_production: bool) -> None:
    """Set the site up, then run what comes, each command in a fork, until the other end of the pipe is closed."""
    os.environ.clear()
    os.environ.update(surroundings | NEEDED | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"})
    if in_production:
        del os.environ["DEBUG"]
    multiprocessing.current_process().daemon = False  # one that is has no children
    set_up()
    fork = multiprocessing.get_context("fork")
    with Listener() as listener:
        SURROUNDINGS.clear()
        SURROUNDINGS.update(surroundings)
        ADDRESSES[in_production] = str(listener.address)
        pipe.send(listener.address)
        while pipe not in wait([pipe, listener._listener._socket]):
            with listener.accept() as connection:
                fork.Process(target=run_one, args=(connection,)).start()


def run_one(connection: Connection) -> None:
    target, args, seconds = connection.recv()
    process = multiprocessing.get_context("fork").Process(target=target, args=args, daemon=True)
    process.start()
    process.join(seconds)
    ended = not process.is_alive()
    if not ended:
        process.kill()
        process.join()
    connection.send(process.exitcode if ended else None)


def set_up() -> None:
    """Import all that a command needs, and forget the settings with which that was done."""
    import django
    from django.conf import empty, settings
    from django.core.management import get_commands, load_command_class
    from django.db import connections
    from django.db.migrations.loader import MigrationLoader
    from django_q.conf import Conf

    settings.LOGGING_CONFIG = None  # a command that reads its settings has no log yet
    django.setup()
    import_module(settings.ROOT_URLCONF)
    for name, app in get_commands().items():
        if app in ("django.core", "credentials", "migration"):
            load_command_class(app, name)
    MigrationLoader(None)
    Conf.SECRET_KEY = KeyOfCommand()  # it keeps the one that it was imported with

    for connection in connections.all(initialized_only=True):
        assert connection.connection is None
        del connections[connection.alias]
    connections._settings = None
    connections.__dict__.pop("settings", None)
    settings._wrapped = empty
    del sys.modules["nova_admin.settings"]
    gc.collect()
    gc.freeze()


class KeyOfCommand:
    def __get__(self, _instance: object, _owner: type) -> str:
        from django.conf import settings

        return str(settings.SECRET_KEY)
