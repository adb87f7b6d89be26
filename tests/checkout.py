"""The checkout, and `manage.py` in it, run in a process of its own."""

import gc
import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 120
# What every command imports before it reads a setting: half of the time that a process takes to start.
IMPORTED_BEFORE = (
    *("asyncio", "boto3", "botocore.client", "django.contrib.admin.options", "environ", "psycopg"),
    *("django.contrib.staticfiles.finders", "django.core.management", "django.core.serializers"),
    *("django.db.backends.postgresql.base", "django.forms", "django.template.backends.django"),
    *("django.views.generic", "logging.config", "tests.checkout"),
    *(
        "ahocorasick_rs",
        "django.contrib.admin.templatetags.admin_list",
        "django.contrib.admin.views.main",
    ),
    *("django.contrib.auth.management", "django.contrib.humanize.templatetags.humanize"),
    *(
        "django.contrib.postgres.fields",
        "django.core.management.commands.migrate",
        "django.template.loader_tags",
    ),
    *("django.template.loaders.app_directories", "django.views.debug", "multiprocessing.queues"),
    *(
        "multiprocessing.sharedctypes",
        "nova_credentials.aws",
        "nova_credentials.comparison",
        "picklefield.fields",
    ),
    *("psutil", "redis", "whitenoise.middleware"),
)
forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(list(IMPORTED_BEFORE))


def manage(*arguments: str, **environment: str) -> CompletedProcess[str]:
    """Runs `manage.py` as a person would, in a process of its own, forked from one that has imported Django."""
    command = ["manage.py", *arguments]
    settings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "stdout"), Path(folder, "stderr")
        process = forking.Process(
            target=run_command,
            args=(command, dict(os.environ) | settings | environment, *written),
            daemon=True,
        )
        process.start()
        process.join(TIMEOUT_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"{command} takes longer than {TIMEOUT_SECONDS} s")
        return CompletedProcess(command, process.exitcode, *(file.read_text() for file in written))


def run_command(command: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    """Becomes the command: its own environment, working directory and output."""
    for number, file in ((1, out), (2, err)):
        with file.open("w") as opened:
            os.dup2(opened.fileno(), number)
    # Looking for garbage is a fifth of `migrate`'s time, and the process ends soon.
    gc.disable()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv, sys.path[0] = command, str(ROOT)
    runpy.run_path("manage.py", run_name="__main__")
