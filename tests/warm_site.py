"""A process that has set the site up once, and forks another for each command: a fifth of the time that it takes else.

Such a command reads its settings anew, as `manage.py` does. What stays from before is what `django.setup()` imports:
the apps, the pages, the commands and the schema migrations. So it serves those commands alone whose surroundings differ
from the run's own in nothing but where the stores are.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from threading import Lock

from tests.templates import RUN

# What the processes of one run are told each for itself.
STORES = ("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER")
OF_THE_MOMENT = (*STORES, "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST", "NO_PROXY", "no_proxy")
# Neither is asked while the site is set up.
NOWHERE = {"DATABASE_URL": "postgresql:///unused", STORES[1]: "http://127.0.0.1:1"}


def without_stores(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in OF_THE_MOMENT}


# As they are before the first test changes one.
SURROUNDINGS = without_stores(dict(os.environ))


def fits(environment: dict[str, str]) -> bool:
    """Say whether a command with this environment can be a fork of the run's one process."""
    return RUN in environment and without_stores(environment) == SURROUNDINGS


class WarmSite:
    """This process' end of the pipe, through which one command after another runs."""

    def __init__(self, forking: ForkServerContext) -> None:
        self.pipe, theirs = forking.Pipe()
        self.lock = Lock()
        self.process = forking.Process(target=serve, args=(theirs, SURROUNDINGS), daemon=True)
        self.process.start()
        theirs.close()

    def run(
        self, target: Callable[..., None], args: tuple[object, ...], seconds: float
    ) -> int | None:
        """Run the function in a fork; return its exit code, or nothing where it took longer and was killed.

        Whoever `take`s the site runs one command.
        """
        try:
            self.pipe.send((target, args, seconds))
            code: int | None = self.pipe.recv()
        finally:
            self.lock.release()
        return code


@cache
def warm_site(forking: ForkServerContext) -> WarmSite:
    return WarmSite(forking)


def take(forking: ForkServerContext) -> WarmSite | None:
    """Return the run's one process; nothing while it runs a command: two that a test starts at once run at once."""
    site = warm_site(forking)
    return site if site.lock.acquire(blocking=False) else None


def serve(pipe: Connection, surroundings: dict[str, str]) -> None:
    """Set the site up, then run what the pipe brings, until its other end is closed."""
    os.environ.clear()
    os.environ.update(surroundings | NOWHERE | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"})
    multiprocessing.current_process().daemon = False  # one that is has no children
    set_up()
    fork = multiprocessing.get_context("fork")
    while True:
        try:
            target, args, seconds = pipe.recv()
        except EOFError:
            return
        process = fork.Process(target=target, args=args, daemon=True)
        process.start()
        process.join(seconds)
        ended = not process.is_alive()
        if not ended:
            process.kill()
            process.join()
        pipe.send(process.exitcode if ended else None)


def set_up() -> None:
    """Import all that a command needs, and forget the settings with which that was done."""
    import django
    from django.conf import empty, settings
    from django.core.management import get_commands, load_command_class
    from django.db import connections
    from django.db.migrations.loader import MigrationLoader

    settings.LOGGING_CONFIG = None  # a command that reads its settings has no log yet
    django.setup()
    import_module(settings.ROOT_URLCONF)
    for name, app in get_commands().items():
        if app in ("django.core", "credentials", "migration"):
            load_command_class(app, name)
    MigrationLoader(None)

    for connection in connections.all(initialized_only=True):
        assert connection.connection is None
        del connections[connection.alias]
    connections._settings = None
    connections.__dict__.pop("settings", None)
    settings._wrapped = empty
    del sys.modules["nova_admin.settings"]
    gc.collect()
    gc.freeze()
